//# allFunctionsCalledOnLoad
// @ts-check
import { decodedText, readU32, readU64, utf8, writeU32, writeU64 } from "./bytes.js";

/**
 * Messages of topics, requests and streams. See "Topics, requests and streams" in the wire protocol.
 *
 * @typedef {{ offset: number, count: number }} Name The position of a name, 1…64 bytes of valid UTF-8.
 * @typedef {{ name: string, length?: number, metadata: Record<string, string> }} Opening
 *   The description of a stream that begins. Without `length`: unknown.
 * @typedef {{ type: "topicMessage", value: Name, isText: boolean, body: number }
 *   | { type: "topicWindow", value: Name, limit: number }
 *   | { type: "topicPosition", value: Name, sent: number }
 *   | { type: "request", id: number, timeout?: number, method: Name, isText: boolean, body: number }
 *   | { type: "answer", id: number, isText: boolean, body: number }
 *   | { type: "failure", id: number, code: string, message: string }
 *   | { type: "cancel", id: number }
 *   | { type: "requestRestart", first: number, last: number }
 *   | { type: "open", stream: number, value: Opening }
 *   | { type: "data", stream: number, body: number }
 *   | { type: "end", stream: number }
 *   | { type: "reset", stream: number, code: string, message: string }
 *   | { type: "window", stream: number, consumed: number, limit: number }
 *   | { type: "stop", stream: number, code: string, message: string }
 *   | { type: "finished", stream: number }
 *   | { type: "restart", first: number, last: number }} ExchangeMessageValue
 */

/** The limits of exchange messages. Lengths are bytes of UTF-8. */
export const ExchangeLimits = {
    name: 64,
    code: 64,
    message: 1024,
    streamName: 255,
    metadataEntries: 16,
    metadataKey: 64,
    metadataBytes: 4096,
};

/** The fields of a message, one after the other. Each argument is a number of bytes and the value, or bytes. */
class Writer {
    #bytes;
    #offset = 1;
    /** @param {number} kind @param {number} count bytes behind the kind */
    constructor(kind, count) {
        this.#bytes = new Uint8Array(1 + count);
        this.#bytes[0] = kind;
    }
    /** @param {number} value */
    u8(value) {
        this.#bytes[this.#offset++] = value;
        return this;
    }
    /** @param {number} value */
    u32(value) {
        writeU32(this.#bytes, this.#offset, value);
        this.#offset += 4;
        return this;
    }
    /** @param {number} value */
    u64(value) {
        writeU64(this.#bytes, this.#offset, value);
        this.#offset += 8;
        return this;
    }
    /** @param {Uint8Array} text */
    name8(text) {
        this.u8(text.length).#bytes.set(text, this.#offset);
        this.#offset += text.length;
        return this;
    }
    /** @param {Uint8Array} text */
    text16(text) {
        return this.u8(text.length >> 8).name8(text);
    }
    get bytes() {
        return this.#bytes;
    }
}

/** @param {number} kind @param {number} id */
const withID = (kind, id) => new Writer(kind, 8).u64(id).bytes;

/** @param {number} kind @param {number} first @param {number} last */
const withIDs = (kind, first, last) => new Writer(kind, 16).u64(first).u64(last).bytes;

/** @param {number} kind @param {string} topic @param {number} count */
function ofTopic(kind, topic, count) {
    const name = utf8(topic);
    return new Writer(kind, 9 + name.length).name8(name).u64(count).bytes;
}

/** @param {number} kind @param {number} id @param {string} code @param {string} message */
function ending(kind, id, code, message) {
    // A code has at least 1 byte.
    const codeBytes = shortened(code || "unknown", ExchangeLimits.code);
    const messageBytes = shortened(message, ExchangeLimits.message);
    return new Writer(kind, 11 + codeBytes.length + messageBytes.length)
        .u64(id).name8(codeBytes).text16(messageBytes).bytes;
}

/** Returns the bytes of the text, or of as many of its first scalars as fit into `limit` bytes. */
function shortened(/** @type {string} */ text, /** @type {number} */ limit) {
    const bytes = new Uint8Array(limit);
    return bytes.subarray(0, new TextEncoder().encodeInto(text, bytes).written);
}

/**
 * Creates the bytes of exchange messages. For those with a body (topic messages, requests, answers, data) it is the
 * head, which the body follows; for the others the whole message.
 */
export const ExchangeHead = {
    /** @param {string} topic @param {boolean} isText */
    topicMessage(topic, isText) {
        const name = utf8(topic);
        return new Writer(0x01, 2 + name.length).u8(+isText).name8(name).bytes;
    },
    /** @param {string} topic @param {number} limit */
    topicWindow: (topic, limit) => ofTopic(0x02, topic, limit),
    /** @param {string} topic @param {number} sent */
    topicPosition: (topic, sent) => ofTopic(0x03, topic, sent),
    /**
     * @param {number} id
     * @param {number | undefined} timeout milliseconds; undefined: no limit
     * @param {string} method
     * @param {boolean} isText
     */
    request(id, timeout, method, isText) {
        const name = utf8(method);
        return new Writer(0x10, 14 + name.length).u64(id).u32(timeout ?? 0).u8(+isText).name8(name).bytes;
    },
    /** @param {number} id @param {boolean} isText */
    answer: (id, isText) => new Writer(0x11, 9).u64(id).u8(+isText).bytes,
    /** @param {number} id @param {string} code @param {string} message */
    failure: (id, code, message) => ending(0x12, id, code, message),
    /** @param {number} id */
    cancel: (id) => withID(0x13, id),
    /** @param {number} first @param {number} last */
    requestRestart: (first, last) => withIDs(0x14, first, last),
    /** @param {number} stream @param {Opening} opening */
    open(stream, opening) {
        const name = utf8(opening.name);
        const entries = Object.entries(opening.metadata).sort(([left], [right]) => (left < right ? -1 : 1))
            .map(([key, value]) => [utf8(key), utf8(value)]);
        const count = entries.reduce((sum, [key, value]) => sum + 3 + key.length + value.length, 18 + name.length);
        const writer = new Writer(0x20, count).u64(stream);
        if (opening.length == undefined) writer.u32(0xffff_ffff).u32(0xffff_ffff);
        else writer.u64(opening.length);
        writer.name8(name).u8(entries.length);
        for (const [key, value] of entries) writer.name8(key).text16(value);
        return writer.bytes;
    },
    /** @param {number} stream */
    data: (stream) => withID(0x21, stream),
    /** @param {number} stream */
    end: (stream) => withID(0x22, stream),
    /** @param {number} stream @param {string} code @param {string} message */
    reset: (stream, code, message) => ending(0x23, stream, code, message),
    /** @param {number} stream @param {number} consumed @param {number} limit */
    window: (stream, consumed, limit) => new Writer(0x24, 24).u64(stream).u64(consumed).u64(limit).bytes,
    /** @param {number} stream @param {string} code @param {string} message */
    stop: (stream, code, message) => ending(0x25, stream, code, message),
    /** @param {number} stream */
    finished: (stream) => withID(0x26, stream),
    /** @param {number} first @param {number} last */
    restart: (first, last) => withIDs(0x27, first, last),
};

/** Reads the fields of a message, from the byte behind its kind on. What is missing or wrong makes it invalid. */
class Reader {
    offset = 1;
    isValid = true;
    /** @param {Uint8Array} bytes */
    constructor(bytes) {
        this.bytes = bytes;
    }
    /**
     * Returns where a field of so many bytes begins.
     * @param {number} count
     */
    #take(count) {
        const start = this.offset;
        this.offset += count;
        if (this.offset > this.bytes.length) this.isValid = false;
        return start;
    }
    /** @param {boolean} condition */
    #require(condition) {
        if (!condition) this.isValid = false;
    }
    u8() {
        return this.bytes[this.#take(1)] ?? 0;
    }
    u32() {
        return readU32(this.bytes, this.#take(4));
    }
    u64() {
        return readU64(this.bytes, this.#take(8));
    }
    id() {
        const id = this.u64();
        this.#require(id > 0 && id <= Number.MAX_SAFE_INTEGER);
        return id;
    }
    flags() {
        const flags = this.u8();
        this.#require(flags <= 1);
        return flags == 1;
    }
    /** @returns {Name} */
    name() {
        const count = this.u8();
        this.#require(count > 0 && count <= ExchangeLimits.name);
        const offset = this.#take(count);
        // Most names are ASCII: no string is made of them.
        for (let index = offset; this.isValid && index < this.offset; index += 1) {
            if (this.bytes[index] < 0x80) continue;
            this.#require(decodedText(this.bytes.subarray(offset, this.offset)) != undefined);
            break;
        }
        return { offset, count };
    }
    /** @param {number} count @param {number} limit */
    #text(count, limit) {
        this.#require(count <= limit);
        const start = this.#take(count);
        const text = this.isValid ? decodedText(this.bytes.subarray(start, this.offset)) : undefined;
        this.#require(text != undefined);
        return text ?? "";
    }
    /** @param {number} limit */
    text8(limit) {
        const count = this.u8();
        this.#require(count > 0);
        return this.#text(count, limit);
    }
    /** @param {number} limit */
    text16(limit) {
        return this.#text(this.u8() * 256 + this.u8(), limit);
    }
    /** @returns {Opening} */
    opening() {
        const start = this.#take(8);
        const isUnknown = readU32(this.bytes, start) == 0xffff_ffff && readU32(this.bytes, start + 4) == 0xffff_ffff;
        const length = isUnknown ? undefined : readU64(this.bytes, start);
        const name = this.text8(ExchangeLimits.streamName);
        const count = this.u8();
        this.#require(count <= ExchangeLimits.metadataEntries);
        /** @type {Record<string, string>} Without a prototype: the other side chooses the keys. */
        const metadata = Object.create(null);
        const keys = new Set();
        const first = this.offset;
        for (let index = 0; this.isValid && index < count; index += 1) {
            const key = this.text8(ExchangeLimits.metadataKey);
            metadata[key] = this.text16(ExchangeLimits.metadataBytes);
            // Not twice, nor canonically equivalent.
            keys.add(key.normalize());
        }
        // The lengths of an entry take 3 bytes.
        this.#require(keys.size == count && this.offset - first - 3 * count <= ExchangeLimits.metadataBytes);
        return { name, length, metadata };
    }
}

export const ExchangeMessage = {
    /**
     * Returns the bytes of a name.
     * @param {Uint8Array} message
     * @param {Name} name
     */
    nameBytes: (message, { offset, count }) => message.subarray(offset, offset + count),

    /**
     * Returns the text of a name.
     * @param {Uint8Array} message
     * @param {Name} name
     */
    nameText: (message, name) => decodedText(ExchangeMessage.nameBytes(message, name)) ?? "",

    /**
     * Decodes a message. Bodies, and the names of topics and methods, are not copied: they are offsets into the bytes.
     * Undefined: an unknown kind or a malformed message, which is ignored.
     * @param {Uint8Array} bytes
     * @returns {ExchangeMessageValue | undefined}
     */
    decode(bytes) {
        const reader = new Reader(bytes);
        const message = fields(bytes[0], reader);
        const hasBody = message && "body" in message;
        return message && reader.isValid && (hasBody || reader.offset == bytes.length) ? message : undefined;
    },
};

/**
 * Reads the fields of a message in their order.
 * @param {number} kind
 * @param {Reader} reader
 * @returns {ExchangeMessageValue | undefined}
 */
function fields(kind, reader) {
    switch (kind) {
        case 0x01:
            return { type: "topicMessage", isText: reader.flags(), value: reader.name(), body: reader.offset };
        case 0x02:
            return { type: "topicWindow", value: reader.name(), limit: reader.u64() };
        case 0x03:
            return { type: "topicPosition", value: reader.name(), sent: reader.u64() };
        case 0x10:
            return {
                type: "request", id: reader.id(), timeout: reader.u32() || undefined, isText: reader.flags(),
                method: reader.name(), body: reader.offset,
            };
        case 0x11:
            return { type: "answer", id: reader.id(), isText: reader.flags(), body: reader.offset };
        case 0x12:
            return { type: "failure", id: reader.id(), ...codeAndMessage(reader) };
        case 0x13:
            return { type: "cancel", id: reader.id() };
        case 0x14:
            return { type: "requestRestart", first: reader.u64(), last: reader.u64() };
        case 0x20:
            return { type: "open", stream: reader.id(), value: reader.opening() };
        case 0x21:
            return { type: "data", stream: reader.id(), body: reader.offset };
        case 0x22:
            return { type: "end", stream: reader.id() };
        case 0x23:
            return { type: "reset", stream: reader.id(), ...codeAndMessage(reader) };
        case 0x24: {
            const [stream, consumed, limit] = [reader.id(), reader.u64(), reader.u64()];
            return consumed <= limit ? { type: "window", stream, consumed, limit } : undefined;
        }
        case 0x25:
            return { type: "stop", stream: reader.id(), ...codeAndMessage(reader) };
        case 0x26:
            return { type: "finished", stream: reader.id() };
        case 0x27:
            return { type: "restart", first: reader.u64(), last: reader.u64() };
        default:
            return undefined;
    }
}

/** @param {Reader} reader */
function codeAndMessage(reader) {
    const code = reader.text8(ExchangeLimits.code);
    return { code, message: reader.text16(ExchangeLimits.message) };
}
