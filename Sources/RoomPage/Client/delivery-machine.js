//# allFunctionsCalledOnLoad
// @ts-check
/** @typedef {import("./delivery-protocol.js").Kind} Kind */
/** @typedef {import("./delivery-protocol.js").ResumeFrame} ResumeFrame */
/** @typedef {"deliver" | "begin" | "append" | "complete" | "duplicate" | "violation"} Verdict */
/** @typedef {"none" | "soon" | "now"} AckUrgency */

/**
 * The numbers of one numbered stream between two sessions: which frames were accepted, transmitted, acknowledged,
 * received. Numbers only: the bytes are kept by the owner, from `accepted` until `acknowledged`. It outlives peer
 * connections: each new channel begins with a resume frame of each side, after which exactly the frames that the other
 * side lacks are sent again.
 */
export class DeliveryMachine {
    static ackDelay = 0.02;
    /** Frames, and bytes, after which an acknowledgement is sent at once. */
    static ackEvery = 64;
    static ackEveryBytes = 262_144;

    /** The last number given to a frame. */
    accepted = 0;
    /** The last number handed to the current channel. */
    transmitted = 0;
    /** The last number that the other side has confirmed, or that was given up. */
    acknowledged = 0;
    /** The last number that has come, in order. */
    received = 0;
    /**
     * `detached` can transition to `opening` (our resume frame is out, the other side's has not come), `opening` to
     * `open` and `detached`, `open` to `detached`.
     * @type {"detached" | "opening" | "open"}
     */
    #state = "detached";
    /** The last number that the other side has confirmed. */
    #confirmed = 0;
    /** The last `received` that the other side was told. */
    #reported = 0;
    /** Of frames that came since then. */
    #unreportedBytes = 0;
    /** Parts of a message have come, its end has not. */
    #isAssembling = false;
    #isFirstChannel = true;

    /** @param {string} session @param {string} peerSession */
    constructor(session, peerSession) {
        this.session = session;
        this.peerSession = peerSession;
    }

    /**
     * Frames up to `sequence` are in the owner's buffer. Returns `nextToTransmit`.
     * @param {number} sequence
     */
    framesAccepted(sequence) {
        this.accepted = Math.max(this.accepted, sequence);
        return this.nextToTransmit;
    }

    /** The next frame to hand to the channel; undefined when there is none or the channel does not take any yet. */
    get nextToTransmit() {
        if (this.transmitted >= this.accepted || this.#state == "detached") return undefined;
        // Nothing was ever exchanged: no need to wait for the other side's resume frame.
        const isNew = this.acknowledged == 0 && this.received == 0 && this.#isFirstChannel;
        return this.#state == "open" || isNew ? this.transmitted + 1 : undefined;
    }

    /**
     * The frame `sequence` was handed to the channel, with `received` as its acknowledgement.
     * @param {number} sequence
     */
    frameTransmitted(sequence) {
        this.transmitted = sequence;
        this.ackTransmitted();
    }

    /** The number of frames that were accepted and not yet confirmed. */
    get unacknowledged() {
        return this.accepted - this.acknowledged;
    }

    /**
     * A channel is open: send this first.
     * @returns {ResumeFrame}
     */
    channelOpened() {
        this.#state = "opening";
        this.transmitted = this.acknowledged;
        this.ackTransmitted();
        const { session, peerSession, received } = this;
        return { session, peerSession, received, next: this.acknowledged + 1 };
    }

    channelLost() {
        if (this.#state != "detached" && (this.transmitted > 0 || this.received > 0)) this.#isFirstChannel = false;
        this.#state = "detached";
    }

    /** Nobody waits for what was accepted and not confirmed: it is not sent any more. */
    abandon() {
        this.channelLost();
        this.acknowledged = this.accepted;
    }

    /**
     * Takes the other side's resume frame. False: it belongs to other sessions or does not fit; close the connection.
     * @param {ResumeFrame} frame
     */
    resumeReceived(frame) {
        if (this.#state != "opening" || frame.session != this.peerSession || frame.peerSession != this.session
            || frame.received < this.#confirmed || frame.received > this.accepted
            || frame.next < 1 || frame.next > Number.MAX_SAFE_INTEGER) return false;
        if (frame.next - 1 > this.received) {
            // It has given up what is between, and its application knows.
            this.received = frame.next - 1;
            this.#isAssembling = false;
        }
        this.#confirmed = frame.received;
        this.acknowledged = Math.max(this.acknowledged, frame.received);
        this.transmitted = Math.max(this.transmitted, this.acknowledged);
        this.#isFirstChannel = false;
        this.#state = "open";
        return true;
    }

    /**
     * Takes a data frame with the lower 32 bits of its number, and returns the use of it.
     * @param {Kind} kind
     * @param {number} sequence
     * @param {number} ack
     * @returns {Verdict}
     */
    dataReceived(kind, sequence, ack) {
        if (this.#state != "open" || !this.ackReceived(ack)) return "violation";
        const distance = (sequence - this.received) | 0;
        if (distance != 1) return distance <= 0 ? "duplicate" : "violation";
        this.received += 1;
        const wasAssembling = this.#isAssembling;
        this.#isAssembling = kind == "part";
        if (this.#isAssembling) return wasAssembling ? "append" : "begin";
        return wasAssembling ? "complete" : "deliver";
    }

    /**
     * Takes the lower 32 bits of an acknowledgement. False: it confirms what was never sent.
     * @param {number} ack
     */
    ackReceived(ack) {
        if (this.#state != "open") return false;
        const distance = (ack - this.acknowledged) | 0;
        if (distance <= 0) return true;
        if (distance > this.transmitted - this.acknowledged) return false;
        this.acknowledged += distance;
        this.#confirmed = this.acknowledged;
        return true;
    }

    /**
     * A data frame of `length` bytes was dealt with. Returns when an acknowledgement of its own is due: one that is due
     * `soon` within `ackDelay`. Whatever is sent before carries it for nothing.
     * @param {number} length
     * @returns {AckUrgency}
     */
    ackUrgency(length) {
        this.#unreportedBytes += length;
        if (this.unreported == 0) {
            this.#unreportedBytes = 0;
            return "none";
        }
        const { ackEvery, ackEveryBytes } = DeliveryMachine;
        return this.unreported >= ackEvery || this.#unreportedBytes >= ackEveryBytes ? "now" : "soon";
    }

    /** The number of frames that came and that the other side was not told of. */
    get unreported() {
        return this.received - this.#reported;
    }

    /** An acknowledgement of its own; undefined when there is nothing to report or nobody to report to. */
    get ackToSend() {
        return this.isOpen && this.unreported > 0 ? this.received >>> 0 : undefined;
    }

    /** An acknowledgement of everything that came was handed to the channel. */
    ackTransmitted() {
        this.#reported = this.received;
        this.#unreportedBytes = 0;
    }

    get isOpen() {
        return this.#state == "open";
    }
}
