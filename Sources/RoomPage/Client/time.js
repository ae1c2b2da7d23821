//# allFunctionsCalledOnLoad
/**
 * Arithmetic on times. Timestamps and durations are seconds; sums and differences are rounded to whole nanoseconds, so
 * that they equal those of a clock that counts nanoseconds.
 */

/** @param {number} seconds */
const rounded = (seconds) => Math.round(seconds * 1e9) / 1e9;

/**
 * Returns a timestamp and a duration, or two durations, together.
 * @param {number} time
 * @param {number} duration
 */
export const plus = (time, duration) => rounded(time + duration);

/**
 * Returns the time from `right` to `left`, or the time that is `right` before `left`.
 * @param {number} left
 * @param {number} right
 */
export const minus = (left, right) => rounded(left - right);

/**
 * Returns the value, or the nearest bound.
 * @param {number} value
 * @param {number} least
 * @param {number} most
 */
export const clamp = (value, least, most) => Math.min(Math.max(value, least), most);
