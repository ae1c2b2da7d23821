import { utf8Length } from "./values.js";
/**
 * The JSON form of the messages: one object per WebSocket text message, distinguished by `type`.
 * @typedef {import("./values.js").Case} Case
 * @typedef {import("./values.js").ProtocolError} ProtocolError
 * @typedef {import("./signaling-streams.js").Envelope} Envelope
 */

/**
 * @param {string} code
 * @param {string} message
 * @returns {ProtocolError}
 */
const protocolError = (code, message, isFatal = false) => ({ code, message, isRetryable: false, isFatal });

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

const text = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f]/, line = /[\0-\x1f\x7f]/, token = /[^\x21-\x7e]/, identifier = /[^\w-]/;

/** Reads the fields of one object. Throws a `ProtocolError` that names the field. */
class Fields {
    /**
     * @param {Record<string, any>} members
     * @param {string} path
     */
    constructor(members, path = "") {
        this.members = members;
        this.path = path;
    }

    /**
     * @param {string} name
     * @param {string} problem
     */
    wrong(name, problem) { return protocolError("malformed", `The field ${this.path}${name} ${problem}.`); }

    /**
     * @param {string} name
     * @param {number} limit
     */
    tooMuch(name, limit, unit = "bytes") {
        return protocolError("limit_exceeded", `The field ${this.path}${name} is over its limit of ${limit} ${unit}.`);
    }

    /**
     * Returns the value of a field, undefined when it is absent. `isValid` says whether it has the type.
     * @param {string} name
     * @param {(value: any) => boolean} isValid
     * @param {string} problem
     */
    optional(name, isValid, problem) {
        const value = this.members[name] ?? undefined;
        if (value !== undefined && !isValid(value)) throw this.wrong(name, problem);
        return value;
    }

    /**
     * @template Value
     * @param {string} name
     * @param {Value | undefined} value
     * @returns {Value}
     */
    required(name, value) {
        if (value === undefined) throw this.wrong(name, "is missing");
        return value;
    }

    /**
     * @param {string} name
     * @param {number} limit
     * @returns {string | undefined}
     */
    optionalString(name, limit, forbidden = text, minimum = 0) {
        const value = this.optional(name, (value) => typeof value == "string", "is not a string");
        return value === undefined ? undefined : this.checked(name, value, limit, forbidden, minimum);
    }

    /**
     * @param {string} name
     * @param {string} value
     * @param {number} limit
     * @param {RegExp} forbidden
     * @param {number} minimum
     */
    checked(name, value, limit, forbidden, minimum) {
        if (utf8Length(value) > limit) throw this.tooMuch(name, limit);
        if (value.length < minimum) throw this.wrong(name, "is empty");
        if (forbidden.test(value)) throw this.wrong(name, "has characters that it must not have");
        return value;
    }

    /**
     * @param {string} name
     * @param {number} limit
     */
    string(name, limit, forbidden = text, minimum = 0) {
        return this.required(name, this.optionalString(name, limit, forbidden, minimum));
    }

    /** @param {string} name */
    identifier(name) { return this.string(name, 64, identifier, 1); }

    /**
     * Reads text for people: control characters become U+FFFD.
     * @param {string} name
     * @param {number} limit
     */
    freeText(name, limit) {
        const value = this.optional(name, (value) => typeof value == "string", "is not a string") ?? "";
        return this.checked(name, withoutControls(value), limit, text, 0);
    }

    /**
     * @param {string} name
     * @returns {number | undefined}
     */
    optionalInteger(name, limit = Infinity) {
        const value = this.optional(
            name, (value) => Number.isSafeInteger(value) && value >= 0, "is not a whole number that is not negative");
        if (value > limit) throw this.tooMuch(name, limit, "as a number");
        return value;
    }

    /** @param {string} name */
    integer(name) { return this.required(name, this.optionalInteger(name)); }

    /**
     * @param {string} name
     * @param {boolean} [fallback]
     * @returns {boolean}
     */
    boolean(name, fallback) {
        return this.required(
            name, this.optional(name, (value) => typeof value == "boolean", "is neither true nor false") ?? fallback);
    }

    /**
     * @param {string} name
     * @returns {number | undefined}
     */
    optionalDuration(name) {
        const value = this.optional(name, (value) => typeof value == "number", "is not a number");
        if (value < 0) throw this.wrong(name, "is negative");
        if (value > 31622400) throw this.tooMuch(name, 31622400, "seconds");
        return value && Math.round(value * 1e6) / 1e6;
    }

    /** @param {string} name */
    duration(name) { return this.required(name, this.optionalDuration(name)); }

    /** @param {string} name */
    optionalObject(name) {
        const value = this.optional(name, isObject, "is not an object");
        return value && new Fields(value, `${this.path}${name}.`);
    }

    /**
     * @param {string} name
     * @returns {Fields}
     */
    object(name) { return this.required(name, this.optionalObject(name)); }

    /**
     * @param {string} name
     * @param {number} count
     * @returns {any[] | undefined}
     */
    array(name, count) {
        const value = this.optional(name, Array.isArray, "is not an array");
        if (value?.length > count) throw this.tooMuch(name, count, "entries");
        return value;
    }

    /**
     * Reads an array of strings. An absent one is empty.
     * @param {string} name
     * @param {number} count
     * @param {number} limit
     */
    strings(name, count, limit) {
        return (this.array(name, count) ?? []).map((value, index) => {
            if (typeof value != "string") throw this.wrong(`${name}[${index}]`, "is not a string");
            return this.checked(`${name}[${index}]`, value, limit, token, 1);
        });
    }

    /**
     * @template Value
     * @param {string} name
     * @param {number} count
     * @param {(fields: Fields) => Value} read
     */
    objects(name, count, read) {
        return this.required(name, this.array(name, count)).map((value, index) => {
            if (!isObject(value)) throw this.wrong(`${name}[${index}]`, "is not an object");
            return read(new Fields(value, `${this.path}${name}[${index}].`));
        });
    }

    /** @returns {Record<string, string>} */
    metadata(name = "metadata") {
        const entries = Object.entries(this.optionalObject(name)?.members ?? {});
        if (entries.length > 16) throw this.tooMuch(name, 16, "entries");
        let total = 0;
        const result = entries.map(([key, value]) => {
            if (typeof value != "string") throw this.wrong(name, "has a value that is not a string");
            const shown = withoutControls(value);
            const [keyLength, length] = [utf8Length(key), utf8Length(shown)];
            if (keyLength > 64) throw this.tooMuch(name, 64, "bytes for a key");
            if (!key || line.test(key)) throw this.wrong(name, "has a key that is empty or has control characters");
            if (length > 1024) throw this.tooMuch(name, 1024, "bytes for a value");
            total += keyLength + length;
            return [key, shown];
        });
        if (total > 4096) throw this.tooMuch(name, 4096, "bytes in all");
        return Object.fromEntries(result);
    }
}

/** @param {string} value */
const withoutControls = (value) => value.replace(new RegExp(text, "g"), "\ufffd");

/** @param {any} value */
const isObject = (value) => typeof value == "object" && !!value && !Array.isArray(value);

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
