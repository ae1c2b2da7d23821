//# allFunctionsCalledOnLoad
// @ts-check
import { OpenStreams, StreamCode, StreamLimits } from "./outgoing-streams.js";
import { ReceiveWindow } from "./receive-window.js";

/** @typedef {import("./receive-window.js").Budget} Budget */
/**
 * @typedef {{ type: "taken" } | { type: "ignored" } | { type: "refused", code: string } | { type: "malformed" }} Use
 *   The use of an `open`, a chunk or an `end`. `refused`: send `stop` with this code; a stream that was open has ended.
 */

/** @type {Use} */
const taken = { type: "taken" };
/** @type {Use} */
const ignored = { type: "ignored" };
/** @type {Use} */
const malformed = { type: "malformed" };

/**
 * The streams that one participant sends to this side: which are taken, how much of each may come, and how it ends. The
 * bytes are kept by the shell until the application has consumed them; there are never more of them than the window and
 * one chunk. What comes for a stream that has ended is ignored.
 * @extends {OpenStreams<{ window: ReceiveWindow, length?: number, isEnded: boolean }>}
 */
export class IncomingStreams extends OpenStreams {
    /**
     * Returns the number of bytes that have come and were not consumed.
     * @param {number} id
     */
    unconsumed(id) {
        const window = this.streams.get(id)?.window;
        return window ? window.received - window.consumed : 0;
    }

    // What the sender says

    /** @param {number} id @param {number | undefined} length @param {Budget} budget @returns {Use} */
    openReceived(id, length, budget) {
        if (id <= this.newestID) return malformed;
        this.newestID = id;
        if (this.streams.size >= StreamLimits.open) return { type: "refused", code: StreamCode.busy };
        this.streams.set(id, { window: new ReceiveWindow(budget, this.windowSize), length, isEnded: false });
        return taken;
    }

    /** @param {number} id @param {number} count @param {Budget} budget @returns {Use} */
    dataReceived(id, count, budget) {
        const stream = this.streams.get(id);
        if (!stream || stream.isEnded) return id > this.newestID ? malformed : ignored;
        const isTooLong = stream.length != undefined && stream.window.received + count > stream.length;
        if (!isTooLong && stream.window.receive(count)) return taken;
        this.#remove(id, budget);
        return { type: "refused", code: isTooLong ? StreamCode.lengthExceeded : StreamCode.windowExceeded };
    }

    /** @param {number} id @param {Budget} budget @returns {Use} */
    endReceived(id, budget) {
        const stream = this.streams.get(id);
        if (!stream || stream.isEnded) return ignored;
        if (stream.length != undefined && stream.window.received != stream.length) {
            this.#remove(id, budget);
            return { type: "refused", code: StreamCode.incomplete };
        }
        stream.isEnded = true;
        return taken;
    }

    /**
     * The sender has given the stream up. False: there is no such stream.
     * @param {number} id
     * @param {Budget} budget
     */
    resetReceived(id, budget) {
        return this.#remove(id, budget);
    }

    /**
     * The sender's streams before `first` have ended. Returns them.
     * @param {number} first
     * @param {Budget} budget
     */
    restartReceived(first, budget) {
        const ended = this.ids.filter((id) => id < first);
        for (const id of ended) this.#remove(id, budget);
        return ended;
    }

    // What the application does

    /**
     * The application has consumed so many bytes. Returns the `window` to send, if one is due.
     * @param {number} id
     * @param {number} count
     * @param {number} now
     * @param {Budget} budget
     */
    consume(id, count, now, budget) {
        const stream = this.streams.get(id);
        if (!stream?.window.consume(count) || stream.isEnded) return undefined;
        const limit = stream.window.grant(now, 0, budget);
        return limit == undefined ? undefined : { consumed: stream.window.consumed, limit };
    }

    /**
     * The application has consumed all bytes and seen the end: send `finished`. False: the stream has ended before.
     * @param {number} id
     * @param {Budget} budget
     */
    finish(id, budget) {
        const stream = this.streams.get(id);
        if (!stream?.isEnded || stream.window.consumed != stream.window.received) return false;
        return this.#remove(id, budget);
    }

    /**
     * The application wants no more: send `stop`. False: it has ended before.
     * @param {number} id
     * @param {Budget} budget
     */
    stop(id, budget) {
        return this.#remove(id, budget);
    }

    /**
     * The session of either side has ended. Returns the streams that end with it.
     * @param {Budget} budget
     */
    removeAll(budget) {
        return this.restartReceived(Infinity, budget);
    }

    /** @param {number} id @param {Budget} budget */
    #remove(id, budget) {
        this.streams.get(id)?.window.end(budget);
        return this.streams.delete(id);
    }
}
