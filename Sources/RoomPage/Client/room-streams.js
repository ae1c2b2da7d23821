//# allFunctionsCalledOnLoad
// @ts-check
import { borrowedBytes, utf8 } from "./bytes.js";
import { RoomError, RoomStreamError } from "./errors.js";
import { ExchangeLimits } from "./exchange-message.js";
import { StreamCode, StreamLimits } from "./outgoing-streams.js";
import { Mailbox } from "./waiting.js";

/** @typedef {import("./exchange-message.js").Opening} Opening */
/** @typedef {import("./pair.js").Pair} Pair */
/** @typedef {import("./pair-streams.js").PairStreams} PairStreams */
/** @typedef {import("./room.js").Sendable} Sendable */
/** @typedef {{ streams: PairStreams, writer: import("./stream-ends.js").Writer }} Leg */

/** @param {string} text @param {number} limit */
const isLengthWrong = (text, limit) => text == "" || utf8(text).length > limit;

/**
 * Opens a stream of bytes to several participants. Throws a `RoomError`: `not_supported`, `would_block` when 64 streams
 * to one are open, and `configuration` for a name, a length or metadata over the limits.
 * @param {Pair[]} pairs
 * @param {string} name
 * @param {{ length?: number, metadata?: Record<string, string> }} options
 */
export function openStream(pairs, name, { length, metadata = {} } = {}) {
    if (isLengthWrong(name, ExchangeLimits.streamName)) {
        throw new RoomError("configuration", `a stream's name has 1 to ${ExchangeLimits.streamName} bytes`);
    }
    if (length != undefined && !(Number.isSafeInteger(length) && length >= 0)) {
        throw new RoomError("configuration", `a stream's length is a whole number of bytes, not ${length}`);
    }
    const entries = Object.entries(metadata);
    const count = entries.reduce((sum, [key, value]) => sum + utf8(key).length + utf8(value).length, 0);
    const { metadataEntries, metadataBytes, metadataKey } = ExchangeLimits;
    if (entries.length > metadataEntries || count > metadataBytes
        || entries.some(([key]) => isLengthWrong(key, metadataKey))) {
        throw new RoomError("configuration", `a stream's metadata has at most ${metadataEntries} entries with keys of `
            + `1 to ${metadataKey} bytes and ${metadataBytes} bytes in all`);
    }
    /** @type {Leg[]} */
    const legs = [];
    for (const { byteStreams: streams, participant } of pairs) {
        const writer = streams?.open({ name, length, metadata });
        if (streams && writer) {
            legs.push({ streams, writer });
            continue;
        }
        for (const leg of legs) leg.streams.cancel(leg.writer.id, StreamCode.cancelled, "the stream was not opened");
        if (!streams) throw new RoomError("not_supported", `the program of ${participant} has no streams`);
        throw new RoomError(
            "would_block", `${StreamLimits.open} streams to ${participant} are open`, { isRetryable: true });
    }
    return new RoomOutgoingStream(name, length, legs);
}

/**
 * A stream of bytes from this participant to one or several others. The bytes arrive in order and exactly once, across
 * path changes, rebuilt peer connections and rejoins. It ends with `finish` or `cancel`. Messages overtake its bytes.
 */
export class RoomOutgoingStream {
    #legs;
    #acknowledged = 0;
    /** @type {Mailbox<number>} */
    #progress = new Mailbox(1);
    /** Writes follow each other. */
    #last = Promise.resolve();

    /** @param {string} name @param {number | undefined} length @param {Leg[]} legs */
    constructor(name, length, legs) {
        this.name = name;
        this.length = length;
        this.#legs = legs;
        for (const { writer } of legs) writer.onProgress = () => this.#progressed();
    }

    /** The participants that were to receive the stream and do not, with the reasons. */
    get failures() {
        /** @type {Map<string, RoomStreamError>} */
        const failures = new Map();
        for (const { streams, writer } of this.#legs) {
            if (writer.failure) failures.set(streams.participant, writer.failure);
        }
        return failures;
    }

    get #living() {
        return this.#legs.filter(({ writer }) => !writer.failure);
    }

    get #failure() {
        const [failure] = this.failures.values();
        return failure ?? new RoomStreamError("peer_gone", `nobody receives '${this.name}'`);
    }

    /**
     * Writes bytes: returns when they are in the bounded buffers of all receivers. They must not change before that.
     * Waits while a receiver is slower than the writer.
     *
     * A receiver that fails is named in `failures`, and the others go on. Throws a `RoomStreamError`: when the last
     * failed, `length_exceeded`, or `task_cancelled`, when some of the bytes may have been accepted.
     * @param {Sendable} payload
     * @param {{ signal?: AbortSignal }} options
     * @returns {Promise<void>}
     */
    write(payload, { signal } = {}) {
        const bytes = typeof payload == "string" ? utf8(payload) : borrowedBytes(payload);
        const result = this.#last.then(() => this.#write(bytes, signal));
        this.#last = result.catch(() => {});
        return result;
    }

    /** @param {Uint8Array} bytes @param {AbortSignal} [signal] */
    async #write(bytes, signal) {
        let offset = 0;
        while (offset < bytes.length) {
            const legs = this.#living;
            if (legs.length == 0) throw this.#failure;
            const length = Math.max(Math.min(...legs.map((leg) => leg.streams.chunkLength)), 1);
            const part = bytes.subarray(offset, offset + length);
            for (const { streams, writer } of legs) {
                for (let result; (result = streams.write(writer, part)) != "accepted";) {
                    if (result == "failed" && writer.failure) break;
                    if (result == "failed") throw new RoomStreamError("cancelled", `'${this.name}' has ended`);
                    if (result == "tooLong") {
                        throw new RoomStreamError(
                            "length_exceeded", `'${this.name}' was announced with ${this.length} bytes`);
                    }
                    await writer.wait(signal);
                    if (signal?.aborted) throw this.#aborted();
                }
            }
            offset += length;
        }
        if (this.#living.length == 0) throw this.#failure;
    }

    #aborted() {
        return new RoomStreamError("task_cancelled", "the call was cancelled while it waited");
    }

    /**
     * Ends the stream: returns when every receiver has consumed all bytes and the end.
     *
     * Throws the failure of a single receiver; of several only when all have failed. `incomplete` when fewer bytes were
     * written than were announced: the stream is then cancelled. `task_cancelled`: it goes on.
     * @param {{ signal?: AbortSignal }} options
     */
    async finish({ signal } = {}) {
        await this.#last;
        for (const { streams, writer: { id } } of this.#living) {
            if (streams.end(id) || !streams.isIncomplete(id)) continue;
            const message = `fewer bytes were written to '${this.name}' than were announced`;
            this.cancel(message, StreamCode.incomplete);
            throw new RoomStreamError("incomplete", message);
        }
        for (const { writer } of this.#legs) {
            while (!writer.isOver) {
                await writer.wait(signal);
                if (signal?.aborted && !writer.isOver) throw this.#aborted();
            }
        }
        this.#progress.finish();
        if (!this.#legs.some(({ writer }) => writer.isFinished)) throw this.#failure;
    }

    /**
     * Gives the stream up: the receivers get an error with this reason, and what they have not read is dropped. Does
     * nothing after the end.
     * @param {string} [reason]
     * @param {string} [code] for programs, at most 64 bytes
     */
    cancel(reason = "", code = StreamCode.cancelled) {
        for (const { streams, writer } of this.#legs) streams.cancel(writer.id, code, reason);
        this.#progress.finish();
    }

    /** Bytes that every receiver that is left has consumed. It grows in steps of some dozens of kilobytes. */
    get acknowledgedCount() {
        const living = this.#living;
        const counts = (living.length > 0 ? living : this.#legs).map(({ writer }) => writer.acknowledged);
        return counts.length > 0 ? Math.min(...counts) : 0;
    }

    /**
     * The numbers of consumed bytes as they grow, the latest for a slow reader; for one consumer. Ends with the stream.
     */
    get progress() {
        return this.#progress;
    }

    #progressed() {
        const count = this.acknowledgedCount;
        if (count > this.#acknowledged) this.#progress.push((this.#acknowledged = count));
        if (this.#legs.every(({ writer }) => writer.isOver)) this.#progress.finish();
    }
}

/** Stops streams that the application has dropped without reading them to their end. */
const dropped = new /** @type {any} */ (globalThis).FinalizationRegistry(
    /** @param {{ streams: PairStreams, id: number }} stream */
    ({ streams, id }) => {
        streams.stop(id, StreamCode.cancelled, "the receiver has dropped the stream");
        streams.forget(id);
    });

/**
 * A stream of bytes from another participant: a sequence of chunks, for one consumer.
 *
 * A chunk counts as consumed, for the sender's progress and for back-pressure, when the next one is asked for. The
 * sequence ends when the sender has finished, and throws a `RoomStreamError` when it has given up or is gone. A
 * consumer
 * that stops reading before the end stops the stream.
 * @implements {AsyncIterableIterator<Uint8Array>}
 */
export class RoomIncomingStream {
    #streams;
    #id;
    /** Of the last chunk. */
    #count = 0;
    #isOver = false;
    /** @type {RoomStreamError | undefined} Of a stream that this side has stopped. */
    #failure;

    /** @param {PairStreams} streams @param {number} id @param {Opening} opening */
    constructor(streams, id, { name, length, metadata }) {
        this.#streams = streams;
        this.#id = id;
        this.from = streams.participant;
        /** The name that the sender has given: text of somebody else. */
        this.name = name;
        /** The number of bytes that the sender has announced. More never come. */
        this.length = length;
        this.metadata = metadata;
        dropped.register(this, { streams, id });
    }

    /**
     * Wants no more of the stream: the sender gets an error with this reason. Does nothing after the end.
     * @param {string} [reason]
     * @param {string} [code] for programs, at most 64 bytes
     */
    cancel(reason = "", code = StreamCode.cancelled) {
        this.#failure ??= this.#streams.stop(this.#id, code, reason);
    }

    /** @returns {Promise<IteratorResult<Uint8Array>>} */
    async next() {
        while (!this.#isOver) {
            const count = this.#count;
            this.#count = 0;
            // It is over when it throws, too.
            this.#isOver = true;
            if (this.#failure) throw this.#failure;
            const value = this.#streams.read(this.#id, count);
            this.#isOver = value === "end";
            if (value instanceof Uint8Array) {
                this.#count = value.length;
                return { done: false, value };
            }
            if (!this.#isOver) await this.#streams.waitToRead(this.#id);
        }
        return { done: true, value: undefined };
    }

    /** @returns {Promise<IteratorResult<Uint8Array>>} */
    async return() {
        this.#isOver = true;
        this.cancel("the receiver reads no more");
        this.#streams.forget(this.#id);
        return { done: true, value: undefined };
    }

    [Symbol.asyncIterator]() {
        return this;
    }
}
