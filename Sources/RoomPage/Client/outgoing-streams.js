//# allFunctionsCalledOnLoad
// @ts-check
import { ReceiveWindow, SendWindow } from "./receive-window.js";

/** Limits of streams between two participants. */
export const StreamLimits = {
    /** Streams of one direction that are open at the same time. */
    open: 64,
    /** The head of a chunk in front of its bytes: kind and stream. */
    headLength: 9,
};

/** Codes of a reset or a stop that this package gives. */
export const StreamCode = {
    cancelled: "cancelled",
    busy: "busy",
    incomplete: "incomplete",
    lengthExceeded: "length_exceeded",
    windowExceeded: "window_exceeded",
};

/** @typedef {"begun" | "wait" | "tooLong" | "closed"} Start Whether bytes may be sent on a stream. */

/**
 * The streams of one direction that have not ended, by their ids.
 * @template Stream
 */
export class OpenStreams {
    /** @type {Map<number, Stream>} */
    streams = new Map();

    /**
     * @param {number} [lastID] the newest stream of before, in the same sessions
     * @param {number} [window] the first size of a window
     */
    constructor(lastID = 0, window = ReceiveWindow.initialSize) {
        this.newestID = lastID;
        this.windowSize = window;
    }

    get count() {
        return this.streams.size;
    }

    /** They are inserted in order. */
    get ids() {
        return [...this.streams.keys()];
    }
}

/**
 * The streams that this side sends to one participant: their ids, windows, and how each ends.
 * @extends {OpenStreams<{ window: SendWindow, length?: number, consumed: number, isEnded: boolean }>}
 */
export class OutgoingStreams extends OpenStreams {
    /**
     * A stream begins: send `open` with its id. Undefined: there are too many.
     * @param {number} [length]
     */
    open(length) {
        if (this.streams.size >= StreamLimits.open) return undefined;
        this.newestID += 1;
        this.streams.set(
            this.newestID, { window: new SendWindow(this.windowSize), length, consumed: 0, isEnded: false });
        return this.newestID;
    }

    /**
     * A chunk of so many bytes is to be sent.
     * @param {number} id
     * @param {number} count
     * @returns {Start}
     */
    begin(id, count) {
        const stream = this.streams.get(id);
        if (!stream || stream.isEnded) return "closed";
        if (stream.length != undefined && stream.window.sent + count > stream.length) return "tooLong";
        return stream.window.begin(count) ? "begun" : "wait";
    }

    /**
     * The chunk that has begun was not taken.
     * @param {number} id
     * @param {number} count
     */
    undo(id, count) {
        this.streams.get(id)?.window.undo(count);
    }

    /**
     * Whether a chunk may begin, or waiting for one makes no sense.
     * @param {number} id
     */
    isOpen(id) {
        return this.streams.get(id)?.window.isOpen ?? true;
    }

    /**
     * Returns the number of bytes that were sent.
     * @param {number} id
     */
    sent(id) {
        return this.streams.get(id)?.window.sent;
    }

    /**
     * All bytes were given: send `end`. False: fewer than were announced, or the stream has ended.
     * @param {number} id
     */
    end(id) {
        const stream = this.streams.get(id);
        if (!stream || stream.isEnded || (stream.length ?? stream.window.sent) != stream.window.sent) return false;
        return (stream.isEnded = true);
    }

    /**
     * Whether fewer bytes were given than were announced.
     * @param {number} id
     */
    isIncomplete(id) {
        const stream = this.streams.get(id);
        return stream?.length != undefined && !stream.isEnded && stream.window.sent < stream.length;
    }

    /**
     * This side gives a stream up: send `reset`. False: it has ended already.
     * @param {number} id
     */
    cancel(id) {
        return this.streams.delete(id);
    }

    /**
     * Returns the bytes that the receiver has consumed so far. Undefined: the stream has ended, or the numbers cannot
     * be.
     * @param {number} id
     * @param {number} consumed
     * @param {number} limit
     */
    windowReceived(id, consumed, limit) {
        const stream = this.streams.get(id);
        if (!stream || consumed < stream.consumed || consumed > stream.window.sent) return undefined;
        stream.consumed = consumed;
        stream.window.grant(limit);
        return consumed;
    }

    /**
     * The receiver has consumed everything. Returns the number of bytes; undefined: it cannot be.
     * @param {number} id
     */
    finishedReceived(id) {
        const stream = this.streams.get(id);
        if (!stream?.isEnded) return undefined;
        this.streams.delete(id);
        return stream.window.sent;
    }

    /**
     * The receiver wants no more. False: there is no such stream.
     * @param {number} id
     */
    stopReceived(id) {
        return this.streams.delete(id);
    }

    /**
     * The receiver has forgotten the streams up to `last`. Returns those.
     * @param {number} last
     */
    restartReceived(last) {
        const ended = this.ids.filter((id) => id <= last);
        for (const id of ended) this.streams.delete(id);
        return ended;
    }

    /** The session of either side has ended. Returns the streams that end with it. */
    removeAll() {
        return this.restartReceived(Infinity);
    }
}
