// @ts-check

/**
 * @template Result
 * @typedef {{ key: string | undefined, attempt: () => Result | undefined, giveUp?: () => Result | undefined,
 *     resolve: (result: Result) => void, reject: (error: unknown) => void, signal?: AbortSignal, onAbort: () => void }} Entry
 */

/**
 * Calls that wait until something is possible. Each is attempted again, in the order of their arrival, when there may
 * be room; those with the same key never overtake each other.
 */
export class WaitingLine {
    /** @type {Entry<any>[]} */
    #entries = [];

    get isEmpty() {
        return this.#entries.length == 0;
    }

    /**
     * Whether a call with this key waits.
     * @param {string} key
     */
    has(key) {
        return this.#entries.some((entry) => entry.key == key);
    }

    /**
     * Waits until `attempt` returns something, and returns that; or `aborted` when the signal is aborted before.
     * `giveUp` is attempted while another call with the same key is in front.
     * @template Result
     * @param {string | undefined} key
     * @param {() => Result | undefined} attempt
     * @param {Result} aborted
     * @param {AbortSignal} [signal]
     * @param {() => Result | undefined} [giveUp]
     * @returns {Promise<Result>}
     */
    wait(key, attempt, aborted, signal, giveUp) {
        if (signal?.aborted) return Promise.resolve(aborted);
        return new Promise((resolve, reject) => {
            const onAbort = () => {
                this.#entries = this.#entries.filter((other) => other != entry);
                resolve(aborted);
            };
            /** @type {Entry<Result>} */
            const entry = { key, attempt, giveUp, resolve, reject, signal, onAbort };
            signal?.addEventListener("abort", onAbort);
            this.#entries.push(entry);
        });
    }

    /** Attempts all calls again. */
    run() {
        if (this.isEmpty) return;
        const entries = this.#entries;
        // What an attempt adds stands behind those that were there.
        this.#entries = [];
        const stuck = new Set();
        const rest = entries.filter((entry) => {
            if (entry.signal?.aborted) return false;
            let result;
            try {
                result = stuck.has(entry.key) ? entry.giveUp?.() : entry.attempt();
            } catch (error) {
                // Of this one alone: its payload, for one, was given away meanwhile.
                entry.signal?.removeEventListener("abort", entry.onAbort);
                entry.reject(error);
                return false;
            }
            if (result === undefined) {
                if (entry.key != undefined) stuck.add(entry.key);
                return true;
            }
            entry.signal?.removeEventListener("abort", entry.onAbort);
            entry.resolve(result);
            return false;
        });
        this.#entries = rest.concat(this.#entries);
    }
}

/**
 * A queue of values for one consumer, as an async iterator. With `limit` the oldest values are dropped above it.
 * @template Value
 * @implements {AsyncIterableIterator<Value>}
 */
export class Mailbox {
    /** @type {Value[]} */
    #values = [];
    #limit;
    #onReturn;
    #isFinished = false;
    /** @type {((result: IteratorResult<Value>) => void)[]} */
    #readers = [];

    /**
     * @param {number} [limit]
     * @param {() => void} [onReturn] called once, when the consumer or the producer ends the queue
     */
    constructor(limit = Infinity, onReturn = () => {}) {
        this.#limit = limit;
        this.#onReturn = onReturn;
    }

    get count() {
        return this.#values.length;
    }

    /** @param {Value} value */
    push(value) {
        if (this.#isFinished) return;
        const reader = this.#readers.shift();
        if (reader) {
            reader({ done: false, value });
            return;
        }
        if (this.#values.length >= this.#limit) this.#values.shift();
        this.#values.push(value);
    }

    /** No more values come; those that are there can still be read. */
    finish() {
        if (this.#isFinished) return;
        this.#isFinished = true;
        this.#onReturn();
        for (const reader of this.#readers.splice(0)) reader({ done: true, value: undefined });
    }

    /** @returns {Promise<IteratorResult<Value>>} */
    next() {
        if (this.#values.length > 0) {
            return Promise.resolve({ done: false, value: /** @type {Value} */ (this.#values.shift()) });
        }
        if (this.#isFinished) return Promise.resolve({ done: true, value: undefined });
        return new Promise((resolve) => this.#readers.push(resolve));
    }

    /** @returns {Promise<IteratorResult<Value>>} */
    return() {
        this.#values = [];
        this.finish();
        return Promise.resolve({ done: true, value: undefined });
    }

    [Symbol.asyncIterator]() {
        return this;
    }
}
