//# allFunctionsCalledOnLoad
// @ts-check

/** Detects that what was sent on a channel is not acknowledged. Sampled at intervals while something is outstanding. */
export class AcknowledgementWatch {
    /** Samples without progress after which the data counts as unacknowledged. */
    static patience = 4;
    /** @type {number | undefined} */
    #acknowledged;
    #samples = 0;

    /** Whether nothing has been acknowledged for too long. */
    get isUnacknowledged() {
        return this.#samples >= AcknowledgementWatch.patience;
    }

    /**
     * Takes a sample: a count of what was acknowledged so far; undefined when nothing is outstanding.
     * @param {number | undefined} acknowledged
     */
    sample(acknowledged) {
        const hasProgress = acknowledged == undefined || acknowledged != this.#acknowledged;
        this.#samples = hasProgress ? 0 : Math.min(this.#samples + 1, AcknowledgementWatch.patience);
        this.#acknowledged = acknowledged;
    }
}
