/** The messages of `room send` and `room receive`, as the article "Sending files" describes them. */

export const KIND = {
    hello: 1, manifest: 3, lastManifest: 4, present: 5, accept: 6, file: 7, data: 8, endOfFile: 9, written: 10,
    stored: 11, finished: 12, goodbye: 13, failure: 14,
};
/** Bytes of the body of a message other than `data`. */
export const BODY_LIMIT = 65_536;
const DATA_LIMIT = 1 << 20;
const ENTRY_LIMIT = 65_536;

/** @typedef {{ isFolder: boolean, path: string, size: number, modified: number }} Entry */

/** Why a transfer has ended before its time. The codes are those of `room send --json`. */
export class TransferFailure extends Error {
    /** @param {string} code @param {string} message @param {boolean} [isFromOtherSide] */
    constructor(code, message, isFromOtherSide = false) {
        super(message);
        this.code = code;
        this.isFromOtherSide = isFromOtherSide;
    }
}

export const violation = () => new TransferFailure("protocol_violation", "the other side speaks another version");

/** @param {...(Uint8Array | number[])} parts */
export function joined(...parts) {
    const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
        bytes.set(part, at);
        at += part.length;
    }
    return bytes;
}

/**
 * A number in big-endian order.
 * @param {number} value @param {number} count
 */
export function number(value, count) {
    const bytes = [];
    for (let rest = value; bytes.length < count; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
    return bytes;
}

/** @param {string} value */
export function text(value) {
    const bytes = new TextEncoder().encode(value).subarray(0, 1024);
    return joined(number(bytes.length, 2), bytes);
}

/** @param {number} kind @param {...(Uint8Array | number[])} body */
export function message(kind, ...body) {
    const bytes = joined(...body);
    return joined([kind], number(bytes.length, 4), bytes);
}

export class Reader {
    /** @param {Uint8Array} bytes */
    constructor(bytes) {
        this.bytes = bytes;
        this.at = 0;
    }

    get isAtEnd() { return this.at === this.bytes.length; }

    /** @param {number} count */
    take(count) {
        if (this.at + count > this.bytes.length) throw violation();
        return this.bytes.subarray(this.at, this.at += count);
    }

    /** @param {number} count */
    number(count) { return this.take(count).reduce((value, byte) => value * 256 + byte, 0); }

    text() {
        try {
            return new TextDecoder("utf-8", { fatal: true }).decode(this.take(this.number(2)));
        } catch {
            throw violation();
        }
    }
}

/** @param {Entry[]} entries */
export function encodeManifest(entries) {
    const total = entries.reduce((sum, { size }) => sum + size, 0);
    return joined(number(entries.length, 4), number(total, 8), ...entries.map((entry) => joined(
        [entry.isFolder ? 1 : 0], number(entry.isFolder ? 0o755 : 0o644, 2), number(entry.size, 8),
        // Milliseconds of JavaScript become nanoseconds, exactly.
        nanoseconds(entry.modified), text(entry.path))));
}

/** @param {number} milliseconds */
function nanoseconds(milliseconds) {
    const view = new DataView(new ArrayBuffer(8));
    view.setBigInt64(0, BigInt(Math.round(milliseconds)) * 1_000_000n);
    return new Uint8Array(view.buffer);
}

/** @param {Uint8Array} bytes @returns {Entry[]} */
export function decodeManifest(bytes) {
    const reader = new Reader(bytes);
    const [count, total] = [reader.number(4), reader.number(8)];
    if (count > ENTRY_LIMIT) throw new TransferFailure("too_large", "there are too many files");
    /** @type {Entry[]} */
    const entries = [];
    let sum = 0;
    for (let index = 0; index < count; index++) {
        const kind = reader.number(1);
        reader.take(2);
        const size = reader.number(8);
        const modified = reader.take(8);
        const view = new DataView(modified.buffer, modified.byteOffset, 8);
        if (kind > 1 || (kind === 1 && size > 0)) throw violation();
        sum += size;
        if (!Number.isSafeInteger(sum)) throw new TransferFailure("too_large", "the files are too large");
        entries.push({
            isFolder: kind === 1, size, modified: Number(view.getBigInt64(0) / 1_000_000n), path: reader.text(),
        });
    }
    if (!reader.isAtEnd || sum !== total) throw violation();
    return entries;
}

/** The messages of the other side in the order of their arrival. */
export class Inbox {
    /** @param {AsyncIterable<Uint8Array>} stream */
    constructor(stream) {
        this.iterator = stream[Symbol.asyncIterator]();
        this.held = new Uint8Array(0);
        this.dataLeft = 0;
    }

    /**
     * Waits until so many bytes are held.
     * @param {number} count
     */
    async hold(count) {
        while (this.held.length < count) {
            const { done, value } = await this.iterator.next();
            if (done) throw new TransferFailure("interrupted", "the other side has ended the transfer");
            this.held = this.held.length ? joined(this.held, value) : value;
        }
    }

    /** @param {number} count */
    take(count) {
        const bytes = this.held.subarray(0, count);
        this.held = this.held.subarray(count);
        return bytes;
    }

    /**
     * Returns the next message, or bytes of a file. The other side's failure is thrown.
     * @returns {Promise<{ kind: number, body: Uint8Array }>}
     */
    async next() {
        while (true) {
            if (this.dataLeft > 0) {
                await this.hold(1);
                const body = this.take(Math.min(this.dataLeft, this.held.length));
                this.dataLeft -= body.length;
                return { kind: KIND.data, body };
            }
            await this.hold(5);
            const head = new Reader(this.take(5));
            const [kind, length] = [head.number(1), head.number(4)];
            if (length > (kind === KIND.data ? DATA_LIMIT : BODY_LIMIT)) throw violation();
            if (kind === KIND.data) {
                this.dataLeft = length;
                continue;
            }
            await this.hold(length);
            const body = this.take(length).slice();
            if (kind !== KIND.failure) return { kind, body };
            const reader = new Reader(body);
            throw new TransferFailure(reader.text(), reader.text(), true);
        }
    }

    /** @param {number} kind */
    async expect(kind) {
        const next = await this.next();
        if (next.kind !== kind) throw violation();
        return next.body;
    }
}
