//# allFunctionsCalledOnLoad
// @ts-check
import { noBytes } from "./bytes.js";
import { DeliveryMachine } from "./delivery-machine.js";
import { dataHeaderLength } from "./delivery-protocol.js";

/** @typedef {import("./delivery-protocol.js").Kind} Kind */
/** @typedef {import("./delivery-protocol.js").Frame} Frame */
/** @typedef {import("./delivery-channel.js").Channel} Channel */
/**
 * @typedef {{ type: "whole", value: Kind } | { type: "assembled", value: Kind } | { type: "absorbed" }
 *   | { type: "acknowledged" } | { type: "resumed" } | { type: "violation" }} Arrival The use of a received frame.
 */

/** @type {Arrival} */
const absorbed = { type: "absorbed" };
/** @type {Arrival} */
const acknowledged = { type: "acknowledged" };
/** @type {Arrival} */
const violation = { type: "violation" };

/**
 * One numbered stream between two sessions, as this side has it: its numbers, the parts so far of a message that is not
 * whole, and how far its frames were released. It outlives peer connections.
 */
export class NumberedStream {
    machine;
    /** Parts so far, in a buffer that grows by doubling. They were acknowledged, so they outlive their channel. */
    #parts = noBytes;
    #count = 0;
    /** Up to which number the owner was told to release frames. */
    #released = 0;
    #isAcknowledgementScheduled = false;

    /** @param {string} session @param {string} peerSession */
    constructor(session, peerSession) {
        this.machine = new DeliveryMachine(session, peerSession);
    }

    /** Up to which number frames can be released; undefined: none since the last call. */
    takeReleasable() {
        if (this.machine.acknowledged == this.#released) return undefined;
        return (this.#released = this.machine.acknowledged);
    }

    /**
     * A frame of this stream; `limit`: bytes of a message that this side accepts. Hints are the owner's.
     * @param {Frame} frame
     * @param {Uint8Array} bytes
     * @param {number} limit
     * @returns {Arrival}
     */
    received(frame, bytes, limit) {
        switch (frame.type) {
            case "data":
                switch (this.machine.dataReceived(frame.kind, frame.sequence, frame.ack)) {
                    case "deliver":
                        return { type: "whole", value: frame.kind };
                    case "begin":
                        this.#count = 0;
                    // falls through
                    case "append":
                        return this.#assemble(bytes, limit) ? absorbed : violation;
                    case "complete":
                        return this.#assemble(bytes, limit) ? { type: "assembled", value: frame.kind } : violation;
                    case "duplicate":
                        return absorbed;
                    default:
                        return violation;
                }
            case "ack":
                return this.machine.ackReceived(frame.value) ? acknowledged : violation;
            case "resume":
                return this.machine.resumeReceived(frame.value) ? { type: "resumed" } : violation;
            default:
                return acknowledged;
        }
    }

    /** @param {Uint8Array} frame @param {number} limit */
    #assemble(frame, limit) {
        const part = frame.subarray(dataHeaderLength);
        const count = this.#count + part.length;
        if (count > limit) return false;
        if (count > this.#parts.length) {
            const parts = new Uint8Array(Math.min(Math.max(2 * count, 1024), limit));
            parts.set(this.#parts.subarray(0, this.#count));
            this.#parts = parts;
        }
        this.#parts.set(part, this.#count);
        this.#count = count;
        return true;
    }

    /** Returns the bytes of a message that came in parts. */
    takeParts() {
        const whole = this.#parts.subarray(0, this.#count);
        this.#parts = noBytes;
        this.#count = 0;
        return whole;
    }

    /**
     * A data frame of `count` bytes was dealt with.
     * @param {number} count
     */
    acknowledgementUrgency(count) {
        const urgency = this.machine.ackUrgency(count);
        if (urgency != "soon") return urgency;
        if (this.#isAcknowledgementScheduled) return "none";
        this.#isAcknowledgementScheduled = true;
        return "soon";
    }

    acknowledgementTimerFired() {
        this.#isAcknowledgementScheduled = false;
    }

    /** An acknowledgement that no frame has carried while the channel was blocked. */
    get isAcknowledgementOverdue() {
        return this.machine.ackToSend != undefined && !this.#isAcknowledgementScheduled;
    }

    /** There is no connection any more: the timer of the acknowledgement is void. */
    detached() {
        this.machine.channelLost();
        this.#isAcknowledgementScheduled = false;
    }

    /** The link begins: nothing was released yet of the outbox that begins with it. */
    began() {
        this.#released = this.machine.acknowledged;
        this.#isAcknowledgementScheduled = false;
    }
}

/** The numbered streams between two sessions. */
export class NumberedStreams {
    /**
     * Of the streams of the application.
     * @type {import("./stream-record.js").StreamRecord | undefined}
     */
    record;
    /**
     * Of its topics and requests.
     * @type {import("./exchange-record.js").ExchangeRecord | undefined}
     */
    exchange;
    #reliable;
    #bulk;

    /** @param {string} session @param {string} peerSession */
    constructor(session, peerSession) {
        this.#reliable = new NumberedStream(session, peerSession);
        this.#bulk = new NumberedStream(session, peerSession);
    }

    /**
     * Returns the stream of a numbered channel.
     * @param {Channel} channel
     */
    stream(channel) {
        return channel == "bulk" ? this.#bulk : this.#reliable;
    }

    get session() {
        return this.#reliable.machine.session;
    }

    get peerSession() {
        return this.#reliable.machine.peerSession;
    }

    /** Nobody waits for what was accepted and not confirmed: it is not sent any more. */
    abandon() {
        this.#reliable.machine.abandon();
        this.#bulk.machine.abandon();
    }

    /** There is no connection any more. */
    detached() {
        this.#reliable.detached();
        this.#bulk.detached();
    }

    /** A link begins, with an outbox of its own. */
    began() {
        this.#reliable.began();
        this.#bulk.began();
    }
}
