//# allFunctionsCalledOnLoad
import { minus, plus } from "./time.js";

/** @param {number | undefined} time @param {number} duration */
const before = (time, duration) => (time === undefined ? undefined : minus(time, duration));

/**
 * Decides when a relayed path is moved to fresh credentials. A relay lets nothing through any more when the credentials
 * that it was allocated with expire.
 */
export class RelayRenewal {
    /**
     * How long the ICE servers were valid when they came.
     * @type {number | undefined}
     */
    #credentialLife;
    /**
     * When the latest ICE servers came, when those came that the latest round uses, and when those that the present
     * path uses: a round that finds no path leaves the older path where it is.
     */
    #serversAt;
    /** @type {number | undefined} */
    #roundServersAt;
    /** @type {number | undefined} */
    #pathServersAt;
    /**
     * When a new path with fresh credentials was last asked for.
     * @type {number | undefined}
     */
    #renewedAt;
    /**
     * The generation of the latest local candidates.
     * @type {string | undefined}
     */
    fragment;

    /** @param {number} [serversAt] */
    constructor(serversAt) {
        this.#serversAt = serversAt;
    }

    /**
     * `ttl`: for how long the servers are valid.
     * @param {number | undefined} ttl @param {number} now
     */
    serversChanged(ttl, now) {
        this.#serversAt = now;
        this.#credentialLife = ttl;
    }

    /**
     * This side begins a round, with the latest servers.
     * @param {number} now
     */
    roundBegan(now) {
        this.#roundServersAt = this.#serversAt ?? now;
    }

    /** The other side has begun a round; this side answers it with the latest servers. */
    roundAnswered() {
        this.#roundServersAt = this.#serversAt;
    }

    /**
     * A path was found. Returns whether by the latest round: while that looks for one, an older one may find another.
     * @param {import("./peer-types.js").PeerPath} path
     */
    pathFound({ usernameFragment }) {
        const { fragment = usernameFragment } = this;
        const isLatest = usernameFragment === undefined || usernameFragment === fragment;
        if (isLatest) this.#pathServersAt = this.#roundServersAt;
        return isLatest;
    }

    /**
     * A new path with fresh credentials is asked for.
     * @param {number} now
     */
    renewed(now) {
        this.#renewedAt = now;
    }

    /**
     * The machine has slept, and credentials have aged meanwhile.
     * @param {number} sleep
     */
    woke(sleep) {
        this.#serversAt = before(this.#serversAt, sleep);
        this.#roundServersAt = before(this.#roundServersAt, sleep);
        this.#pathServersAt = before(this.#pathServersAt, sleep);
    }

    /**
     * The earliest time for a new path, where the present one uses relays.
     *
     * Undefined unless its credentials have lived for a quarter of their life or more, and there are fresh ones, which
     * may come as rarely as after 0.7 of it.
     * @param {number} now
     */
    earliest(now) {
        const life = this.#credentialLife;
        const path = this.#pathServersAt;
        const isDue =
            life !== undefined && this.#serversAt !== undefined && path !== undefined && path < this.#serversAt &&
            minus(now, path) >= life / 4;
        if (!isDue) return undefined;
        // Where the last round has found no path, another one is not made at once.
        return this.#renewedAt === undefined ? now : Math.max(now, plus(this.#renewedAt, Math.max(5, life / 8)));
    }
}
