//# allFunctionsCalledOnLoad
// @ts-check
import { minus } from "./time.js";

const initialSize = 262_144;
const maximumSize = 4_194_304;
const shortTime = 0.1;
/** More than the longest message costs, which may go beyond the limit. */
const longestMessage = 2 ** 32 - 1;

/**
 * The windows of all topics and streams of a connection together. New ones are always there; they grow only within it.
 */
export class Budget {
    static maximum = 16_777_216;
    used = 0;

    /** @param {number} size */
    add(size) {
        this.used += size;
    }

    /** @param {number} size */
    remove(size) {
        this.used -= Math.min(size, this.used);
    }

    /** @param {number} size */
    hasRoom(size) {
        return this.used + size <= Budget.maximum;
    }
}

/**
 * The flow control of one topic or stream at its receiver: how much has come, how much the application has consumed,
 * and up to where the sender may go on.
 *
 * The sender may begin a message while it has sent less than the limit, so the last one may go beyond it. The limit
 * grows when half of the window is consumed. A reader that is as fast as the path gets a larger window: it doubles when
 * two grants come within 100 ms or two round trips.
 */
export class ReceiveWindow {
    static initialSize = initialSize;
    static maximumSize = maximumSize;
    static shortTime = shortTime;
    static Budget = Budget;

    received = 0;
    consumed = 0;
    /** @type {number | undefined} */
    #lastGrant;

    /** @param {Budget} budget @param {number} [size] */
    constructor(budget, size = initialSize) {
        this.limit = size;
        this.size = size;
        budget.add(size);
    }

    /**
     * A message of this cost has begun. False: the sender has gone beyond its limit.
     * @param {number} cost
     */
    receive(cost) {
        if (this.received >= this.limit) return false;
        this.received += cost;
        return true;
    }

    /**
     * The application has consumed so much. True: a grant is due.
     * @param {number} cost
     */
    consume(cost) {
        this.consumed = Math.min(this.consumed + cost, this.received);
        return this.#isGrantDue;
    }

    get #isGrantDue() {
        return this.consumed + this.size >= this.limit + Math.floor(this.size / 2);
    }

    /**
     * Moves the limit, where half of the window is consumed. Returns the new limit, which is sent to the other side.
     * @param {number} now
     * @param {number} roundTrip
     * @param {Budget} budget
     */
    grant(now, roundTrip, budget) {
        if (!this.#isGrantDue) return undefined;
        if (this.#lastGrant != undefined && minus(now, this.#lastGrant) <= Math.max(shortTime, roundTrip * 2)
            && this.size < maximumSize && budget.hasRoom(this.size)) {
            budget.add(this.size);
            this.size *= 2;
        }
        this.#lastGrant = now;
        return (this.limit = this.consumed + this.size);
    }

    /**
     * The sender has dropped messages: it has sent so much in all. False: that cannot be. True: a grant may be due.
     * @param {number} sent
     */
    skip(sent) {
        if (sent <= this.received || sent > this.limit + longestMessage) return false;
        this.consumed += sent - this.received;
        this.received = sent;
        return true;
    }

    /**
     * Goes on within another budget: what has come counts as consumed. Returns the limit, which the sender may not have
     * heard of.
     * @param {Budget} budget
     */
    restart(budget) {
        this.consumed = this.received;
        this.#lastGrant = undefined;
        budget.add(this.size);
        if (this.#isGrantDue) this.limit = this.consumed + this.size;
        return this.limit;
    }

    /**
     * The stream has ended: its window is free for others.
     * @param {Budget} budget
     */
    end(budget) {
        budget.remove(this.size);
    }
}

/** The flow control of one topic or stream at its sender. */
export class SendWindow {
    sent = 0;

    /** @param {number} [limit] */
    constructor(limit = initialSize) {
        this.limit = limit;
    }

    /** Whether a message may begin. */
    get isOpen() {
        return this.sent < this.limit;
    }

    /**
     * A message of this cost begins. False: it has to wait.
     * @param {number} cost
     */
    begin(cost) {
        if (!this.isOpen) return false;
        this.sent += cost;
        return true;
    }

    /**
     * The message was not taken after all.
     * @param {number} cost
     */
    undo(cost) {
        this.sent -= Math.min(cost, this.sent);
    }

    /**
     * The receiver grants more. False: it does not, and nothing changes.
     * @param {number} limit
     */
    grant(limit) {
        if (limit <= this.limit) return false;
        this.limit = limit;
        return true;
    }
}
