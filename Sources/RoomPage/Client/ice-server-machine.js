//# allFunctionsCalledOnLoad
import { ICEServerSelection } from "./ice-server-selection.js";
import { clamp, minus, plus } from "./time.js";
import { equal } from "./values.js";
/**
 * @typedef {import("./values.js").Case} Case
 * @typedef {import("./room.js").ICEServer} ICEServer
 * @typedef {import("./configuration.js").MachineConfiguration} MachineConfiguration
 */

/** The servers of one origin, and when fresh ones are fetched. */
class Source {
    constructor() {
        /** @type {ICEServer[]} */
        this.servers = [];
        /** @type {number | undefined} */
        this.ttl = undefined;
        /** @type {number | undefined} */
        this.refreshAt = undefined;
        /**
         * When half of their life is over: a reconnection after that fetches fresh ones.
         * @type {number | undefined}
         */
        this.agedAt = undefined;
    }

    /**
     * @param {ICEServer[]} servers
     * @param {number | undefined} ttl
     * @param {number} fraction
     * @param {number} now
     */
    take(servers, ttl, fraction, now) {
        this.servers = servers;
        this.ttl = ttl;
        // A very short ttl must not lead to questions without pause.
        /** @param {number} fraction */
        const share = (fraction) => ttl === undefined ? undefined
            : plus(now, Math.max(Math.trunc(clamp(ttl, 0, 1e8) * fraction * 1000) / 1000, 20));
        this.refreshAt = share(fraction);
        this.agedAt = share(Math.min(fraction, 0.5));
    }

    /** @param {number} sleep */
    woke(sleep) {
        if (this.refreshAt !== undefined) this.refreshAt = minus(this.refreshAt, sleep);
        if (this.agedAt !== undefined) this.agedAt = minus(this.agedAt, sleep);
    }
}

/** @param {(number | undefined)[]} times */
export const earliest = (...times) => {
    const known = /** @type {number[]} */ (times.filter((time) => time !== undefined));
    return known.length ? Math.min(...known) : undefined;
};

/**
 * The ICE servers of the configuration, the room server and the application's provider, and the times at which fresh
 * ones are fetched.
 *
 * No source waits for another, and nothing waits for any of them. Methods add to `actions` and return it. Actions:
 * `changed(value, ttl)`, `refreshFromServer`, `requestFromProvider`, `providerFailed(value)`, `unusable(value)`.
 */
export class ICEServerMachine {
    #hasProvider;
    #fraction;
    #selection;
    #fixed;
    #server = new Source();
    #provider = new Source();
    #isAsking = false;
    /** The room server has sent its list. */
    #isJoined = false;
    /** @type {number | undefined} */
    #askedAt;
    /** In a row. */
    #failures = 0;

    /** @param {MachineConfiguration} configuration */
    constructor(configuration) {
        this.#hasProvider = configuration.hasICEServerProvider;
        this.#fraction = configuration.signaling.iceRefreshFraction;
        this.#selection = new ICEServerSelection(configuration.ice);
        this.#fixed = this.#selection.usable(configuration.ice.servers);
        this.servers = this.#fixed;
        /**
         * When the latest came.
         * @type {number | undefined}
         */
        this.changedAt = undefined;
    }

    /**
     * When `timePassed` wants to be called. Without the room server, only the provider can be asked.
     * @param {boolean} isConnected
     */
    nextDeadline(isConnected) {
        return earliest(
            isConnected ? this.#server.refreshAt : undefined, this.#isAsking ? undefined : this.#provider.refreshAt);
    }

    /**
     * The room is about to be reached, for the first time or again.
     * @param {number} now
     * @param {Case[]} actions
     */
    attempted(now, actions = []) {
        if (!this.#hasProvider || this.#isAsking) return actions;
        const { agedAt } = this.#provider;
        const isAged = agedAt !== undefined && agedAt <= now;
        if (this.#askedAt === undefined || ((this.#failures > 0 || isAged) && minus(now, this.#askedAt) >= 5)) {
            this.#askProvider(now, actions);
        }
        return actions;
    }

    /**
     * @param {number} now
     * @param {Case[]} actions
     */
    #askProvider(now, actions) {
        this.#isAsking = true;
        this.#askedAt = now;
        actions.push({ type: "requestFromProvider" });
    }

    /**
     * The room server's list.
     * @param {{ servers: ICEServer[], ttl?: number }} list
     * @param {number} now
     * @param {Case[]} actions
     */
    received(list, now, actions = []) {
        this.#isJoined = true;
        this.#server.take(this.#selection.usable(list.servers), list.ttl, this.#fraction, now);
        this.#merge(now, actions);
        return this.#judge(actions);
    }

    /**
     * @param {ICEServer[]} servers
     * @param {number | undefined} ttl
     * @param {number} now
     * @param {Case[]} actions
     */
    provided(servers, ttl, now, actions = []) {
        if (!this.#isAsking) return actions;
        this.#isAsking = false;
        this.#failures = 0;
        this.#provider.take(this.#selection.usable(servers), ttl, this.#fraction, now);
        this.#merge(now, actions);
        return this.#judge(actions);
    }

    /**
     * @param {import("./values.js").SignalingFailure} failure
     * @param {number} now
     * @param {Case[]} actions
     */
    providerFailed(failure, now, actions = []) {
        if (!this.#isAsking) return actions;
        this.#isAsking = false;
        this.#failures += 1;
        this.#provider.refreshAt = plus(now, Math.min(5 * 2 ** Math.min(this.#failures - 1, 6), 60));
        if (this.#failures == 1) actions.push({ type: "providerFailed", value: failure });
        return this.#judge(actions);
    }

    /**
     * @param {number} now
     * @param {Case[]} actions
     */
    #merge(now, actions) {
        /** @type {ICEServer[]} */
        const all = [];
        for (const server of [...this.#fixed, ...this.#server.servers, ...this.#provider.servers]) {
            if (!all.some((other) => equal(other, server))) all.push(server);
        }
        if (equal(all, this.servers)) return;
        this.servers = all;
        this.changedAt = now;
        actions.push({ type: "changed", value: all, ttl: earliest(this.#server.ttl, this.#provider.ttl) });
    }

    /**
     * Says what is left out, and whether something is left. Before the room server's list is here, and while the
     * provider is asked for the first time, something may still come.
     * @param {Case[]} actions
     */
    #judge(actions) {
        for (const value of this.#selection.faults()) actions.push({ type: "unusable", value });
        if (!this.#isJoined || (this.#hasProvider && this.#failures == 0 && this.#isAsking)) return actions;
        const value = this.#selection.judge(this.servers);
        if (value) actions.push({ type: "unusable", value });
        return actions;
    }

    /**
     * @param {boolean} isConnected
     * @param {number} now
     * @param {Case[]} actions
     */
    timePassed(isConnected, now, actions = []) {
        const [server, provider] = [this.#server, this.#provider];
        if (isConnected && server.refreshAt !== undefined && server.refreshAt <= now) {
            server.refreshAt = undefined;
            actions.push({ type: "refreshFromServer" });
        }
        if (!this.#isAsking && provider.refreshAt !== undefined && provider.refreshAt <= now) {
            provider.refreshAt = undefined;
            this.#askProvider(now, actions);
        }
        return actions;
    }

    /**
     * This machine has slept for so long, and credentials have aged.
     * @param {number} sleep
     */
    woke(sleep) {
        if (this.changedAt !== undefined) this.changedAt = minus(this.changedAt, sleep);
        this.#server.woke(sleep);
        this.#provider.woke(sleep);
    }
}
