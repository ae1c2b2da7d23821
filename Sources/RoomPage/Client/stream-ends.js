//# allFunctionsCalledOnLoad
// @ts-check
import { whenAborted } from "./abort-signal.js";
import { noBytes } from "./bytes.js";
import { ExchangeHead } from "./exchange-message.js";

/** @typedef {import("./errors.js").RoomStreamError} RoomStreamError */

/** The state of a stream that this side sends, between two calls. */
export class Writer {
    /** Bytes that the receiver has consumed. */
    acknowledged = 0;
    isFinished = false;
    /** @type {RoomStreamError | undefined} */
    failure;
    /**
     * For the window, for credit, or for the end.
     * @type {(() => void)[]}
     */
    waiters = [];
    onProgress = () => {};

    /** @param {number} id */
    constructor(id) {
        this.id = id;
        /** In front of each chunk. */
        this.head = ExchangeHead.data(id);
    }

    get isOver() {
        return this.isFinished || this.failure != undefined;
    }

    /**
     * Returns when another attempt to write makes sense, the stream has ended, or the signal is aborted.
     * @param {AbortSignal} [signal]
     * @returns {Promise<void>}
     */
    wait(signal) {
        if (this.isOver || signal?.aborted) return Promise.resolve();
        return new Promise((resolve) => {
            const done = () => {
                forget();
                resolve();
            };
            const forget = whenAborted(signal, done);
            this.waiters.push(done);
        });
    }
}

/** Chunks that are shorter are collected in memory of the second size: each costs more than its bytes. */
const shortChunk = 1024;
const collectedLength = 8192;

/** The chunks of a stream that have come and were not taken. */
export class Reader {
    /** @type {Uint8Array[]} */
    #chunks = [];
    /** The memory that the last chunk has a part of, if it can grow. */
    #memory = noBytes;
    isEnded = false;
    /** @type {RoomStreamError | undefined} */
    failure;
    /** @type {(() => void)[]} */
    waiters = [];

    get isEmpty() {
        return this.#chunks.length == 0;
    }

    /** @param {Uint8Array} bytes */
    push(bytes) {
        if (bytes.length == 0) return;
        if (bytes.length >= shortChunk) {
            this.#chunks.push(bytes);
            this.#memory = noBytes;
            return;
        }
        let used = this.#memory.length > 0 ? this.#chunks[this.#chunks.length - 1].length : 0;
        if (used + bytes.length > this.#memory.length) {
            this.#memory = new Uint8Array(collectedLength);
            used = 0;
            this.#chunks.push(noBytes);
        }
        this.#memory.set(bytes, used);
        this.#chunks[this.#chunks.length - 1] = this.#memory.subarray(0, used + bytes.length);
    }

    take() {
        const chunk = this.#chunks.shift();
        if (this.isEmpty) this.#memory = noBytes;
        return chunk;
    }

    clear() {
        this.#chunks = [];
        this.#memory = noBytes;
    }
}
