//# allFunctionsCalledOnLoad
// @ts-check
import { noBytes, writeU32 } from "./bytes.js";
import { kindByte } from "./delivery-protocol.js";

/** @typedef {import("./delivery-protocol.js").Kind} Kind */
/** @typedef {{ bytes: Uint8Array, kind: Kind, isCounted: boolean }} Entry */

/**
 * Messages of one channel to one participant, from being accepted until they are done with. Every message, or part of a
 * long one, has a number, counting from 1. Small ones share blocks of memory.
 */
export class SendBuffer {
    byteCount = 0;
    /** Whole messages, and ends of messages whose first parts are done with, of those that are counted. */
    messageCount = 0;
    /**
     * The oldest first, from `#first` on.
     * @type {Entry[]}
     */
    #entries = [];
    #first = 0;
    #blockSize;
    #block = noBytes;
    #used = 0;

    /**
     * @param {number} headerLength Space in front of each message for the delivery header; 0 for plain channels.
     * @param {number} [lastSequence] The first message gets the number after it.
     * @param {number} [blockSize] Bytes of memory that are allocated at once.
     */
    constructor(headerLength, lastSequence = 0, blockSize = 131_072) {
        this.headerLength = headerLength;
        this.lastSequence = lastSequence;
        this.#blockSize = blockSize;
    }

    /** The number of the oldest message that is kept. */
    get firstSequence() {
        return this.lastSequence - this.count + 1;
    }

    /** The number of messages and parts of messages. */
    get count() {
        return this.#entries.length - this.#first;
    }

    /**
     * Copies a message, or a part of one, in and gives it the next number.
     * @param {Uint8Array} head its first bytes
     * @param {Uint8Array} bytes
     * @param {Kind} kind
     * @param {boolean} [isCounted] the application counts it
     */
    append(head, bytes, kind, isCounted = true) {
        const header = this.headerLength;
        const target = this.#allocate(header + head.length + bytes.length);
        this.lastSequence += 1;
        if (header > 0) {
            target[0] = kindByte(kind);
            writeU32(target, 1, this.lastSequence);
        }
        if (head.length > 0) target.set(head, header);
        target.set(bytes, header + head.length);
        this.byteCount += target.length;
        isCounted = isCounted && kind != "part";
        if (isCounted) this.messageCount += 1;
        this.#entries.push({ bytes: target, kind, isCounted });
    }

    /** @param {number} length */
    #allocate(length) {
        if (length > this.#blockSize / 8) return new Uint8Array(length);
        if (this.#used + length > this.#block.length) {
            this.#block = new Uint8Array(this.#blockSize);
            this.#used = 0;
        }
        const start = this.#used;
        this.#used += length;
        return this.#block.subarray(start, this.#used);
    }

    /**
     * Returns the message with the number `sequence`, header included.
     * @param {number} sequence
     */
    frame(sequence) {
        if (sequence < this.firstSequence || sequence > this.lastSequence) return undefined;
        return this.#entries[this.#first + sequence - this.firstSequence];
    }

    /**
     * Frees everything up to and including `sequence`.
     * @param {number} sequence
     */
    release(sequence) {
        while (this.count > 0 && this.firstSequence <= sequence) {
            const entry = this.#entries[this.#first];
            // The memory is the collector's, as soon as nothing points to it.
            this.#entries[this.#first++] = free;
            this.byteCount -= entry.bytes.length;
            if (entry.isCounted) this.messageCount -= 1;
        }
        if (this.#first > 64 && this.#first * 2 > this.#entries.length) {
            this.#entries.splice(0, this.#first);
            this.#first = 0;
        }
        if (this.count == 0) this.#entries.length = this.#first = 0;
    }

    removeAll() {
        this.release(this.lastSequence);
        this.#block = noBytes;
        this.#used = 0;
    }
}

/** @type {Entry} */
const free = { bytes: noBytes, kind: "binary", isCounted: false };

/** Up to 16 consecutive frames of a send buffer. */
export class FrameBatch {
    static capacity = 16;
    /** @type {Entry[]} */
    #frames = [];

    /** Takes the frames of `buffer` from `sequence` on; none where that is undefined.
     * @param {SendBuffer} buffer
     * @param {number | undefined} sequence
     */
    constructor(buffer, sequence) {
        /** The number of the first frame. */
        this.first = sequence ?? 0;
        /** The frames begin with a delivery header. */
        this.hasHeaders = buffer.headerLength > 0;
        for (let frame; sequence != undefined && this.count < FrameBatch.capacity; sequence += 1) {
            frame = buffer.frame(sequence);
            if (!frame) break;
            this.#frames.push(frame);
        }
    }

    get count() {
        return this.#frames.length;
    }

    /**
     * Returns a frame, header included.
     * @param {number} index
     */
    frame(index) {
        return this.#frames[index].bytes;
    }

    /**
     * Whether the channel is to carry a frame as text. Frames with a header are bytes.
     * @param {number} index
     */
    isText(index) {
        return !this.hasHeaders && this.#frames[index].kind == "text";
    }
}
