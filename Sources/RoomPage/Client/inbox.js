//# allFunctionsCalledOnLoad
import { sequence } from "./waiting.js";
/** @typedef {import("./room.js").RoomMessage} RoomMessage */

/** Bytes that an empty message costs. */
const overhead = 64;

/**
 * The messages of one channel that wait for the application, for one consumer.
 *
 * `append` never waits. Its result says whether the high-water mark is reached; `onDrained` is called when a full one
 * has been read.
 */
export class Inbox {
    /** @type {RoomMessage[]} */
    #messages = [];
    #weight = 0;
    #isFinished = false;
    /** @type {(() => void)[]} */
    #waiters = [];
    #limit;
    #onDrained;

    /**
     * @param {number} limit
     * @param {() => void} onDrained
     */
    constructor(limit, onDrained) {
        this.#limit = limit;
        this.#onDrained = onDrained;
    }

    get isFull() { return this.#weight >= this.#limit; }

    /**
     * Adds a message, also above the limit. True while there is room for more.
     * @param {RoomMessage} message
     */
    append(message) {
        if (this.#isFinished) return true;
        this.#messages.push(message);
        this.#weight += message.payload.length + overhead;
        this.#wake();
        return !this.isFull;
    }

    /**
     * Returns everything that is there, without waiting.
     * @param {() => void} onDrained
     */
    takeNow(onDrained = this.#onDrained) {
        const batch = this.#messages;
        const wasFull = this.isFull;
        this.#messages = [];
        this.#weight = 0;
        if (wasFull) onDrained();
        return batch;
    }

    /** No more messages come; those that are there can still be read. */
    finish() {
        this.#isFinished = true;
        this.#wake();
    }

    #wake() { for (const wake of this.#waiters.splice(0)) wake(); }

    batches() { return this.#sequence(() => (this.#messages.length ? this.takeNow() : undefined)); }

    messages() { return this.#sequence(() => this.#takeOne()); }

    /**
     * @template Value
     * @param {() => Value | undefined} take
     */
    #sequence(take) { return sequence(take, () => this.#isFinished, (wake) => this.#waiters.push(wake)); }

    #takeOne() {
        const message = this.#messages.shift();
        if (!message) return undefined;
        const wasFull = this.isFull;
        this.#weight -= message.payload.length + overhead;
        if (wasFull && !this.isFull) this.#onDrained();
        return message;
    }
}
