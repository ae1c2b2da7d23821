//# allFunctionsCalledOnLoad
/**
 * Random values out of raw 64-bit numbers, as Swift's standard library makes them of the numbers of its generators.
 *
 * @typedef {{ next(): bigint }} RandomSource Returns 64 random bits.
 */

const mask = (1n << 64n) - 1n;

/**
 * Returns a number below `limit`, each as likely as any other (Lemire, "Fast random integer generation in an
 * interval").
 * @param {RandomSource} random
 * @param {bigint} limit
 * @returns {bigint}
 */
export function below(random, limit) {
    let product = random.next() * limit;
    if ((product & mask) < limit) {
        const threshold = ((1n << 64n) - limit) % limit;
        while ((product & mask) < threshold) product = random.next() * limit;
    }
    return product >> 64n;
}

/**
 * Returns a whole number from `low` to `high`, both included.
 * @param {RandomSource} random
 * @param {number} low
 * @param {number} high
 */
export const uniform = (random, low, high) => low + Number(below(random, BigInt(high - low) + 1n));

/**
 * Returns a duration between nothing and `limit` seconds, both included, in whole nanoseconds.
 * @param {RandomSource} random
 * @param {number} limit
 */
export function duration(random, limit) {
    const nanoseconds = Math.round(limit * 1e9);
    return nanoseconds <= 0 ? 0 : uniform(random, 0, nanoseconds) / 1e9;
}

/**
 * Returns the identifier of a new peer connection: 64 random bits in hexadecimal.
 * @param {RandomSource} random
 */
export const connectionID = (random) => random.next().toString(16).padStart(16, "0");

/** The browser's own randomness. */
export const systemRandom = {
    next() { return crypto.getRandomValues(new BigUint64Array(1))[0]; },
};
