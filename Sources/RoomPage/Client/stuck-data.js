//# allFunctionsCalledOnLoad
import { minus, plus } from "./time.js";

/** A silence after which SCTP's timer may be far away: browsers double it up to 3 s. */
const leastSilence = 2.5;
/** How often it is asked whether a new connection can be agreed on, and for how long. */
const [pause, limit] = [0.1, 3];
/** How long the acknowledgement of the other side's delivery may take, beside two round trips. */
const patience = 0.25;

/**
 * Decides that a connection is to be replaced although its path is back. After an outage a browser repeats what it had
 * sent when a timer fires, some seconds later; a new connection is made within a few round trips.
 *
 * First it waits until a new connection is possible, and for acknowledgements that were under way before the outage;
 * then for one more.
 */
export class StuckData {
    /**
     * Since when the other side is silent.
     * @type {number | undefined}
     */
    #silentSince;
    /**
     * What was acknowledged when the wait for one more began.
     * @type {number | undefined}
     */
    #acknowledged;
    #until = 0;
    /**
     * When `look` is due.
     * @type {number | undefined}
     */
    deadline;

    /** @param {number} since */
    suspected(since) {
        this.#silentSince = since;
        this.deadline = undefined;
    }

    /**
     * There is a sign of life. `isOutstanding`: something was sent that is not acknowledged.
     * @param {boolean} isOutstanding
     * @param {number} now
     */
    alive(isOutstanding, now) {
        const since = this.#silentSince;
        this.#silentSince = undefined;
        if (since === undefined || !isOutstanding || minus(now, since) < leastSilence) return;
        this.#until = plus(now, limit);
        this.#wait(now);
    }

    /** @param {number} now */
    #wait(now) {
        this.#acknowledged = undefined;
        this.deadline = now < this.#until ? plus(now, pause) : undefined;
    }

    /**
     * Returns whether the connection is to be replaced. `acknowledged`: how much of what was sent the delivery of the
     * other side has.
     * @param {number} acknowledged
     * @param {boolean} canReplace
     * @param {number | undefined} roundTrip
     * @param {number} now
     */
    look(acknowledged, canReplace, roundTrip, now) {
        this.deadline = undefined;
        if (!canReplace) this.#wait(now);
        else if (this.#acknowledged === undefined) {
            this.#acknowledged = acknowledged;
            this.deadline = plus(now, patience + 2 * (roundTrip ?? 0));
        } else return acknowledged === this.#acknowledged;
        return false;
    }
}
