import { clamp, minus, plus } from "./time.js";
import { equal } from "./values.js";
/**
 * @typedef {import("./values.js").Case} Case
 * @typedef {import("./room.js").ICEServer} ICEServer
 * @typedef {import("./configuration.js").MachineConfiguration} MachineConfiguration
 */

/**
 * Returns the URL for messages, without the password of a `turn:user:password@host`.
 * @param {string} text
 */
function displayed(text) {
    const parts = /^(.*?:.*?:)(.*)(@[^@]*)$/s.exec(text);
    return parts ? `${parts[1].slice(0, 128)}…${parts[3].slice(0, 128)}` : text.slice(0, 256);
}

/** @param {string} host */
function isIPv6(host) {
    try { return host.includes(":") && !!new URL(`http://[${host}]/`); } catch { return false; }
}

/**
 * Returns why the URL of a STUN or TURN server (RFC 7064 §3.1, RFC 7065 §3.1) cannot be used, or undefined.
 * @param {string} text
 * @param {ICEServer} server
 */
export function flawOfURL(text, server) {
    const [, scheme, rest, query] = /^([^:]*):([^?]*)(?:\?(.*))?$/s.exec(text) ?? [];
    const kind = scheme?.toLowerCase();
    const transport = query === undefined ? undefined : /^transport=(udp|tcp)$/i.exec(query)?.[1].toLowerCase();
    /** @param {string} reason */
    const unusable = (reason) => `the ICE server URL '${displayed(text)}' cannot be used: ${reason}`;
    if (text.length > 512 || /[^\x21-\x7e]/.test(text)) {
        return unusable("it has blanks, control or non-ASCII characters, or is too long");
    }
    if (!["stun", "stuns", "turn", "turns"].includes(kind)) {
        return unusable("it must begin with stun:, stuns:, turn: or turns:");
    }
    if (query !== undefined && !transport) {
        return unusable("after '?' only transport=udp or transport=tcp may follow");
    }
    if ((kind == "stun" && transport == "tcp") || (kind == "stuns" && transport == "udp")) {
        return unusable(`${kind}: is not supported over ${transport}`);
    }
    let port;
    if (rest[0] == "[") {
        const end = rest.indexOf("]");
        if (end < 0) return unusable("a bracket is not closed");
        const after = rest.slice(end + 1);
        if (after && after[0] != ":") return unusable("its port is not a number");
        if (after) port = after.slice(1);
        if (!isIPv6(rest.slice(1, end))) return unusable("there is no IPv6 address in the brackets");
    } else {
        const [, host, after] = /^([^:]*)(?::(.*))?$/s.exec(rest) ?? [];
        port = after;
        if (!/^[0-9A-Za-z._-]{1,253}$/.test(host)) return unusable("its host is not a name or an address");
    }
    if (port !== undefined && (!/^\d{1,5}$/.test(port) || +port < 1 || +port > 65535)) {
        return unusable("its port is not a number from 1 to 65535");
    }
    if (kind[0] != "t") return undefined;
    const { username, credential } = server;
    return username && credential !== undefined ? undefined
        : `the ICE server '${text}' cannot be used: it needs a username and a credential`;
}

/**
 * Returns a fault as an error that programs see.
 * @param {Case} fault
 */
export function iceServersError(fault) {
    const { type, urls } = fault;
    const relay = "only relayed paths are allowed (icePolicy relay), and ";
    const [protocolCode, message] = {
        unusable: ["ice_server_unusable", `${fault.why}; it is left out. Correct the list of the room server, of the `
            + "configuration or of the provider"],
        more: ["ice_server_unusable", `${fault.value} more ICE servers are left out. Correct the list that they come `
            + "from, and give fewer of them"],
        nothingUsable: ["no_usable_ice_server", `this peer backend can use none of the ICE servers (${urls}): it `
            + "speaks no TLS to them. Name them as stun: and turn: too, or choose another backend"],
        noRelay: ["no_usable_relay", relay + (urls
            ? `this peer backend can relay over none of the ICE servers (${urls}): nobody can be reached. Name a TURN `
                + "server as turn: too (over UDP or TCP, without TLS)"
            : "there is no TURN server: nobody can be reached. Name one, at the room server or in the configuration")],
    }[type] ?? [];
    return { code: "configuration", message, protocolCode, isRetryable: false };
}

/**
 * Selects the usable ones from lists of ICE servers, and reports once each that is not. Faults: `unusable(why)`,
 * `more(value)`, `nothingUsable(urls)`, `noRelay(urls)`.
 */
export class ICEServerSelection {
    /** @param {MachineConfiguration["ice"]} configuration */
    constructor(configuration) {
        this.configuration = configuration;
        this.reported = new Set();
        /** @type {Case[]} */
        this.unreported = [];
        this.excess = 0;
        this.hasReportedExcess = false;
        /**
         * The last reported fault of the whole list, as long as it holds.
         * @type {Case | undefined}
         */
        this.verdict = undefined;
    }

    /**
     * Returns the servers with those of their URLs that can be used, each once.
     * @param {ICEServer[]} servers
     * @returns {ICEServer[]}
     */
    usable(servers) {
        const known = new Set();
        const result = [];
        for (const server of servers) {
            const urls = [];
            for (const url of server.urls) {
                const key = JSON.stringify([url, server.username, server.credential]);
                if (known.has(key)) continue;
                const flaw = flawOfURL(url, server);
                if (flaw) {
                    this.exclude(url, flaw);
                } else if (known.size >= 64) {
                    this.excess += 1;
                } else {
                    known.add(key);
                    urls.push(url);
                }
            }
            if (urls.length) result.push({ ...server, urls });
        }
        return result;
    }

    /**
     * @param {string} url
     * @param {string} why
     */
    exclude(url, why) {
        if (this.reported.has(url)) return;
        if (this.reported.size >= 16) {
            this.excess += 1;
            return;
        }
        this.reported.add(url);
        this.unreported.push({ type: "unusable", why });
    }

    /** Returns the faults of single servers. */
    faults() {
        const faults = this.unreported;
        this.unreported = [];
        if (!this.configuration.usesServers) return [];
        if (this.excess > 0 && !this.hasReportedExcess) {
            this.hasReportedExcess = true;
            faults.push({ type: "more", value: this.excess });
        }
        return faults;
    }

    /**
     * Returns the fault of the whole list.
     * @param {ICEServer[]} servers
     */
    judge(servers) {
        const before = this.verdict;
        this.verdict = this.fault(servers);
        return equal(this.verdict, before) ? undefined : this.verdict;
    }

    /**
     * @param {ICEServer[]} servers
     * @returns {Case | undefined}
     */
    fault(servers) {
        const { usesServers, usesTLS, policy } = this.configuration;
        if (!usesServers) return undefined;
        const all = servers.flatMap((server) => server.urls);
        const urls = all.slice(0, 4).join(", ") + (all.length > 4 ? ", …" : "");
        const usable = all.filter((url) => usesTLS || !/^(stuns|turns):/i.test(url));
        if (policy == "relay") {
            return usable.some((url) => /^turn/i.test(url)) ? undefined : { type: "noRelay", urls };
        }
        return !all.length || usable.length ? undefined : { type: "nothingUsable", urls };
    }
}

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
    /** @param {MachineConfiguration} configuration */
    constructor(configuration) {
        this.hasProvider = configuration.hasICEServerProvider;
        this.fraction = configuration.signaling.iceRefreshFraction;
        this.selection = new ICEServerSelection(configuration.ice);
        this.fixed = this.selection.usable(configuration.ice.servers);
        this.server = new Source();
        this.provider = new Source();
        this.isAsking = false;
        /** The room server has sent its list. */
        this.isJoined = false;
        /** @type {number | undefined} */
        this.askedAt = undefined;
        /** In a row. */
        this.failures = 0;
        this.servers = this.fixed;
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
            isConnected ? this.server.refreshAt : undefined, this.isAsking ? undefined : this.provider.refreshAt);
    }

    /**
     * The room is about to be reached, for the first time or again.
     * @param {number} now
     * @param {Case[]} actions
     */
    attempted(now, actions = []) {
        if (!this.hasProvider || this.isAsking) return actions;
        const { agedAt } = this.provider;
        const isAged = agedAt !== undefined && agedAt <= now;
        if (this.askedAt === undefined || ((this.failures > 0 || isAged) && minus(now, this.askedAt) >= 5)) {
            this.askProvider(now, actions);
        }
        return actions;
    }

    /**
     * @param {number} now
     * @param {Case[]} actions
     */
    askProvider(now, actions) {
        this.isAsking = true;
        this.askedAt = now;
        actions.push({ type: "requestFromProvider" });
    }

    /**
     * The room server's list.
     * @param {{ servers: ICEServer[], ttl?: number }} list
     * @param {number} now
     * @param {Case[]} actions
     */
    received(list, now, actions = []) {
        this.isJoined = true;
        this.server.take(this.selection.usable(list.servers), list.ttl, this.fraction, now);
        this.merge(now, actions);
        return this.judge(actions);
    }

    /**
     * @param {ICEServer[]} servers
     * @param {number | undefined} ttl
     * @param {number} now
     * @param {Case[]} actions
     */
    provided(servers, ttl, now, actions = []) {
        if (!this.isAsking) return actions;
        this.isAsking = false;
        this.failures = 0;
        this.provider.take(this.selection.usable(servers), ttl, this.fraction, now);
        this.merge(now, actions);
        return this.judge(actions);
    }

    /**
     * @param {import("./values.js").SignalingFailure} failure
     * @param {number} now
     * @param {Case[]} actions
     */
    providerFailed(failure, now, actions = []) {
        if (!this.isAsking) return actions;
        this.isAsking = false;
        this.failures += 1;
        this.provider.refreshAt = plus(now, Math.min(5 * 2 ** Math.min(this.failures - 1, 6), 60));
        if (this.failures == 1) actions.push({ type: "providerFailed", value: failure });
        return this.judge(actions);
    }

    /**
     * @param {number} now
     * @param {Case[]} actions
     */
    merge(now, actions) {
        /** @type {ICEServer[]} */
        const all = [];
        for (const server of [...this.fixed, ...this.server.servers, ...this.provider.servers]) {
            if (!all.some((other) => equal(other, server))) all.push(server);
        }
        if (equal(all, this.servers)) return;
        this.servers = all;
        this.changedAt = now;
        actions.push({ type: "changed", value: all, ttl: earliest(this.server.ttl, this.provider.ttl) });
    }

    /**
     * Says what is left out, and whether something is left. Before the room server's list is here, and while the
     * provider is asked for the first time, something may still come.
     * @param {Case[]} actions
     */
    judge(actions) {
        for (const value of this.selection.faults()) actions.push({ type: "unusable", value });
        if (!this.isJoined || (this.hasProvider && this.failures == 0 && this.isAsking)) return actions;
        const value = this.selection.judge(this.servers);
        if (value) actions.push({ type: "unusable", value });
        return actions;
    }

    /**
     * @param {boolean} isConnected
     * @param {number} now
     * @param {Case[]} actions
     */
    timePassed(isConnected, now, actions = []) {
        const { server, provider } = this;
        if (isConnected && server.refreshAt !== undefined && server.refreshAt <= now) {
            server.refreshAt = undefined;
            actions.push({ type: "refreshFromServer" });
        }
        if (!this.isAsking && provider.refreshAt !== undefined && provider.refreshAt <= now) {
            provider.refreshAt = undefined;
            this.askProvider(now, actions);
        }
        return actions;
    }

    /**
     * This machine has slept for so long, and credentials have aged.
     * @param {number} sleep
     */
    woke(sleep) {
        if (this.changedAt !== undefined) this.changedAt = minus(this.changedAt, sleep);
        this.server.woke(sleep);
        this.provider.woke(sleep);
    }
}
