//# allFunctionsCalledOnLoad
// @ts-check
import { whenAborted } from "./abort-signal.js";
import { RoomStreamError } from "./errors.js";

/** @typedef {import("./room.js").RoomOutgoingStream} RoomOutgoingStream */
/** @typedef {import("./room.js").RoomIncomingStream} RoomIncomingStream */
/**
 * @typedef {{ signal?: AbortSignal, onProgress?: (count: number) => void }} Options `onProgress`: gets the number of
 *     bytes so far; of a sender those that the receivers have consumed.
 */

/** Bytes of a file that are read at a time. The next ones are read while they are sent. */
const sliceLength = 1_048_576;
/** Bytes that are collected before they become part of a blob, which the browser may keep on disk. */
const partLength = 4_194_304;

/**
 * Sends the bytes of a blob or file on a stream, and ends it: returns when every receiver has consumed them. The blob
 * is never in memory as a whole.
 *
 * Throws what the stream throws, or what reading the file throws (it may have changed, or be gone); the stream is then
 * cancelled, as when the signal is aborted.
 * @param {RoomOutgoingStream} stream
 * @param {Blob} blob
 * @param {Options} options
 */
export async function sendBlob(stream, blob, { signal, onProgress } = {}) {
    const reporting = onProgress ? report(stream, onProgress) : undefined;
    /** @param {number} start */
    const read = (start) => {
        const slice = blob.slice(start, start + sliceLength).arrayBuffer();
        // It is awaited later, or not at all when writing has failed before.
        slice.catch(() => {});
        return slice;
    };
    try {
        let next = read(0);
        for (let start = 0; start < blob.size; start += sliceLength) {
            const slice = await next;
            next = read(start + sliceLength);
            await stream.write(slice, { signal });
        }
        await stream.finish({ signal });
        await reporting;
    } catch (error) {
        const isOver = error instanceof RoomStreamError && !["task_cancelled", "length_exceeded"].includes(error.code);
        if (!isOver) stream.cancel(signal?.aborted ? "the sender has cancelled it" : "the file cannot be read");
        throw error;
    }
}

/** @param {RoomOutgoingStream} stream @param {(count: number) => void} onProgress */
async function report(stream, onProgress) {
    for await (const count of stream.progress) onProgress(count);
}

/**
 * Receives a stream into a blob. Cancels the stream, and throws a `RoomStreamError`, when the signal is aborted.
 * @param {RoomIncomingStream} stream
 * @param {Options & { type?: string }} options `type`: the media type of the blob
 */
export async function receiveBlob(stream, { signal, onProgress, type } = {}) {
    /** @type {Blob[]} */
    const parts = [];
    /** @type {Uint8Array[]} */
    let chunks = [];
    let count = 0;
    await receive(stream, signal, onProgress, (chunk) => {
        // A small chunk may be part of much more memory.
        chunks.push(chunk.length * 2 < chunk.buffer.byteLength ? chunk.slice() : chunk);
        count += chunk.length;
        if (count < partLength) return;
        parts.push(new Blob(chunks));
        chunks = [];
        count = 0;
    });
    return new Blob([...parts, ...chunks], { type });
}

/**
 * Receives a stream into a writable one, such as that of a file which the user has chosen, and closes it. A slow writer
 * slows down the sender. When either fails, the other one is aborted, and the error is thrown.
 * @param {RoomIncomingStream} stream
 * @param {WritableStream<Uint8Array>} writable
 * @param {Options} options
 */
export async function receiveInto(stream, writable, { signal, onProgress } = {}) {
    const writer = writable.getWriter();
    // It is reported by `write`.
    writer.closed.catch(() => {});
    try {
        await receive(stream, signal, onProgress, (chunk) => writer.write(chunk));
        await writer.close();
    } catch (error) {
        writer.abort(error).catch(() => {});
        throw error;
    }
}

/**
 * @param {RoomIncomingStream} stream
 * @param {AbortSignal | undefined} signal
 * @param {((count: number) => void) | undefined} onProgress
 * @param {(chunk: Uint8Array) => void | Promise<void>} take
 */
async function receive(stream, signal, onProgress, take) {
    const cancel = () => stream.cancel("the receiver has cancelled it");
    if (signal?.aborted) cancel();
    const forget = whenAborted(signal, cancel);
    let count = 0;
    try {
        for await (const chunk of stream) {
            await take(chunk);
            onProgress?.((count += chunk.length));
        }
    } finally {
        forget();
    }
}
