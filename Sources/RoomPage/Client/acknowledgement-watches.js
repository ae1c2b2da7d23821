//# allFunctionsCalledOnLoad
// @ts-check
import { AcknowledgementWatch } from "./acknowledgement-watch.js";

/** Detects that what was sent to a participant is not acknowledged, on whichever channel. */
export class AcknowledgementWatches {
    #interval;
    /** @type {AcknowledgementWatch[]} */
    #watches = [];
    #isUnacknowledged = false;
    /** The timer runs: something is outstanding. */
    isRunning = false;

    /** @param {number} patience How long data may go unacknowledged until it is told. */
    constructor(patience) { this.#interval = patience / AcknowledgementWatch.patience; }

    /** The connection has ended, and the timer is void. */
    detached() {
        this.#watches = [];
        this.#isUnacknowledged = this.isRunning = false;
    }

    /**
     * Something was sent. `acknowledged`: of each channel, as for a sample. Returns after how long to look.
     * @param {(number | undefined)[]} acknowledged
     */
    begin(acknowledged) {
        this.isRunning = true;
        this.#sample(acknowledged);
        return this.#interval;
    }

    /**
     * Returns after how long to look again (undefined: nothing is outstanding), and whether acknowledgements are
     * missing, where that has changed.
     * @param {(number | undefined)[]} acknowledged
     * @returns {{ after?: number, isMissing?: boolean }}
     */
    timerFired(acknowledged) {
        this.#sample(acknowledged);
        this.isRunning = acknowledged.some((count) => count !== undefined);
        const after = this.isRunning ? this.#interval : undefined;
        const isMissing = this.#watches.some((watch) => watch.isUnacknowledged);
        if (isMissing == this.#isUnacknowledged) return { after };
        this.#isUnacknowledged = isMissing;
        return { after, isMissing };
    }

    /** @param {(number | undefined)[]} acknowledged */
    #sample(acknowledged) {
        acknowledged.forEach((count, index) => (this.#watches[index] ??= new AcknowledgementWatch()).sample(count));
    }
}
