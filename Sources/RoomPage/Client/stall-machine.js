//# allFunctionsCalledOnLoad
import { minus, plus } from "./time.js";

/** @typedef {import("./peer-types.js").PeerStall} PeerStall */
/** @typedef {import("./peer-types.js").RecoveryConfiguration} RecoveryConfiguration */

/**
 * `inquire`: find the reason; answered by `found`.
 * @typedef {{ type: "scheduleTimer", at: number } | { type: "cancelTimer" } | { type: "inquire" }
 *   | { type: "report", value: PeerStall } | { type: "resolve", value: PeerStall }} StallAction
 */

/**
 * Decides when to look for the reason why a pair is not connected, or carries no data, and when to report it.
 *
 * A reason is reported once, again when it changes, and rarely while it stays. When the pair is connected and its data
 * is acknowledged, the reported stall is resolved.
 */
export class StallMachine {
    #patience;
    #reminder;
    #tolerance;
    /** The pair is not connected. */
    #isDisconnected = false;
    #isUnacknowledged = false;
    #nextCheck = 0;
    /** @type {{ stall: PeerStall, at: number } | undefined} */
    #reported;
    /** The timer has been late once. */
    #hadGrace = false;
    /** @type {StallAction[]} */
    #actions = [];

    /** @param {RecoveryConfiguration} configuration */
    constructor({ budgets, stallReminder, timerTolerance }) {
        this.#patience = budgets.stall;
        this.#reminder = stallReminder;
        this.#tolerance = timerTolerance;
    }

    /** Otherwise data flows as far as it is known. */
    get #isStalled() {
        return this.#isDisconnected || this.#isUnacknowledged;
    }

    #taken() {
        const actions = this.#actions;
        this.#actions = [];
        return actions;
    }

    /**
     * The pair is not connected: it has only just begun, or was connected before.
     * @param {number} now
     */
    disconnected(now) {
        if (!this.#isStalled) this.#begin(now);
        this.#isDisconnected = true;
        return this.#taken();
    }

    /** @param {number} now */
    connected(now) {
        if (!this.#isDisconnected) return [];
        this.#isDisconnected = false;
        if (this.#isUnacknowledged) this.#nextCheck = plus(now, this.#patience);
        this.#endOrContinue();
        return this.#taken();
    }

    /**
     * Sent data has not been acknowledged for a while.
     * @param {number} now
     */
    unacknowledged(now) {
        if (!this.#isStalled) {
            this.#begin(now);
            this.#actions.push({ type: "inquire" });
        }
        this.#isUnacknowledged = true;
        return this.#taken();
    }

    /** Acknowledgements come, or nothing is left to be acknowledged. */
    acknowledged() {
        if (!this.#isUnacknowledged) return [];
        this.#isUnacknowledged = false;
        this.#endOrContinue();
        return this.#taken();
    }

    /** @param {number} now */
    timerFired(now) {
        if (!this.#isStalled) return [];
        if (now < this.#nextCheck) {
            this.#schedule();
            return this.#taken();
        }
        // This page slept or starved: whatever would connect the pair has had no time either.
        this.#hadGrace = minus(now, this.#nextCheck) > this.#tolerance && !this.#hadGrace;
        this.#nextCheck = plus(now, this.#patience);
        this.#schedule();
        if (!this.#hadGrace) this.#actions.push({ type: "inquire" });
        return this.#taken();
    }

    /**
     * This machine has slept.
     * @param {number} now
     */
    woke(now) {
        if (!this.#isStalled) return [];
        this.#nextCheck = plus(now, this.#patience);
        this.#schedule();
        return this.#taken();
    }

    /** @param {PeerStall} stall @param {number} now @returns {StallAction[]} */
    found(stall, now) {
        const reported = this.#reported;
        if (!this.#isStalled || (reported?.stall.code === stall.code && minus(now, reported.at) < this.#reminder))
            return [];
        this.#reported = { stall, at: now };
        return [{ type: "report", value: stall }];
    }

    /** @param {number} now */
    #begin(now) {
        this.#reported = undefined;
        this.#hadGrace = false;
        this.#nextCheck = plus(now, this.#patience);
        this.#schedule();
    }

    #schedule() {
        this.#actions.push({ type: "scheduleTimer", at: this.#nextCheck });
    }

    /** Ends a reported stall when nothing is missing any more. */
    #endOrContinue() {
        if (this.#isStalled) return this.#schedule();
        this.#actions.push({ type: "cancelTimer" });
        if (this.#reported) this.#actions.push({ type: "resolve", value: this.#reported.stall });
        this.#reported = undefined;
    }
}
