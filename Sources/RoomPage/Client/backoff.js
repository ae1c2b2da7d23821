//# allFunctionsCalledOnLoad
import { duration } from "./random.js";
import { clamp, minus } from "./time.js";

/** @param {number} seconds */
const nanoseconds = (seconds) => Math.trunc(clamp(seconds * 1e9, 0, 86400e9)) / 1e9;

/**
 * When to try again: exponential backoff with full jitter, from the first retry on.
 *
 * Counts until `stabilized()`: a connection that was lost again soon goes on where the outage was.
 */
export class Backoff {
    #configuration;
    #retries = 0;
    /** @type {number | undefined} */
    #outageStart;

    /** @param {typeof import("./configuration.js").backoffConfiguration} configuration */
    constructor(configuration) {
        this.#configuration = configuration;
    }

    /**
     * Returns the delay before the next attempt; undefined when there were enough of them.
     * @param {number} now
     * @param {import("./random.js").RandomSource} random
     */
    nextDelay(now, random) {
        const { attemptLimit } = this.#configuration.reconnect;
        if (attemptLimit !== undefined && this.#retries >= attemptLimit) return undefined;
        this.#outageStart ??= now;
        const limit = Math.min(this.cap(minus(now, this.#outageStart)), this.#exponential());
        this.#retries += 1;
        return duration(random, limit);
    }

    /** The connection has held long enough: the next outage is a new one. */
    stabilized() {
        this.#retries = 0;
        this.#outageStart = undefined;
    }

    /** @param {number} age */
    cap(age) {
        const { patience, reconnect } = this.#configuration;
        if (age <= patience || patience <= 0) return reconnect.cap;
        return Math.min(reconnect.maximum, nanoseconds(reconnect.cap * (age / patience)));
    }

    #exponential() {
        const { factor, reconnect } = this.#configuration;
        let seconds = reconnect.base;
        for (let count = Math.min(this.#retries, 64); count > 0 && seconds < reconnect.maximum; count--) {
            seconds *= factor;
        }
        return nanoseconds(seconds);
    }
}
