import { minus, plus } from "./time.js";

/** A silence after which SCTP's timer may be far away: browsers double it up to 3 s. */
const leastSilence = 2.5;
/** How long an acknowledgement of the other side's delivery may take, beside two round trips. */
const patience = 0.3;
/** How often it is asked again whether a new connection can be made, and for how long. */
const [pause, limit] = [0.1, 3];

/**
 * Decides that a connection is to be replaced although its path is back. After an outage a browser repeats what it had
 * sent when a timer fires, some seconds later; a new connection is made within a few round trips.
 */
export class StuckData {
    /**
     * Since when the other side is silent.
     * @type {number | undefined}
     */
    #silentSince;
    #acknowledged = 0;
    #aliveAt = 0;
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
     * There is a sign of life. `acknowledged`: how much of what was sent the delivery of the other side has.
     * @param {number} acknowledged
     * @param {boolean} isOutstanding more was sent
     * @param {number | undefined} roundTrip
     * @param {number} now
     */
    alive(acknowledged, isOutstanding, roundTrip, now) {
        const since = this.#silentSince;
        this.#silentSince = undefined;
        if (since === undefined || !isOutstanding || minus(now, since) < leastSilence) return;
        this.#acknowledged = acknowledged;
        this.#aliveAt = now;
        this.deadline = plus(now, patience + 2 * (roundTrip ?? 0));
    }

    /**
     * Returns whether the connection is to be replaced.
     * @param {number} acknowledged
     * @param {boolean} canReplace
     * @param {number} now
     */
    look(acknowledged, canReplace, now) {
        this.deadline = undefined;
        if (acknowledged !== this.#acknowledged) return false;
        if (!canReplace && minus(now, this.#aliveAt) < limit) this.deadline = plus(now, pause);
        return canReplace;
    }
}
