//# allFunctionsCalledOnLoad
import { utf8Length } from "./values.js";
/**
 * @typedef {import("./values.js").Case} Case
 * @typedef {{ sequence?: number, ack?: number, message: Case }} Envelope A message with its number and the
 *     acknowledgement that accompanies it.
 */

/** @param {Record<string, string>} values */
const sizeOf = (values) => Object.entries(values).reduce(
    (size, [key, value]) => size + utf8Length(key) + utf8Length(value) + 8, 64);

/**
 * Bytes, roughly as encoded; for the queue's limit.
 * @param {Case} message
 */
function estimatedSize(message) {
    switch (message.type) {
    case "signal": {
        const { body } = message.value;
        return 160 + utf8Length(body.value?.text ?? body.reason ?? "");
    }
    case "kick": case "closeRoom": return 64 + utf8Length(message.reason);
    case "update": return sizeOf(message.metadata);
    case "updateRoom": return sizeOf(message.value.values);
    default: return 64;
    }
}

/**
 * Whether another signal is worthless once this one is sent: this is a new description for the same participant, and
 * the other one belongs to another connection or an older round.
 * @param {any} signal
 * @param {any} other
 */
export const supersedes = (signal, other) => signal.body.type == "description" && other.peer == signal.peer
    && (other.connection != signal.connection || other.negotiation < signal.negotiation);

/**
 * The numbered messages of this side, in order. They are kept until the server has acknowledged them.
 *
 * A message gets its number when it is first sent. Before that it may still be taken back; afterwards it is part of the
 * stream until a rejoin starts a new one.
 */
export class OutgoingStream {
    #countLimit;
    #byteLimit;
    /**
     * Numbered ones first.
     * @type {{ sequence?: number, message: Case, size: number }[]}
     */
    #entries = [];
    #bytes = 0;
    #lastSequence = 0;
    #acknowledged = 0;

    /**
     * @param {number} countLimit
     * @param {number} byteLimit
     */
    constructor(countLimit, byteLimit) {
        this.#countLimit = countLimit;
        this.#byteLimit = byteLimit;
    }

    get count() { return this.#entries.length; }

    /**
     * Appends a message. False, and nothing done, when the queue is at its limit.
     * @param {Case} message
     */
    append(message) {
        const size = estimatedSize(message);
        if (this.count >= this.#countLimit || this.#bytes + size > this.#byteLimit) return false;
        this.#entries.push({ message, size });
        this.#bytes += size;
        return true;
    }

    /** Numbers what was not sent yet and hands it out. */
    takeUnsent() {
        /** @type {Envelope[]} */
        const unsent = [];
        for (const entry of this.#entries) {
            if (entry.sequence !== undefined) continue;
            entry.sequence = ++this.#lastSequence;
            unsent.push({ sequence: entry.sequence, message: entry.message });
        }
        return unsent;
    }

    /**
     * The server has everything up to `sequence`. False: it cannot have.
     * @param {number} sequence
     */
    acknowledge(sequence) {
        if (sequence > this.#lastSequence) return false;
        if (sequence <= this.#acknowledged) return true;
        this.#acknowledged = sequence;
        this.#keep((entry) => !(entry.sequence !== undefined && entry.sequence <= sequence));
        return true;
    }

    /**
     * The stream goes on over a new connection: what the server has not got is sent again, under its old number.
     * Undefined: the server's place in the stream is not ours.
     * @param {number} received
     */
    resume(received) {
        if (received < this.#acknowledged || !this.acknowledge(received)) return undefined;
        /** @type {Envelope[]} */
        const again = [];
        for (const { sequence, message } of this.#entries) {
            if (sequence !== undefined) again.push({ sequence, message });
        }
        return again.concat(this.takeUnsent());
    }

    /**
     * A new stream begins. Kicks and the latest metadata are sent again. Signals are not: whatever they negotiated is
     * negotiated anew. The host says the room's attributes again where the server does not know them.
     */
    restart() {
        const latest = this.#entries.filter(({ message }) => message.type == "update").pop();
        this.#keep((entry) => ["kick", "closeRoom"].includes(entry.message.type) || entry == latest);
        for (const entry of this.#entries) entry.sequence = undefined;
        this.#lastSequence = 0;
        this.#acknowledged = 0;
    }

    /**
     * Takes back signals that were not sent yet.
     * @param {(signal: any) => boolean} isSuperseded
     */
    removeUnsentSignals(isSuperseded) {
        this.#keep(({ sequence, message }) =>
            sequence !== undefined || message.type != "signal" || !isSuperseded(message.value));
    }

    /** @param {(entry: { sequence?: number, message: Case, size: number }) => boolean} isKept */
    #keep(isKept) {
        this.#entries = this.#entries.filter(isKept);
        this.#bytes = this.#entries.reduce((bytes, { size }) => bytes + size, 0);
    }
}

/** The server's numbered messages: each is taken once, in order. */
export class IncomingStream {
    constructor() {
        /** The last one that came in order. */
        this.received = 0;
        /** How many were taken since the last acknowledgement. */
        this.unacknowledged = 0;
    }

    /**
     * @param {number} sequence
     * @returns {"next" | "duplicate" | "gap"}
     */
    take(sequence) {
        if (sequence > this.received + 1) return "gap";
        this.unacknowledged += 1;
        // Of a duplicate, the server does not know that we have it.
        if (sequence <= this.received) return "duplicate";
        this.received = sequence;
        return "next";
    }

    /** An acknowledgement of everything so far goes out. */
    acknowledge() { this.unacknowledged = 0; }
}

/** The numbered messages of both directions, which outlive connections, and whether they can be resumed. */
export class SignalingStreams {
    #outgoing;
    #incoming = new IncomingStream();

    /**
     * @param {number} countLimit
     * @param {number} byteLimit
     */
    constructor(countLimit, byteLimit) {
        this.#outgoing = new OutgoingStream(countLimit, byteLimit);
        /** The place in the streams is lost: only a rejoin begins new ones. */
        this.mustRejoin = false;
        /** The server has let this participant in before. */
        this.hasBegun = false;
    }

    /** Messages that wait for the server's acknowledgement or for a connection. */
    get queuedMessages() { return this.#outgoing.count; }
    get received() { return this.#incoming.received; }
    get unacknowledged() { return this.#incoming.unacknowledged; }

    requireRejoin() { this.mustRejoin = true; }

    /**
     * The server has let this participant in. Returns what is sent first; undefined where the server's place in the
     * streams is not ours, so that only a rejoin helps.
     * @param {any} joined
     * @returns {Envelope[] | undefined}
     */
    begin(joined) {
        let unsent;
        if (joined.isResumed) {
            unsent = this.mustRejoin || !this.hasBegun ? undefined : this.#outgoing.resume(joined.received);
            if (!unsent) {
                this.mustRejoin = true;
                return undefined;
            }
        } else {
            this.#incoming = new IncomingStream();
            this.#outgoing.restart();
            unsent = this.#outgoing.takeUnsent();
        }
        this.mustRejoin = false;
        this.hasBegun = true;
        return unsent;
    }

    /**
     * Appends a message. Returns the number of dropped messages where the queue was at its limit: nothing is
     * acknowledged, or nobody has come back for long, and what was negotiated meanwhile is worth nothing any more.
     * @param {Case} message
     */
    append(message) {
        if (this.#outgoing.append(message)) return undefined;
        const before = this.#outgoing.count;
        this.mustRejoin = true;
        this.#outgoing.restart();
        if (message.type == "kick") this.#outgoing.append(message);
        return before + 1 - this.#outgoing.count;
    }

    takeUnsent() { return this.#outgoing.takeUnsent(); }

    /** @param {(signal: any) => boolean} isSuperseded */
    removeUnsentSignals(isSuperseded) { this.#outgoing.removeUnsentSignals(isSuperseded); }

    /**
     * The server has everything up to `sequence`. False: it cannot have, and only a rejoin helps.
     * @param {number} sequence
     */
    acknowledged(sequence) {
        const isOurs = this.#outgoing.acknowledge(sequence);
        if (!isOurs) this.mustRejoin = true;
        return isOurs;
    }

    /**
     * Takes a message of the server. After a gap only a rejoin helps.
     * @param {number} sequence
     */
    take(sequence) {
        const verdict = this.#incoming.take(sequence);
        if (verdict == "gap") this.mustRejoin = true;
        return verdict;
    }

    /**
     * Returns the envelope with the acknowledgement that every message carries.
     * @param {Envelope} envelope
     * @returns {Envelope}
     */
    stamped(envelope) {
        this.#incoming.acknowledge();
        return this.received > 0 ? { ...envelope, ack: this.received } : envelope;
    }

    /** Returns an acknowledgement that travels alone. */
    takeAcknowledgement() {
        this.#incoming.acknowledge();
        return { message: { type: "ack", received: this.received } };
    }
}
