//# allFunctionsCalledOnLoad
import { plus } from "./time.js";

/**
 * The time at which a join has taken too long. Time during which the server lets this participant wait for the room
 * does not count.
 */
export class JoinDeadline {
    /**
     * @param {number} limit
     * @param {number} now
     */
    constructor(limit, now) {
        this.limit = limit;
        /** When to look next. */
        this.at = plus(now, limit);
    }

    /**
     * The time has come. True: the join has failed. False: look again at `at`.
     * @param {import("./values.js").Case} signaling
     * @param {number} now
     */
    hasPassed({ type, cause }, now) {
        if (type == "connecting" && cause?.cause == "waitingForRoom") this.at = plus(now, this.limit);
        return now >= this.at;
    }
}
