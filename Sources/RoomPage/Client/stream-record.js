//# allFunctionsCalledOnLoad
// @ts-check
import { ExchangeHead } from "./exchange-message.js";

/**
 * The rest of the streams between two sessions when one side has given up the other: their ids count on, and the other
 * side, which may never have noticed, is told that they have ended.
 */
export class StreamRecord {
    /** @param {{ newestID: number }} [outgoing] @param {{ newestID: number }} [incoming] */
    constructor(outgoing, incoming) {
        this.lastOutgoing = outgoing?.newestID ?? 0;
        this.lastIncoming = incoming?.newestID ?? 0;
    }

    /**
     * The first message, on bulk, to a participant that comes back in its session; undefined: there were no streams.
     */
    get restart() {
        if (this.lastOutgoing == 0 && this.lastIncoming == 0) return undefined;
        return ExchangeHead.restart(this.lastOutgoing + 1, this.lastIncoming);
    }
}
