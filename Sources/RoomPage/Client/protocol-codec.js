//# allFunctionsCalledOnLoad
import {
    array, boolean, duration, freeText, identifier, integer, isObject, line, metadata, object, optional, protocolError,
    string, token, upTo, wrong,
} from "./protocol-fields.js";
import { utf8Length } from "./values.js";
/**
 * The JSON form of the messages: one object per WebSocket text message, distinguished by `type`.
 * @typedef {import("./values.js").Case} Case
 * @typedef {import("./values.js").ProtocolError} ProtocolError
 * @typedef {import("./protocol-fields.js").Reader} Reader
 * @typedef {import("./signaling-streams.js").Envelope} Envelope
 */

// MARK: - Encoding

/** @param {any} signal */
function encodeSignal({ peer, session, connection, negotiation, body }) {
    const { type, value, ...rest } = body;
    const content = type == "description" ? { type: value.kind, sdp: value.text }
        : type == "candidate" ? {
            candidate: value.text, sdpMid: value.mediaID, sdpMLineIndex: value.mediaLineIndex,
            usernameFragment: value.usernameFragment,
        } : rest;
    return { peer, session, connection, negotiation, [type]: content };
}

/** @param {any} hello */
function encodeHello({ waitsForRoom, resume, ...hello }) {
    return {
        ...hello, wait: waitsForRoom || undefined,
        resume: resume && { ...resume, attempt: resume.attempt || undefined },
    };
}

/**
 * Returns the text of a client's message.
 * @param {Envelope} envelope
 */
export function encodeClientMessage({ sequence, ack, message }) {
    const { type, value, ...rest } = message;
    const fields = type == "hello" ? encodeHello(value) : type == "signal" ? encodeSignal(value)
        : type == "kick" ? { participant: value, ...rest }
            : type == "updateRoom" ? { attributes: value.values, attributesVersion: value.version } : rest;
    return JSON.stringify({ type, ...fields, seq: sequence, ack });
}

// MARK: - Decoding

const participant = object({
    id: identifier, session: identifier, epoch: integer, name: string(128, line),
    isHost: [optional(boolean, false), "host"], metadata,
    capabilities: optional(array(16, string(64, token)), []),
});

const iceServers = object({
    servers: array(16, object({
        urls: optional(array(8, string(512, token)), []), username: optional(string(512, line, 0)),
        credential: optional(string(512, line, 0)),
    })),
    ttl: optional(duration),
});

/** @type {Reader} */
const attributes = (value, path, { attributesVersion }) => ({
    version: integer(attributesVersion ?? 0, "attributesVersion"), values: metadata(value, path),
});

const window = object({ lowerBound: [duration, "earliest"], upperBound: [duration, "latest"] });

/** @type {Reader} */
const retryAfter = (value, path) => {
    const { lowerBound, upperBound } = window(value, path);
    if (lowerBound > upperBound) throw wrong(path);
    return { lowerBound, upperBound };
};

/** @type {Reader} */
const version = (value, path) => {
    if (integer(value, path) == 1) return value;
    throw protocolError(
        "version_mismatch", `This side speaks version 1 of the room protocol, the other side ${value}.`, true);
};

const sessionToken = string(2048, token);

const joined = object({
    version, participant: identifier, session: identifier, epoch: integer, isHost: [boolean, "host"],
    hostTerm: integer, isResumed: [boolean, "resumed"], received: optional(integer, 0), sent: optional(integer),
    sessionToken, roster: array(64, participant),
    // Without attributes, their version says nothing.
    attributes: (value, path, members) =>
        value === undefined ? { version: 0, values: {} } : attributes(value, path, members),
    iceServers, pingInterval: duration, pingDeadline: duration, grace: duration,
});

/** @type {Reader} */
const kind = (value, path) => {
    if (value === "offer" || value === "answer") return value;
    throw wrong(path);
};
const usernameFragment = string(256, token, 0);
const request = object({ reason: freeText(256) });

/** @type {Record<string, Reader>} */
const bodies = {
    description: inValue(object({ kind: [kind, "type"], text: [string(65536), "sdp"] })),
    candidate: inValue(object({
        text: [string(2048, line, 0), "candidate"], mediaID: [optional(string(64, line, 0)), "sdpMid"],
        mediaLineIndex: [optional(upTo(integer, 65535)), "sdpMLineIndex"],
        usernameFragment: optional(usernameFragment),
    })),
    endOfCandidates: object({ usernameFragment }),
    restartRequest: request,
    rebuildRequest: request,
};

const signalHead = object({
    peer: identifier, session: identifier, connection: identifier, negotiation: integer,
});

/** @type {Reader} */
const signal = (members, path) => {
    const head = signalHead(members, path);
    const [type, ...others] = Object.keys(bodies).filter((kind) => (members[kind] ?? undefined) !== undefined);
    if (others.length) throw protocolError("malformed", "The signal has more than one body.");
    if (!type) throw protocolError("unknown_type", "The signal has no body of a kind that is known.");
    return { ...head, body: { type, ...bodies[type](members[type], type) } };
};

const leaveReasons = new Map([
    ["left", "left"], ["timed_out", "timedOut"], ["kicked", "kicked"], ["room_closed", "roomClosed"],
]);

/** @type {Reader} */
const leaveReason = (value, path) => {
    const reason = leaveReasons.get(value);
    if (reason) return reason;
    throw wrong(path);
};

/**
 * A reader of what is the only value of a case.
 * @param {Reader} read
 * @returns {Reader}
 */
function inValue(read) { return (members, path) => ({ value: read(members, path) }); }

const change = object({ value: [participant, "participant"] });
const pulse = object({ id: integer });

/** @type {Map<string, Reader>} */
const messages = new Map(Object.entries({
    joined: inValue(joined),
    peerJoined: change,
    peerChanged: change,
    peerLeft: object({ value0: [identifier, "participant"], value1: [identifier, "session"], reason: leaveReason }),
    hostChanged: object({ value: [identifier, "participant"], term: [integer, "hostTerm"], sessionToken }),
    waiting: object({ pingInterval: duration, pingDeadline: duration }),
    roomChanged: object({ value: [attributes, "attributes"] }),
    signal: inValue(signal),
    iceServers: inValue(iceServers),
    ack: object({ received: integer }),
    ping: pulse,
    pong: pulse,
    goingAway: object({ retryAfter }),
    error: inValue(object({
        code: string(64, token), message: freeText(512), isRetryable: [optional(boolean, false), "retryable"],
        isFatal: [optional(boolean, false), "fatal"], retryAfter: optional(retryAfter),
        sequence: [optional(integer), "inReplyTo"], replacedBy: optional(string(64, token, 0)),
    })),
}));

/**
 * Parses a server's message. Throws a `ProtocolError`: `malformed`, `limit_exceeded`, `unknown_type`,
 * `version_mismatch`; when the envelope could be read, with the message's number.
 * @param {string} json
 * @returns {Envelope}
 */
export function decodeServerMessage(json) {
    if (utf8Length(json) > 1 << 20) {
        throw protocolError("limit_exceeded", "The message is over its limit of 1048576 bytes.", true);
    }
    let members;
    try {
        members = JSON.parse(json);
    } catch {
        // It is no object.
    }
    if (!isObject(members)) throw protocolError("malformed", "The message is not a JSON object.", true);
    let sequence;
    try {
        const { seq, ack } = members;
        sequence = optional(integer)(seq ?? undefined, "seq");
        if (sequence === 0) throw wrong("seq");
        const type = string(64, token)(members.type, "type");
        const read = messages.get(type);
        if (!read) throw protocolError("unknown_type", `This client does not know messages of the type ${type}.`);
        return { sequence, ack: optional(integer)(ack ?? undefined, "ack"), message: { type, ...read(members, "") } };
    } catch (error) {
        if (error instanceof Error) throw error;
        const refusal = /** @type {ProtocolError} */ (error);
        throw { ...refusal, sequence, isFatal: refusal.isFatal || refusal.code == "malformed" };
    }
}
