/**
 * The protocol of `room send` and `room receive` (the article "Sending files"), over a pair of streams, for both sides.
 * Without the page's elements.
 */
import { SHA256 } from "./sha256.js";
import { safeFileName } from "./text.js";
import {
    BODY_LIMIT, KIND, Reader, TransferFailure, decodeManifest, encodeManifest, joined, message, number, text, violation,
} from "./transfer-messages.js";

/** The name of both streams. Their metadata says under `part` which part the opener has: send or receive. */
export const STREAM = "files";

const LIST_LIMIT = 8 << 20;
const PARTS_LIMIT = 4096;
/** Bytes of a file in one message. */
const CHUNK = 256 * 1024;
/** Written bytes after which the sender is told, and milliseconds. */
const REPORT = [4 << 20, 100];
/** Milliseconds for the other side to read the last messages. */
const CLOSING = 2000;

/** @typedef {import("../client/room.js").RoomOutgoingStream} RoomOutgoingStream */
/** @typedef {import("../client/room.js").RoomIncomingStream} RoomIncomingStream */
/** @typedef {import("./transfer-messages.js").Entry} Entry */
/** @typedef {import("./transfer-messages.js").Inbox} Inbox */

/** The greeting without a code. */
const hello = (/** @type {Uint8Array} */ nonce) => message(KIND.hello, [1, 0], nonce);

/** @param {Uint8Array} body */
function checkHello(body) {
    const reader = new Reader(body);
    const [version, flags] = [reader.number(1), reader.number(1)];
    reader.take(32);
    if (version !== 1) throw violation();
    if (flags & 1) throw new TransferFailure("identity", "the other side was started with a code: use a room");
}

const makeNonce = () => crypto.getRandomValues(new Uint8Array(32));

/**
 * Ends this side's stream, and reads the other side's up to its end, so that neither waits for the other.
 * @param {RoomOutgoingStream} outgoing @param {Inbox} inbox
 */
async function close(outgoing, inbox) {
    const drained = (async () => { while (!(await inbox.iterator.next()).done); })();
    /** @type {any} */
    let timer;
    const limit = new Promise((done) => { timer = setTimeout(done, CLOSING); });
    await Promise.race([limit, Promise.all([outgoing.finish(), drained])]).catch(() => {});
    clearTimeout(timer);
    drained.catch(() => {});
}

// MARK: The sender

/**
 * Returns the list of the files, under names that a receiver takes.
 * @param {{ name: string, size: number, lastModified: number }[]} files
 * @returns {Entry[]}
 */
export function listOf(files) {
    const taken = new Set();
    return files.map((file) => {
        const name = safeFileName(file.name);
        const dot = name.lastIndexOf(".");
        let path = name;
        for (let count = 2; taken.has(path.toUpperCase().toLowerCase()); count++) {
            path = dot > 0 ? `${name.slice(0, dot)} (${count})${name.slice(dot)}` : `${name} (${count})`;
        }
        taken.add(path.toUpperCase().toLowerCase());
        return { isFolder: false, path, size: file.size, modified: file.lastModified };
    });
}

/**
 * Sends files. Returns when the receiver has everything.
 * @param {RoomOutgoingStream} outgoing
 * @param {Inbox} inbox
 * @param {File[]} files
 * @param {{ accepted?: () => void, progress?: (count: number) => void, stored?: (index: number) => void }} report
 */
export async function sendFiles(outgoing, inbox, files, report) {
    checkHello(await inbox.expect(KIND.hello));
    await outgoing.write(hello(makeNonce()));
    const entries = listOf(files);
    const list = encodeManifest(entries);
    for (let at = 0; ; at += BODY_LIMIT) {
        const isLast = at + BODY_LIMIT >= list.length;
        await outgoing.write(message(isLast ? KIND.lastManifest : KIND.manifest, list.subarray(at, at + BODY_LIMIT)));
        if (isLast) break;
    }
    /** @type {Map<number, { length: number, digest: Uint8Array }[]>} */
    const present = new Map();
    for (let next = await inbox.next(); next.kind !== KIND.accept; next = await inbox.next()) {
        if (next.kind !== KIND.present) throw violation();
        const reader = new Reader(next.body);
        const index = reader.number(4);
        const points = [];
        while (!reader.isAtEnd) points.push({ length: reader.number(8), digest: reader.take(32) });
        if (index >= files.length || present.has(index)) throw violation();
        present.set(index, points);
    }
    if (report.accepted) report.accepted();
    let had = 0;
    const listening = (async () => {
        let stored = 0;
        while (true) {
            const { kind, body } = await inbox.next();
            const reader = new Reader(body);
            if (kind === KIND.written) {
                if (report.progress) report.progress(had + reader.number(8));
            } else if (kind === KIND.stored) {
                stored++;
                if (report.stored) report.stored(reader.number(4));
            } else if (kind === KIND.finished && stored === files.length) return;
            else throw violation();
        }
    })();
    const sending = (async () => {
        for (const [index, file] of files.entries()) {
            const { hash, offset } = await agreed(file, present.get(index) || []);
            had += offset;
            await outgoing.write(message(KIND.file, number(index, 4), number(offset, 8)));
            for (let at = offset; at < file.size; at += CHUNK) {
                const bytes = await read(file, at, Math.min(at + CHUNK, file.size));
                hash.update(bytes);
                await outgoing.write(message(KIND.data, bytes));
            }
            await outgoing.write(message(KIND.endOfFile, hash.digest()));
        }
    })();
    await Promise.all([listening, sending]);
    await outgoing.write(message(KIND.goodbye));
    await close(outgoing, inbox);
}

/** @param {File} file @param {number} from @param {number} to */
async function read(file, from, to) {
    const bytes = new Uint8Array(await file.slice(from, to).arrayBuffer());
    if (bytes.length !== to - from) throw new TransferFailure("file", `${file.name} has changed while it was sent`);
    return bytes;
}

/**
 * Finds the longest beginning of a file that the receiver has.
 * @param {File} file @param {{ length: number, digest: Uint8Array }[]} points
 */
async function agreed(file, points) {
    let [hash, offset] = [new SHA256(), 0];
    for (const { length, digest } of points) {
        if (length > file.size || length <= offset) throw violation();
        const longer = new SHA256();
        Object.assign(longer, { state: hash.state.slice(), block: hash.block.slice(), count: hash.count });
        for (let at = offset; at < length; at += CHUNK) {
            longer.update(await read(file, at, Math.min(at + CHUNK, length)));
        }
        if (longer.digest().some((byte, index) => byte !== digest[index])) break;
        [hash, offset] = [longer, length];
    }
    return { hash, offset };
}

// MARK: The receiver

/**
 * Greets the sender, and returns its list.
 * @param {RoomOutgoingStream} outgoing @param {Inbox} inbox
 */
export async function receiveList(outgoing, inbox) {
    await outgoing.write(hello(makeNonce()));
    checkHello(await inbox.expect(KIND.hello));
    /** @type {Uint8Array[]} */
    const parts = [];
    let length = 0;
    while (true) {
        const { kind, body } = await inbox.next();
        if (kind !== KIND.manifest && kind !== KIND.lastManifest) throw violation();
        parts.push(body);
        length += body.length;
        if (length > LIST_LIMIT || parts.length > PARTS_LIMIT) {
            throw new TransferFailure("too_large", "the list of files is too long");
        }
        if (kind === KIND.lastManifest) return decodeManifest(joined(...parts));
    }
}

/**
 * Takes the files of a list. Returns when all are whole.
 * @param {RoomOutgoingStream} outgoing
 * @param {Inbox} inbox
 * @param {Entry[]} entries
 * @param {{
 *     write: (index: number, bytes: Uint8Array) => void | Promise<void>, end: (index: number) => void | Promise<void>,
 *     progress: (count: number) => void
 * }} target
 */
export async function receiveFiles(outgoing, inbox, entries, target) {
    await outgoing.write(message(KIND.accept));
    let [written, told, toldAt] = [0, 0, performance.now()];
    const tell = async () => {
        [told, toldAt] = [written, performance.now()];
        target.progress(written);
        await outgoing.write(message(KIND.written, number(written, 8)));
    };
    for (const [expected, entry] of entries.entries()) {
        if (entry.isFolder) continue;
        const head = new Reader(await inbox.expect(KIND.file));
        const [index, offset] = [head.number(4), head.number(8)];
        if (index !== expected || offset !== 0) throw violation();
        const hash = new SHA256();
        for (let left = entry.size; left > 0;) {
            const body = await inbox.expect(KIND.data);
            left -= body.length;
            if (left < 0) throw violation();
            hash.update(body);
            await target.write(index, body.slice());
            written += body.length;
            if (written - told >= REPORT[0] || performance.now() - toldAt >= REPORT[1]) await tell();
        }
        const digest = await inbox.expect(KIND.endOfFile);
        if (hash.digest().some((byte, at) => byte !== digest[at])) {
            throw new TransferFailure("damaged", `${entry.path} is not what was sent`);
        }
        await target.end(index);
        if (written !== told) await tell();
        await outgoing.write(message(KIND.stored, number(index, 4)));
    }
    await outgoing.write(message(KIND.finished));
    // Without the sender's last word the files are here all the same.
    await inbox.next().catch(() => {});
    await close(outgoing, inbox);
}

/**
 * Tells the other side why this one ends.
 * @param {RoomOutgoingStream} outgoing @param {any} error
 */
export async function reportFailure(outgoing, error) {
    if (error instanceof TransferFailure && error.isFromOtherSide) return;
    const code = error instanceof TransferFailure ? error.code : "interrupted";
    const reason = String(error && error.message || "ended");
    await outgoing.write(message(KIND.failure, text(code), text(reason))).catch(() => {});
    await outgoing.finish().catch(() => {});
}
