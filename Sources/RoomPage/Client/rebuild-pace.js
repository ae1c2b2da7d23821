//# allFunctionsCalledOnLoad
import { minus, plus } from "./time.js";

/** @typedef {import("./peer-types.js").RecoveryConfiguration} RecoveryConfiguration */

/**
 * Decides when a peer connection may be made anew: at once where the last one has held for a while, later and later
 * where it has not.
 */
export class RebuildPace {
    #configuration;
    /** Rebuilds since the connection was last healthy for a while. */
    count = 0;
    #lastAt = 0;
    /** @type {number | undefined} */
    #healthySince;

    /** @param {RecoveryConfiguration} configuration */
    constructor(configuration) {
        this.#configuration = configuration;
    }

    /** How long the connection that is being made may take. */
    get connectTime() {
        const { budgets, connectMaximum } = this.#configuration;
        return Math.min(budgets.connect * Math.min(this.count, 1000), connectMaximum);
    }

    /** @param {number} now */
    recovered(now) {
        this.#healthySince = now;
    }

    /** @param {number} now */
    rebuilt(now) {
        this.count += 1;
        this.#lastAt = now;
        this.#healthySince = undefined;
    }

    /**
     * The connection is broken. Returns the earliest time of the next rebuild; undefined: at once.
     * @param {number} now
     */
    earliest(now) {
        const { budgets, rebuildDelay, rebuildDelayMaximum } = this.#configuration;
        if (this.#healthySince !== undefined && minus(now, this.#healthySince) >= budgets.connect) this.count = 0;
        this.#healthySince = undefined;
        if (!this.count) return undefined;
        return plus(this.#lastAt, Math.min(rebuildDelay * 2 ** Math.min(this.count - 1, 16), rebuildDelayMaximum));
    }
}
