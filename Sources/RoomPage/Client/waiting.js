//# allFunctionsCalledOnLoad
// @ts-check
import { whenAborted } from "./abort-signal.js";

/**
 * @template Result
 * @typedef {{ key: string | undefined, attempt: () => Result | undefined, giveUp?: () => Result | undefined,
 *     resolve: (result: Result) => void, reject: (error: unknown) => void, signal?: AbortSignal,
 *     forget: () => void }} Entry `forget`: the signal.
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
            const forget = whenAborted(signal, () => {
                this.#entries = this.#entries.filter((other) => other != entry);
                resolve(aborted);
            });
            /** @type {Entry<Result>} */
            const entry = { key, attempt, giveUp, resolve, reject, signal, forget };
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
                entry.forget();
                entry.reject(error);
                return false;
            }
            if (result === undefined) {
                if (entry.key != undefined) stuck.add(entry.key);
                return true;
            }
            entry.forget();
            entry.resolve(result);
            return false;
        });
        this.#entries = rest.concat(this.#entries);
    }
}

/**
 * Returns an iterator over what `take` returns, while that is not undefined or `isOver`. `wait` calls back when there
 * may be more. Its consumer can stop at any time, also while it waits: what comes then is left to the next one.
 * @template Value
 * @param {() => Value | undefined} take
 * @param {() => boolean} isOver
 * @param {(wake: () => void) => void} wait
 * @returns {AsyncIterableIterator<Value>}
 */
export function sequence(take, isOver, wait) {
    let hasStopped = false;
    /** @type {Set<() => void>} */
    const waiting = new Set();
    return {
        async next() {
            while (!hasStopped) {
                const value = take();
                if (value !== undefined) return { done: false, value };
                if (isOver()) break;
                await new Promise((resolve) => {
                    const wake = () => {
                        waiting.delete(wake);
                        resolve(undefined);
                    };
                    waiting.add(wake);
                    wait(wake);
                });
            }
            return { done: true, value: undefined };
        },
        async return() {
            hasStopped = true;
            for (const wake of waiting) wake();
            return { done: true, value: undefined };
        },
        [Symbol.asyncIterator]() {
            return this;
        },
    };
}

/**
 * A queue of values, as an async iterator for one consumer. With `limit` the oldest values are dropped above it.
 * @template Value
 * @implements {AsyncIterableIterator<Value>}
 */
export class Mailbox {
    /** @type {Value[]} */
    values = [];
    #limit;
    #isFinished = false;
    /** @type {(() => void)[]} */
    #readers = [];

    /** @param {number} [limit] */
    constructor(limit = Infinity) {
        this.#limit = limit;
    }

    get count() {
        return this.values.length;
    }

    /** @param {Value} value */
    push(value) {
        if (this.#isFinished) return;
        this.keep(value);
        for (const wake of this.#readers.splice(0)) wake();
    }

    /**
     * Puts a value behind the others.
     * @param {Value} value
     */
    keep(value) {
        if (this.values.length >= this.#limit) this.values.shift();
        this.values.push(value);
    }

    /**
     * Takes the oldest value.
     * @returns {Value | undefined}
     */
    take() {
        return this.values.shift();
    }

    /** No more values come; those that are there can still be read. */
    finish() {
        this.#isFinished = true;
        for (const wake of this.#readers.splice(0)) wake();
    }

    /** Another iterator over the values: one that stops leaves them to the next one. */
    sequence() {
        return sequence(() => this.take(), () => this.#isFinished, (wake) => this.#readers.push(wake));
    }

    #own = this.sequence();

    /** @returns {Promise<IteratorResult<Value>>} */
    next() {
        return this.#own.next();
    }

    /** The consumer ends the queue. */
    return() {
        this.values = [];
        this.finish();
        return Promise.resolve({ done: /** @type {const} */ (true), value: undefined });
    }

    [Symbol.asyncIterator]() {
        return this;
    }
}
