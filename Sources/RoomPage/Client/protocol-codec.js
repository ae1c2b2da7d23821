//# allFunctionsCalledOnLoad
import { Fields, isObject, line, protocolError, text, token } from "./protocol-fields.js";
import { utf8Length } from "./values.js";
/**
 * The JSON form of the messages: one object per WebSocket text message, distinguished by `type`.
 * @typedef {import("./values.js").Case} Case
 * @typedef {import("./values.js").ProtocolError} ProtocolError
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

/** @param {Fields} fields */
const participant = (fields) => ({
    id: fields.identifier("id"), session: fields.identifier("session"), epoch: fields.integer("epoch"),
    name: fields.string("name", 128, line, 1), isHost: fields.boolean("host", false), metadata: fields.metadata(),
    capabilities: fields.strings("capabilities", 16, 64),
});

/** @param {Fields} fields */
const iceServers = (fields) => ({
    servers: fields.objects("servers", 16, (entry) => ({
        urls: entry.strings("urls", 8, 512), username: entry.optionalString("username", 512, line),
        credential: entry.optionalString("credential", 512, line),
    })),
    ttl: fields.optionalDuration("ttl"),
});

/** @param {Fields} fields */
const attributes = (fields) =>
    ({ version: fields.optionalInteger("attributesVersion") ?? 0, values: fields.metadata("attributes") });

/**
 * Without attributes, their version says nothing.
 * @param {Fields} fields
 */
const joinedAttributes = (fields) =>
    fields.optionalObject("attributes") ? attributes(fields) : { version: 0, values: {} };

/** @param {Fields} fields */
function retryWindow(fields) {
    const [lowerBound, upperBound] = [fields.duration("earliest"), fields.duration("latest")];
    if (lowerBound > upperBound) throw fields.wrong("earliest", "is after latest");
    return { lowerBound, upperBound };
}

/** @param {Fields} fields */
function joined(fields) {
    const version = fields.integer("version");
    if (version != 1) throw versionMismatch(version);
    return {
        version, participant: fields.identifier("participant"), session: fields.identifier("session"),
        epoch: fields.integer("epoch"), isHost: fields.boolean("host"), hostTerm: fields.integer("hostTerm"),
        isResumed: fields.boolean("resumed"), received: fields.optionalInteger("received") ?? 0,
        sent: fields.optionalInteger("sent"), sessionToken: fields.string("sessionToken", 2048, token, 1),
        roster: fields.objects("roster", 64, participant), attributes: joinedAttributes(fields),
        iceServers: iceServers(fields.object("iceServers")), pingInterval: fields.duration("pingInterval"),
        pingDeadline: fields.duration("pingDeadline"), grace: fields.duration("grace"),
    };
}

/** @param {number} version */
const versionMismatch = (version) => protocolError(
    "version_mismatch",
    `This side speaks version 1 of the room protocol, the other side ${version}.`, true);

/** @type {Record<string, (body: Fields) => object>} */
const bodies = {
    description(body) {
        const kind = body.string("type", 16);
        if (kind != "offer" && kind != "answer") throw body.wrong("type", "is neither offer nor answer");
        return { value: { kind, text: body.string("sdp", 65536, text, 1) } };
    },
    candidate: (body) => ({
        value: {
            text: body.string("candidate", 2048, line), mediaID: body.optionalString("sdpMid", 64, line),
            mediaLineIndex: body.optionalInteger("sdpMLineIndex", 65535),
            usernameFragment: body.optionalString("usernameFragment", 256, token),
        },
    }),
    endOfCandidates: (body) => ({ usernameFragment: body.string("usernameFragment", 256, token) }),
    restartRequest: (body) => ({ reason: body.freeText("reason", 256) }),
    rebuildRequest: (body) => ({ reason: body.freeText("reason", 256) }),
};

/** @param {Fields} fields */
function signal(fields) {
    const kinds = Object.keys(bodies).filter((kind) => (fields.members[kind] ?? undefined) !== undefined);
    const [type] = kinds;
    const head = {
        peer: fields.identifier("peer"), session: fields.identifier("session"),
        connection: fields.identifier("connection"), negotiation: fields.integer("negotiation"),
    };
    if (kinds.length > 1) throw protocolError("malformed", "The signal has more than one body.");
    if (!type) throw protocolError("unknown_type", "The signal has no body of a kind that is known.");
    return { ...head, body: { type, ...bodies[type](fields.object(type)) } };
}

/** @type {Record<string, string>} */
const leaveReasons = { left: "left", timed_out: "timedOut", kicked: "kicked", room_closed: "roomClosed" };

/** @type {Record<string, (fields: Fields) => object>} */
const messages = {
    joined: (fields) => ({ value: joined(fields) }),
    peerJoined: (fields) => ({ value: participant(fields.object("participant")) }),
    peerChanged: (fields) => ({ value: participant(fields.object("participant")) }),
    peerLeft(fields) {
        const name = fields.string("reason", 256);
        const reason = leaveReasons[name];
        if (!Object.keys(leaveReasons).includes(name)) throw fields.wrong("reason", "is no reason that is known");
        return { value0: fields.identifier("participant"), value1: fields.identifier("session"), reason };
    },
    hostChanged: (fields) => ({
        value: fields.identifier("participant"), term: fields.integer("hostTerm"),
        sessionToken: fields.string("sessionToken", 2048, token, 1),
    }),
    waiting: (fields) =>
        ({ pingInterval: fields.duration("pingInterval"), pingDeadline: fields.duration("pingDeadline") }),
    roomChanged: (fields) => ({ value: attributes(fields) }),
    signal: (fields) => ({ value: signal(fields) }),
    iceServers: (fields) => ({ value: iceServers(fields) }),
    ack: (fields) => ({ received: fields.integer("received") }),
    ping: (fields) => ({ id: fields.integer("id") }),
    pong: (fields) => ({ id: fields.integer("id") }),
    goingAway: (fields) => ({ retryAfter: retryWindow(fields.object("retryAfter")) }),
    error: (fields) => ({
        value: {
            code: fields.string("code", 64, token, 1), message: fields.freeText("message", 512),
            isRetryable: fields.boolean("retryable", false), isFatal: fields.boolean("fatal", false),
            retryAfter: fields.optionalObject("retryAfter") && retryWindow(fields.object("retryAfter")),
            sequence: fields.optionalInteger("inReplyTo"), replacedBy: fields.optionalString("replacedBy", 64, token),
        },
    }),
};

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
    let value;
    try {
        value = JSON.parse(json);
    } catch {
        throw protocolError("malformed", "The message is not valid JSON.", true);
    }
    if (!isObject(value)) throw protocolError("malformed", "The message is not a JSON object.", true);
    const fields = new Fields(value);
    let sequence;
    try {
        sequence = fields.optionalInteger("seq");
        if (sequence === 0) throw protocolError("malformed", "The field seq is 0, numbers begin at 1.");
        const type = fields.string("type", 64, token, 1);
        const read = Object.prototype.hasOwnProperty.call(messages, type) && messages[type];
        if (!read) {
            throw protocolError("unknown_type", `This client does not know messages of the type ${type}.`);
        }
        return { sequence, ack: fields.optionalInteger("ack"), message: { type, ...read(fields) } };
    } catch (error) {
        if (error instanceof Error) throw error;
        const refusal = /** @type {ProtocolError} */ (error);
        throw { ...refusal, sequence, isFatal: refusal.isFatal || refusal.code == "malformed" };
    }
}
