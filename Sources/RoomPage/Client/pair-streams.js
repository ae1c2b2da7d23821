//# allFunctionsCalledOnLoad
// @ts-check
import { dataHeaderLength } from "./delivery-protocol.js";
import { RoomStreamError } from "./errors.js";
import { ExchangeHead } from "./exchange-message.js";
import { IncomingStreams } from "./incoming-streams.js";
import { OutgoingStreams, StreamCode, StreamLimits } from "./outgoing-streams.js";
import { Budget } from "./receive-window.js";
import { RoomIncomingStream } from "./room-streams.js";
import { Reader, Writer } from "./stream-ends.js";
import { StreamRecord } from "./stream-record.js";

/** @typedef {import("./delivery-channel.js").Channel} Channel */
/** @typedef {import("./exchange-message.js").Opening} Opening */
/** @typedef {import("./pair.js").Pair} Pair */
/** @typedef {import("./pair-types.js").Handlers} Handlers */
/** @param {(() => void)[]} waiters */
const wake = (waiters) => {
    for (const waiter of waiters.splice(0)) waiter();
};

/** The streams to and from one participant's session. */
export class PairStreams {
    #pair;
    #onOpened;
    #outgoing;
    #incoming;
    #budget = new Budget();
    /** @type {Map<number, Writer>} */
    #writers = new Map();
    /** @type {Map<number, Reader>} */
    #readers = new Map();

    /** @param {Pair} pair @param {Handlers} handlers @param {StreamRecord} [record] of the streams before */
    constructor(pair, handlers, record = new StreamRecord()) {
        this.#pair = pair;
        this.participant = pair.participant;
        this.#onOpened = handlers.stream;
        this.#outgoing = new OutgoingStreams(record.lastOutgoing);
        this.#incoming = new IncomingStreams(record.lastIncoming);
        if (record.restart) this.#pair.outbox.sendWhole(record.restart, "bulk");
    }

    /** Bytes of a chunk that is sent now. */
    get chunkLength() {
        return this.#pair.outbox.bulkFrameLength - dataHeaderLength - StreamLimits.headLength;
    }

    // Writing

    /**
     * Begins a stream. Undefined: too many are open.
     * @param {Opening} opening
     */
    open(opening) {
        const id = this.#outgoing.open(opening.length);
        if (id == undefined) return undefined;
        const writer = new Writer(id);
        this.#writers.set(id, writer);
        if (this.#pair.outbox.sendWhole(ExchangeHead.open(id, opening), "bulk") == "gone") this.#fail(id, this.#gone());
        return writer;
    }

    /**
     * Sends one chunk, if that is possible now.
     * @param {Writer} writer
     * @param {Uint8Array} bytes
     * @returns {"accepted" | "wait" | "tooLong" | "failed"}
     */
    write({ id, head }, bytes) {
        const start = this.#outgoing.begin(id, bytes.length);
        if (start != "begun") return start == "closed" ? "failed" : start;
        const outcome = this.#pair.outbox.sendExchange(head, bytes, "bulk").type;
        if (outcome == "accepted") return outcome;
        if (outcome == "gone") {
            this.#fail(id, this.#gone());
            return "failed";
        }
        this.#outgoing.undo(id, bytes.length);
        return "wait";
    }

    /**
     * All bytes were written. False: fewer than were announced, or the stream has ended.
     * @param {number} id
     */
    end(id) {
        if (!this.#outgoing.end(id)) return false;
        if (this.#pair.outbox.sendWhole(ExchangeHead.end(id), "bulk") == "gone") this.#fail(id, this.#gone());
        return true;
    }

    /**
     * Gives a stream up, unless it has ended.
     * @param {number} id
     * @param {string} code
     * @param {string} message
     */
    cancel(id, code, message) {
        if (!this.#outgoing.cancel(id)) return;
        this.#pair.outbox.sendWhole(ExchangeHead.reset(id, code, message), "bulk");
        this.#fail(id, new RoomStreamError("cancelled", message, code));
    }

    /**
     * Whether fewer bytes were written than were announced.
     * @param {number} id
     */
    isIncomplete(id) {
        return this.#outgoing.isIncomplete(id);
    }

    #gone() {
        return new RoomStreamError(
            "peer_gone", `${this.participant} is not in the room any more, or this side has left it`);
    }

    /** @param {string} code @param {string} message */
    #byPeer(code, message) {
        return new RoomStreamError(code == StreamCode.busy ? "busy" : "cancelled_by_peer", message, code);
    }

    /** @param {number} id @param {RoomStreamError} failure */
    #fail(id, failure) {
        this.#outgoing.cancel(id);
        this.#change(id, (writer) => {
            if (!writer.isFinished) writer.failure ??= failure;
        });
    }

    /**
     * Changes something about an outgoing stream.
     * @param {number} id
     * @param {(writer: Writer) => void} body
     */
    #change(id, body) {
        const writer = this.#writers.get(id);
        if (!writer) return;
        body(writer);
        if (writer.isOver) this.#writers.delete(id);
        // Before the end is known to those that wait for it.
        writer.onProgress();
        wake(writer.waiters);
    }

    /** The buffer of bulk has room again. */
    bulkHasCredit() {
        for (const writer of this.#writers.values()) wake(writer.waiters);
    }

    // Reading

    /**
     * Returns the next chunk; `consumed`: bytes of the one before. Undefined: wait. Throws when the stream has failed.
     * @param {number} id
     * @param {number} consumed
     * @returns {Uint8Array | "end" | undefined}
     */
    read(id, consumed) {
        const grant = this.#incoming.consume(id, consumed, this.#pair.now(), this.#budget);
        const reader = this.#readers.get(id);
        const chunk = reader?.take();
        if (grant && (chunk || !reader?.isEnded)) {
            this.#pair.outbox.sendWhole(ExchangeHead.window(id, grant.consumed, grant.limit), "reliable");
        }
        if (chunk) return chunk;
        if (reader && !reader.isEnded) {
            if (!reader.failure) return undefined;
            this.#readers.delete(id);
            throw reader.failure;
        }
        this.#readers.delete(id);
        if (this.#incoming.finish(id, this.#budget)) this.#pair.outbox.sendWhole(ExchangeHead.finished(id), "reliable");
        return "end";
    }

    /**
     * Returns when there is something to read.
     * @param {number} id
     * @returns {Promise<void>}
     */
    waitToRead(id) {
        const reader = this.#readers.get(id);
        if (!reader || !reader.isEmpty || reader.isEnded || reader.failure) return Promise.resolve();
        return new Promise((resolve) => reader.waiters.push(resolve));
    }

    /**
     * Wants no more of a stream, unless it has ended.
     * @param {number} id
     * @param {string} code
     * @param {string} message
     * @returns {RoomStreamError | undefined} what its reader gets; undefined when it has ended
     */
    stop(id, code, message) {
        if (!this.#incoming.stop(id, this.#budget)) return undefined;
        this.#pair.outbox.sendWhole(ExchangeHead.stop(id, code, message), "reliable");
        const failure = new RoomStreamError("cancelled", message, code);
        this.#failReader(id, failure);
        this.#readers.delete(id);
        return failure;
    }

    /**
     * Nobody reads the stream any more.
     * @param {number} id
     */
    forget(id) {
        this.#readers.delete(id);
    }

    /** @param {number} id @param {RoomStreamError} failure @param {boolean} [keepsChunks] */
    #failReader(id, failure, keepsChunks = false) {
        const reader = this.#readers.get(id);
        if (!reader) return;
        if (!keepsChunks) reader.clear();
        if (!reader.isEnded || !keepsChunks) reader.failure = failure;
        if (!keepsChunks) reader.isEnded = false;
        wake(reader.waiters);
    }

    // What comes

    /**
     * A message of a stream. False: it is malformed.
     * @param {import("./exchange-message.js").ExchangeMessageValue} message
     * @param {Uint8Array} bytes
     * @param {Channel} channel
     */
    received(message, bytes, channel) {
        const isOfSender = ["open", "data", "end", "reset", "restart"].includes(message.type);
        if (channel != (isOfSender ? "bulk" : "reliable")) return false;
        switch (message.type) {
            case "open":
                return this.#opened(message.stream, message.value);
            case "data":
                return this.#data(message.stream, bytes.subarray(message.body));
            case "end": {
                const use = this.#incoming.endReceived(message.stream, this.#budget);
                const problem = "fewer bytes came than were announced";
                if (use.type == "refused") this.#refuse(message.stream, use.code, problem);
                const reader = this.#readers.get(message.stream);
                if (use.type != "taken" || !reader) break;
                reader.isEnded = true;
                wake(reader.waiters);
                break;
            }
            case "reset":
                if (!this.#incoming.resetReceived(message.stream, this.#budget)) break;
                this.#failReader(message.stream, this.#byPeer(message.code, message.message));
                break;
            case "window": {
                const consumed = this.#outgoing.windowReceived(message.stream, message.consumed, message.limit);
                if (consumed != undefined) this.#change(message.stream, (writer) => (writer.acknowledged = consumed));
                break;
            }
            case "stop":
                if (!this.#outgoing.stopReceived(message.stream)) break;
                this.#fail(message.stream, this.#byPeer(message.code, message.message));
                break;
            case "finished": {
                const count = this.#outgoing.finishedReceived(message.stream);
                if (count == undefined) break;
                this.#change(message.stream, (writer) => {
                    writer.acknowledged = count;
                    writer.isFinished = true;
                });
                break;
            }
            case "restart":
                this.#end(
                    this.#outgoing.restartReceived(message.last),
                    this.#incoming.restartReceived(message.first, this.#budget));
                break;
            default:
                return false;
        }
        return true;
    }

    /** @param {number} id @param {Opening} opening */
    #opened(id, opening) {
        const use = this.#incoming.openReceived(id, opening.length, this.#budget);
        // Those that have failed and were not read count, too.
        const isTooMuch = !this.#onOpened || this.#readers.size >= 4 * StreamLimits.open;
        if (use.type == "refused" || (use.type == "taken" && isTooMuch)) {
            this.#incoming.stop(id, this.#budget);
            const message = `${StreamLimits.open} streams are open`;
            this.#pair.outbox.sendWhole(ExchangeHead.stop(id, StreamCode.busy, message), "reliable");
        } else if (use.type == "taken") {
            this.#readers.set(id, new Reader());
            this.#onOpened?.(new RoomIncomingStream(this, id, opening));
        }
        return use.type != "malformed";
    }

    /** @param {number} id @param {Uint8Array} body */
    #data(id, body) {
        const use = this.#incoming.dataReceived(id, body.length, this.#budget);
        if (use.type == "refused") this.#refuse(id, use.code, "more bytes came than were announced or allowed");
        const reader = this.#readers.get(id);
        if (use.type == "taken" && reader) {
            reader.push(body);
            wake(reader.waiters);
        }
        return use.type != "malformed";
    }

    /**
     * The sender has broken its word: the stream ends for both.
     * @param {number} id
     * @param {string} code
     * @param {string} message
     */
    #refuse(id, code, message) {
        this.#pair.outbox.sendWhole(ExchangeHead.stop(id, code, message), "reliable");
        this.#failReader(id, new RoomStreamError("cancelled", message, code));
    }

    /** The session of either side has ended, or is given up. Returns what is to be remembered if it comes back. */
    close() {
        const record = new StreamRecord(this.#outgoing, this.#incoming);
        this.#end(this.#outgoing.removeAll(), this.#incoming.removeAll(this.#budget));
        return record;
    }

    /** @param {number[]} outgoing @param {number[]} incoming */
    #end(outgoing, incoming) {
        for (const id of outgoing) this.#fail(id, this.#gone());
        for (const id of incoming) this.#failReader(id, this.#gone(), true);
    }
}
