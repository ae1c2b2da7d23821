//# allFunctionsCalledOnLoad
/** @typedef {import("./values.js").SignalingFailure} SignalingFailure */

const stepLimit = 64;

/** The record of one outage of signaling, from the loss of the connection until the room has us again. */
export class SignalingRecovery {
    /** @type {any} */
    #incident;
    #attempts = 0;

    /**
     * A connection that had let us in is gone. Nothing where one is lost already, or was left in order.
     * @param {SignalingFailure | undefined} failure
     * @param {number} now
     */
    lost(failure, now) {
        if (this.#incident || !failure) return;
        const { cause, description } = failure;
        this.#attempts = 0;
        this.#incident = {
            cause, startedAt: now, endedAt: now, outcome: "recovered",
            steps: [{ kind: "lost", at: now, cause, text: description }],
        };
    }

    /**
     * A transport is being opened.
     * @param {number} now
     */
    attempted(now) {
        this.#attempts += 1;
        this.#note({ kind: "attempt", at: now, number: this.#attempts });
    }

    /**
     * The transport is open; `hello` goes out.
     * @param {number} now
     */
    connected(now) { this.#note({ kind: "connected", at: now }); }

    /**
     * The server has let us in. Returns the incident, where there was one.
     * @param {boolean} isResumed
     * @param {number} now
     */
    reconnected(isResumed, now) {
        this.#note({ kind: isResumed ? "resumed" : "rejoined", at: now });
        return this.#finish("recovered", now);
    }

    /**
     * The room has ended for us.
     * @param {number} now
     */
    ended(now) { return this.#finish("participantLeft", now); }

    /**
     * @param {string} outcome
     * @param {number} now
     */
    #finish(outcome, now) {
        const ended = this.#incident;
        this.#incident = undefined;
        return ended && { ...ended, endedAt: now, outcome };
    }

    /**
     * Of a long outage, its beginning and its latest steps are kept.
     * @param {object} step
     */
    #note(step) {
        const steps = this.#incident?.steps;
        if (!steps) return;
        if (steps.length >= stepLimit) steps.splice(1, 1);
        steps.push(step);
    }
}
