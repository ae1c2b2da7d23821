//# allFunctionsCalledOnLoad
// @ts-check
import { decodedText, readU32, readU64, utf8, writeU32, writeU64 } from "./bytes.js";

/**
 * The frames of reliable delivery. See "Reliable delivery between members" in the wire protocol.
 *
 * @typedef {"resume" | "binary" | "text" | "part" | "ack" | "hint" | "exchange"} Kind
 * @typedef {"serverIsBack" | "leaving" | "unheard"} Hint
 * @typedef {{ session: string, peerSession: string, received: number, next: number }} ResumeFrame
 * @typedef {{ type: "resume", value: ResumeFrame } | { type: "data", kind: Kind, sequence: number, ack: number }
 *   | { type: "ack", value: number } | { type: "hint", value?: Hint }} Frame
 */

/** @type {(Kind | undefined)[]} The kinds by the first byte of a frame. */
const kinds = [undefined, "resume", "binary", "text", "part", "ack", "hint", "exchange"];
/** @type {(Hint | undefined)[]} */
const hints = [undefined, "serverIsBack", "leaving", "unheard"];

const version = 1;
export const channelProtocol = "room.delivery.v1";
export const deliveryCapability = "delivery.v1";
export const exchangeCapability = "exchange.v1";
const messageLimitPrefix = "message.max.";

/** The length of kind, sequence and ack. */
export const dataHeaderLength = 9;
export const maximumPartLength = 262_135;
export const maximumBulkMessageLength = 262_144;

/** @param {number} bytes */
export const messageLimitCapability = (bytes) => messageLimitPrefix + bytes;

/**
 * Returns the longest message in the capabilities of a member; undefined when they contain none.
 * @param {readonly string[]} capabilities
 */
export function messageLimit(capabilities) {
    const limits = capabilities.filter((capability) => capability.startsWith(messageLimitPrefix))
        .map((capability) => capability.slice(messageLimitPrefix.length))
        .filter((digits) => /^\+?[0-9]{1,16}$/.test(digits) && +digits > 0);
    return limits.length ? +limits[0] : undefined;
}

/**
 * Returns the first byte of a frame.
 * @param {Kind} kind
 */
export const kindByte = (kind) => kinds.indexOf(kind);

/**
 * Returns a whole frame.
 * @param {Hint} hint
 */
export const encodeHint = (hint) => new Uint8Array([6, hints.indexOf(hint)]);

/**
 * Returns a whole frame.
 * @param {number} received
 */
export function encodeAck(received) {
    const bytes = new Uint8Array(5);
    bytes[0] = 5;
    writeU32(bytes, 1, received);
    return bytes;
}

/**
 * Returns a whole frame.
 * @param {ResumeFrame} frame
 */
export function encodeResume(frame) {
    const session = utf8(frame.session).subarray(0, 255);
    const peerSession = utf8(frame.peerSession).subarray(0, 255);
    const bytes = new Uint8Array([
        1, version, session.length, ...session, peerSession.length, ...peerSession, ...new Uint8Array(16),
    ]);
    writeU64(bytes, bytes.length - 16, frame.received);
    writeU64(bytes, bytes.length - 8, frame.next);
    return bytes;
}

/**
 * Parses a frame's header. Undefined: not a frame of this version; the connection should be closed.
 * @param {Uint8Array} bytes
 * @returns {Frame | undefined}
 */
export function decodeFrame(bytes) {
    const kind = kinds[bytes[0]];
    const count = bytes.length;
    switch (kind) {
        case undefined: return undefined;
        case "ack": return count == 5 ? { type: "ack", value: readU32(bytes, 1) } : undefined;
        case "hint": return count == 2 ? { type: "hint", value: hints[bytes[1]] } : undefined;
        case "resume": return decodeResume(bytes);
        default:
            if (count < dataHeaderLength) return undefined;
            return { type: "data", kind, sequence: readU32(bytes, 1), ack: readU32(bytes, 5) };
    }
}

/** @param {Uint8Array} bytes @returns {Frame | undefined} */
function decodeResume(bytes) {
    if (bytes[1] != version) return undefined;
    let offset = 2;
    const text = () => {
        const start = offset + 1;
        // Behind the end it is not a number, and nor is the sum.
        offset = start + bytes[offset];
        return offset <= bytes.length ? decodedText(bytes.subarray(start, offset)) : undefined;
    };
    const session = text();
    const peerSession = text();
    if (session == undefined || peerSession == undefined || offset + 16 != bytes.length) return undefined;
    const [received, next] = [readU64(bytes, offset), readU64(bytes, offset + 8)];
    return { type: "resume", value: { session, peerSession, received, next } };
}
