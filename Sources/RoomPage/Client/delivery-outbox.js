//# allFunctionsCalledOnLoad
// @ts-check
import { BulkPace } from "./bulk-pace.js";
import { noBytes } from "./bytes.js";
import { allChannels, forEachChannel, isNumbered, keepsNothing } from "./delivery-channel.js";
import { dataHeaderLength, maximumPartLength } from "./delivery-protocol.js";
import { FrameBatch, SendBuffer } from "./send-buffer.js";

/** @typedef {import("./delivery-channel.js").Channel} Channel */
/** @typedef {import("./delivery-channel.js").Level} Level */
/** @typedef {import("./delivery-protocol.js").Kind} Kind */
/** @typedef {import("./numbered-stream.js").NumberedStreams} NumberedStreams */
/**
 * @typedef {{ buffer: number, bulk?: number, message: number, block?: number, frame?: number }} Limits
 *   `buffer`: bytes in the buffer of each channel; senders wait above it. `bulk`: the same for bulk, at first.
 *   `message`: bytes of one message to this participant. `block`: bytes of memory that are allocated at once. `frame`:
 *   bytes of a message that a transport takes as long as no connection has told (RFC 8841 §6.1).
 * @typedef {{ type: "accepted" } | { type: "full" } | { type: "dropped" } | { type: "gone" }
 *   | { type: "tooLarge", limit: number }} Outcome
 *   The result of sending one message. `full`: nothing was taken, wait for credit. `dropped`: there is no connection
 * and
 *   the channel keeps nothing, or the buffer of a broken participant is full. `gone`: its session has ended.
 * @typedef {{ type: string, value?: unknown }} PeerStatus
 */

/** @type {Record<"accepted" | "full" | "dropped" | "gone", Outcome>} */
const outcomes = {
    accepted: { type: "accepted" }, full: { type: "full" }, dropped: { type: "dropped" }, gone: { type: "gone" },
};

/** Bytes of urgent messages above the limit of a buffer: only one who acknowledges nothing causes more. */
const urgentLimit = 1_048_576;

/** The messages to one participant: the buffer of each channel, and which messages are accepted into it. */
export class DeliveryOutbox {
    isGone = false;
    #limits;
    #level;
    #pace;
    #isConnected = false;
    /** There is a connection, but no path: it is being replaced. */
    #isBroken = false;
    /** Messages of the reliable and the unordered channel that were given up. */
    #givenUpCount = 0;
    /** Bytes of a message that the other side's transport takes. */
    #maximumFrameLength;
    /** @type {Record<Channel, SendBuffer>} */
    #buffers;

    /**
     * @param {Level} level
     * @param {NumberedStreams} streams whose numbers the frames continue
     * @param {Limits} limits
     */
    constructor(level, streams, limits) {
        this.#level = level;
        this.#limits = limits;
        this.#maximumFrameLength = limits.frame ?? 65_536;
        this.#pace = new BulkPace(limits.bulk);
        /** @param {Channel} channel */
        const buffer = (channel) => isNumbered(level, channel)
            ? new SendBuffer(dataHeaderLength, streams.stream(channel).machine.accepted, limits.block)
            : new SendBuffer(0, 0, limits.block);
        this.#buffers = forEachChannel(buffer);
    }

    // Messages

    /**
     * Copies one message into the buffer of its channel, in parts where it is longer than a frame. `mayDrop`: the
     * sender
     * does not wait for a participant whose connection is broken.
     * @param {Uint8Array} bytes
     * @param {boolean} isText
     * @param {Channel} channel
     * @param {boolean} mayDrop
     * @returns {Outcome}
     */
    accept(bytes, isText, channel, mayDrop) {
        const refusal = this.#refusal(bytes.length, channel, mayDrop, true);
        if (refusal) return refusal;
        this.#append(noBytes, bytes, isText ? "text" : "binary", channel, true);
        return outcomes.accepted;
    }

    /**
     * Copies one message of topics, requests or streams into the buffer of its channel. `isUrgent`: it is taken above
     * the limit of the buffer, too. `isCounted`: the application is told when it is given up.
     * @param {Uint8Array} head
     * @param {Uint8Array} body
     * @param {Channel} channel
     * @param {boolean} [isUrgent]
     * @param {boolean} [isCounted]
     * @param {boolean} [mayDrop]
     * @returns {Outcome}
     */
    acceptExchange(head, body, channel, isUrgent = false, isCounted = false, mayDrop = false) {
        isCounted = isCounted || keepsNothing(channel);
        const refusal = this.#refusal(head.length + body.length, channel, mayDrop, isCounted);
        const isBounded = this.#buffers[channel].byteCount <= this.#limit(channel) + urgentLimit;
        if (refusal && !(refusal.type == "full" && isUrgent && isBounded)) return refusal;
        this.#append(head, body, "exchange", channel, isCounted);
        return outcomes.accepted;
    }

    /**
     * The reason not to take a message of `count` bytes; undefined: it is taken.
     * @param {number} count
     * @param {Channel} channel
     * @param {boolean} mayDrop
     * @param {boolean} isCounted
     * @returns {Outcome | undefined}
     */
    #refusal(count, channel, mayDrop, isCounted) {
        if (count > this.#limits.message) return { type: "tooLarge", limit: this.#limits.message };
        if (this.isGone) return outcomes.gone;
        if (this.#isConnected && count > this.#maximumFrameLength && !isNumbered(this.#level, channel)) {
            return { type: "tooLarge", limit: this.#maximumFrameLength };
        }
        const buffered = this.#buffers[channel].byteCount;
        const limit = this.#limit(channel);
        const isLossy = keepsNothing(channel);
        if (isLossy && (!this.#isConnected || buffered > limit)) return outcomes.dropped;
        if (buffered == 0 || buffered + count <= limit) return undefined;
        if (channel == "bulk") this.#pace.bufferWasFull();
        if (!mayDrop || !this.isDroppable) return outcomes.full;
        if (isCounted && !isLossy) this.#givenUpCount += 1;
        return outcomes.dropped;
    }

    /** @param {Channel} channel */
    #limit(channel) {
        return channel == "bulk" ? this.#pace.limit : this.#limits.buffer;
    }

    /** The length of the frames into which streams are cut now. */
    get bulkFrameLength() {
        return Math.min(this.#pace.frame, this.#maximumFrameLength);
    }

    /**
     * @param {Uint8Array} head
     * @param {Uint8Array} body
     * @param {Kind} kind
     * @param {Channel} channel
     * @param {boolean} isCounted
     */
    #append(head, body, kind, channel, isCounted) {
        const buffer = this.#buffers[channel];
        // No frame is longer than what the other side's transport takes.
        const part = Math.min(
            maximumPartLength, this.#maximumFrameLength - dataHeaderLength);
        if (isNumbered(this.#level, channel) && part > 0) {
            while (head.length + body.length > part) {
                const [front, rest] = [head.subarray(0, part), part - Math.min(head.length, part)];
                buffer.append(front, body.subarray(0, rest), "part");
                head = head.subarray(part);
                body = body.subarray(rest);
            }
        }
        buffer.append(head, body, kind, isCounted);
    }

    /** A broadcast does not wait for this participant. */
    get isDroppable() {
        return !this.#isConnected || this.#isBroken;
    }

    /**
     * Whether a sender that was told `full` may try again.
     * @param {Channel} channel
     * @param {boolean} mayDrop
     */
    hasCredit(channel, mayDrop) {
        const limit = this.#limit(channel);
        // The path stands still when the buffer is empty before the sender has heard of it.
        const credit = channel == "bulk" ? limit - Math.floor(limit / 4) : Math.floor(limit / 2);
        return this.isGone || this.#buffers[channel].byteCount <= credit || (mayDrop && this.isDroppable);
    }

    /** The last number of each channel: what `isReleased` is asked about. */
    get lastSequences() {
        return allChannels.map((channel) => this.lastSequence(channel));
    }

    /**
     * Whether everything up to these numbers was released.
     * @param {number[]} sequences
     */
    isReleased(sequences) {
        return allChannels.every((channel, index) => this.firstSequence(channel) > sequences[index]);
    }

    /**
     * Messages that wait on a channel or are not acknowledged yet.
     * @param {Channel} channel
     */
    messageCount(channel) {
        return this.#buffers[channel].messageCount;
    }

    /** An accepted message turned out to be too large for the other side. */
    giveUpMessage() {
        this.#givenUpCount += 1;
    }

    /**
     * Returns the number of messages of the reliable and the unordered channel that were given up since the last call.
     */
    takeGivenUpCount() {
        const count = this.#givenUpCount;
        this.#givenUpCount = 0;
        return count;
    }

    // Frames

    /** @param {Channel} channel */
    lastSequence(channel) {
        return this.#buffers[channel].lastSequence;
    }

    /** @param {Channel} channel */
    firstSequence(channel) {
        return this.#buffers[channel].firstSequence;
    }

    /**
     * Returns the frames from `sequence` on.
     * @param {Channel} channel
     * @param {number | undefined} sequence
     */
    frames(channel, sequence) {
        return new FrameBatch(this.#buffers[channel], sequence);
    }

    /**
     * Frees the frames up to and including `sequence`: they were acknowledged or, on a plain channel, taken.
     * @param {number} sequence
     * @param {Channel} channel
     * @param {number} [now]
     */
    release(sequence, channel, now = 0) {
        const buffer = this.#buffers[channel];
        const before = buffer.byteCount;
        buffer.release(sequence);
        if (channel == "bulk") this.#pace.acknowledged(sequence, before - buffer.byteCount, now);
    }

    /**
     * The transport has taken the frame of bulk `sequence`.
     * @param {number} sequence
     * @param {number} now
     */
    bulkTaken(sequence, now) {
        this.#pace.frameTaken(sequence, this.#buffers.bulk.byteCount, now);
    }

    // The connection

    /**
     * The transport is connected, or a channel of it is open.
     * @param {number} maximumMessageSize
     */
    connected(maximumMessageSize) {
        this.#isConnected = true;
        this.#maximumFrameLength = maximumMessageSize;
    }

    /** The reliable channel is closed. */
    disconnected() {
        this.#isConnected = false;
    }

    /** The connection has ended: lossy messages do not wait for the next one. Returns how many were dropped. */
    connectionEnded() {
        this.#isConnected = false;
        this.#pace.connectionEnded();
        let dropped = 0;
        for (const channel of allChannels) {
            if (!keepsNothing(channel)) continue;
            dropped += this.messageCount(channel);
            this.release(this.lastSequence(channel), channel);
        }
        return dropped;
    }

    /**
     * At first a path that recovers may only be slow; from the second rung on it counts as broken, and broadcasts do
     * not
     * wait for it.
     * @param {PeerStatus} status
     */
    statusChanged(status) {
        if (status.type == "connected") this.#isBroken = false;
        else if (status.type == "recovering") this.#isBroken = status.value != "wait";
    }

    /** The participant's session has ended: everything is given up. Returns how many messages that is. */
    close() {
        this.isGone = true;
        const lost = this.takeGivenUpCount() + this.messageCount("reliable") + this.messageCount("unordered");
        for (const buffer of Object.values(this.#buffers)) buffer.removeAll();
        return lost;
    }
}
