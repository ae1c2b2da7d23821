//# allFunctionsCalledOnLoad
import { clamp, minus, plus } from "./time.js";
/** @typedef {import("./values.js").Case} Case */

/**
 * Whether the other side of a signaling connection is there: silence is answered by a ping, and no answer to it is
 * death.
 *
 * A check that comes far too late says more about this page than about the connection (it was frozen or starved, and
 * what came meanwhile is still unread): it leads to a new ping, never to a death.
 *
 * Verdicts: `checkAt(value)`, `ping(id, checkAt)`, `dead`.
 */
export class Liveness {
    #interval;
    #deadline;
    #probeDeadline;
    #tolerance;
    #lastEvidence;
    /** @type {number | undefined} */
    #answerDue;
    #wasLate = false;
    #lastPing = 0;
    /**
     * The ping whose answer comes behind everything that waited while this page did not run.
     * @type {number | undefined}
     */
    #catchUp;

    /**
     * Interval and deadline come from the server and are brought into a sane range.
     * @param {number} interval
     * @param {number} deadline
     * @param {number} probeDeadline
     * @param {number} tolerance
     * @param {number} now
     */
    constructor(interval, deadline, probeDeadline, tolerance, now) {
        this.#interval = clamp(interval, 0.1, 300);
        this.#deadline = clamp(deadline, 0.1, 300);
        this.#probeDeadline = probeDeadline;
        this.#tolerance = tolerance;
        this.#lastEvidence = now;
    }

    /** When to check if nothing happens. */
    get nextCheck() { return this.#answerDue ?? plus(this.#lastEvidence, this.#interval); }

    /**
     * A message has come. True when a ping was unanswered: the check moves.
     * @param {number} now
     */
    evidence(now) {
        this.#lastEvidence = now;
        this.#wasLate = false;
        const wasDue = this.#answerDue !== undefined;
        this.#answerDue = undefined;
        return wasDue;
    }

    /**
     * @param {number} now
     * @returns {Case}
     */
    check(now) {
        const due = this.nextCheck;
        if (now < due) return { type: "checkAt", value: due };
        return this.#answerDue === undefined ? this.#ping(this.#deadline, now) : { type: "dead" };
    }

    /**
     * To be asked first whatever has happened. Not undefined when a check is far overdue, once in a row.
     * @param {number} now
     */
    checkLateness(now) {
        const isDue = this.#answerDue !== undefined;
        if (minus(now, this.nextCheck) <= this.#tolerance || (isDue && this.#wasLate)) return undefined;
        if (isDue) this.#wasLate = true;
        return this.woke(now);
    }

    /** Whether what the other side has said lately may still be unread. */
    get isCatchingUp() { return this.#catchUp !== undefined; }

    /** @param {number} id */
    pong(id) { if (this.#catchUp !== undefined && id >= this.#catchUp) this.#catchUp = undefined; }

    /**
     * Asks now.
     * @param {number} now
     * @returns {Case}
     */
    probe(now) {
        if (this.#answerDue !== undefined && this.#answerDue <= plus(now, this.#probeDeadline)) {
            return { type: "checkAt", value: this.#answerDue };
        }
        return this.#ping(this.#probeDeadline, now);
    }

    /**
     * This machine has slept: an answer to an older ping may have come and gone. Asks anew.
     * @param {number} now
     */
    woke(now) {
        this.#catchUp = this.#lastPing + 1;
        return this.#ping(this.#probeDeadline, now);
    }

    /**
     * @param {number} limit
     * @param {number} now
     * @returns {Case}
     */
    #ping(limit, now) {
        this.#lastPing += 1;
        this.#answerDue = plus(now, limit);
        return { type: "ping", id: this.#lastPing, checkAt: this.#answerDue };
    }
}
