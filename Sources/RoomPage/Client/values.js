//# allFunctionsCalledOnLoad
/**
 * What all machines need of values: the shape of enum cases, equality, and the failures of signaling.
 *
 * @typedef {{ type: string, [label: string]: any }} Case A case of a Swift enum with its associated values.
 * @typedef {import("./room.js").SignalingFailure} SignalingFailure
 * @typedef {{
 *     code: string, message: string, isRetryable: boolean, isFatal: boolean,
 *     retryAfter?: { lowerBound: number, upperBound: number }, sequence?: number, replacedBy?: string,
 * }} ProtocolError A refusal by the server, and whether a retry makes sense.
 */

/**
 * Returns whether two plain values are the same. An absent property equals one that is undefined.
 * @param {any} left
 * @param {any} right
 * @returns {boolean}
 */
export function equal(left, right) {
    if (left === right) return true;
    if (typeof left != "object" || typeof right != "object" || !left || !right) return false;
    return Object.keys({ ...left, ...right }).every((key) => equal(left[key], right[key]));
}

/**
 * Returns the keys that are new, have another value, or are gone, in order.
 * @param {Record<string, string>} values
 * @param {Record<string, string>} former
 */
export const keysChanged = (values, former) =>
    Object.keys({ ...former, ...values }).filter((key) => values[key] !== former[key]).sort();

const encoder = new TextEncoder();

/**
 * Returns the number of bytes of a text in UTF-8.
 * @param {string} text
 */
export const utf8Length = (text) => encoder.encode(text).length;

/**
 * Whether this is the name of a topic or a method.
 * @param {any} name
 */
export const isValidName = (name) => typeof name == "string" && name.length > 0 && utf8Length(name) <= 64;

/**
 * Creates a failure of a signaling connection or attempt.
 * @param {string} description
 * @param {Partial<SignalingFailure>} [details]
 * @returns {SignalingFailure}
 */
export const signalingFailure = (description, details) =>
    ({ description, isRetryable: true, cause: "connectionLost", ...details });

/**
 * Returns a refusal as a failure.
 * @param {ProtocolError} error
 */
export const refusalFailure = ({ message, isRetryable, retryAfter, code }) =>
    signalingFailure(message, { isRetryable, retryAfter, code, cause: "refused" });
