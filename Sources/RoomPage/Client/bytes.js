//# allFunctionsCalledOnLoad
// @ts-check
/** Bytes, UTF-8 and big-endian integers. Integers of 64 bits are numbers: exact up to 2^53 - 1. */

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export const noBytes = new Uint8Array(0);

/**
 * Returns the UTF-8 bytes of a text.
 * @param {string} text
 */
export const utf8 = (text) => encoder.encode(text);

/**
 * Compares texts by their UTF-8 bytes, for `sort`. The order of their UTF-16 units is another.
 * @param {string} left
 * @param {string} right
 */
export function comparedUTF8(left, right) {
    const [bytes, others] = [utf8(left), utf8(right)];
    const index = bytes.findIndex((byte, index) => byte != others[index]);
    return index < 0 ? bytes.length - others.length : bytes[index] - (others[index] ?? -1);
}

/**
 * Returns the text of UTF-8 bytes; undefined when they are no valid UTF-8.
 * @param {Uint8Array} bytes
 * @returns {string | undefined}
 */
export function decodedText(bytes) {
    try {
        return decoder.decode(bytes);
    } catch {
        return undefined;
    }
}

/** The buffer of `borrowedBytes`: texts up to a third of its length are encoded without an allocation. */
const scratch = new Uint8Array(49_152);

/**
 * Returns the bytes of a payload, without a copy. Those of a text may be valid only until the next call.
 * @param {string | ArrayBuffer | ArrayBufferView} payload
 * @returns {Uint8Array}
 */
export function borrowedBytes(payload) {
    if (typeof payload == "string") {
        if (payload.length * 3 > scratch.length) return utf8(payload);
        return scratch.subarray(0, encoder.encodeInto(payload, scratch).written);
    }
    if (payload instanceof Uint8Array) return payload;
    if (ArrayBuffer.isView(payload)) return new Uint8Array(payload.buffer, payload.byteOffset, payload.byteLength);
    if (Object.prototype.toString.call(payload) != "[object ArrayBuffer]") {
        throw new TypeError("a message is a string, an ArrayBuffer, or a view of one");
    }
    return new Uint8Array(payload);
}

/**
 * @param {Uint8Array} bytes
 * @param {Uint8Array} others
 */
export function hasSameBytes(bytes, others) {
    if (bytes.length != others.length) return false;
    for (let index = 0; index < bytes.length; index += 1) if (bytes[index] != others[index]) return false;
    return true;
}

/** @param {Uint8Array} bytes @param {number} offset */
export const readU32 = (bytes, offset) =>
    ((bytes[offset] << 24) | (bytes[offset + 1] << 16) | (bytes[offset + 2] << 8) | bytes[offset + 3]) >>> 0;

/**
 * Above 2^53 the nearest number.
 * @param {Uint8Array} bytes
 * @param {number} offset
 */
export const readU64 = (bytes, offset) => readU32(bytes, offset) * 4_294_967_296 + readU32(bytes, offset + 4);

/**
 * Writes the lower 32 bits.
 * @param {Uint8Array} bytes
 * @param {number} offset
 * @param {number} value
 */
export function writeU32(bytes, offset, value) {
    bytes[offset] = value >>> 24;
    bytes[offset + 1] = value >>> 16;
    bytes[offset + 2] = value >>> 8;
    bytes[offset + 3] = value;
}

/** @param {Uint8Array} bytes @param {number} offset @param {number} value */
export function writeU64(bytes, offset, value) {
    writeU32(bytes, offset, Math.floor(value / 4_294_967_296));
    writeU32(bytes, offset + 4, value >>> 0);
}
