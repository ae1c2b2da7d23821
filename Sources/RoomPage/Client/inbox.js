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
    /** @type {((batch: RoomMessage[]) => void) | undefined} */
    #waiter;
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
        const waiter = this.#waiter;
        if (waiter) {
            this.#waiter = undefined;
            waiter([message]);
            return true;
        }
        this.#messages.push(message);
        this.#weight += message.payload.length + overhead;
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

    /**
     * Returns all messages; waits while there are none. Empty at the end.
     * @returns {Promise<RoomMessage[]>}
     */
    take() {
        if (this.#messages.length || this.#isFinished) return Promise.resolve(this.takeNow());
        return new Promise((resolve) => {
            this.#waiter?.([]);
            this.#waiter = resolve;
        });
    }

    /** No more messages come; those that are there can still be read. */
    finish() {
        this.#isFinished = true;
        this.#waiter?.([]);
        this.#waiter = undefined;
    }

    /** @returns {AsyncIterableIterator<RoomMessage[]>} */
    async *batches() {
        for (let batch = await this.take(); batch.length; batch = await this.take()) yield batch;
    }

    /** @returns {AsyncIterableIterator<RoomMessage>} */
    async *messages() {
        for (let message = await this.#next(); message; message = await this.#next()) yield message;
    }

    /** Returns the next message; one that waits keeps its place when the consumer stops. */
    async #next() {
        if (!this.#messages.length && !this.#isFinished) {
            const batch = await this.take();
            if (batch.length) return batch[0];
        }
        const message = this.#messages.shift();
        if (!message) return undefined;
        const wasFull = this.isFull;
        this.#weight -= message.payload.length + overhead;
        if (wasFull && !this.isFull) this.#onDrained();
        return message;
    }
}
