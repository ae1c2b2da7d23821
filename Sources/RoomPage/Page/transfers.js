/** What the page needs after the join only: files, each in a card of the conversation, and QR codes. */
import { element, setText } from "./dom.js";
import { qrCode } from "./qr-code.js";
import { byteCount, duration, safeFileName, shownName } from "./text.js";
import { Inbox, TransferFailure } from "./transfer-messages.js";
import { STREAM, receiveFiles, receiveList, reportFailure, sendFiles } from "./transfer-protocol.js";

export { qrCode };

/** Above this, a received file goes straight to the disk where the browser can do that. */
const LARGE = 64 * 1024 * 1024;
/** Received bytes that are collected before they become a part of the file. */
const PART = 8 * 1024 * 1024;

/** @typedef {import("../client/room.js").Room} Room */
/** @typedef {import("../client/room.js").RoomIncomingStream} RoomIncomingStream */
/** @typedef {import("../client/room.js").RoomOutgoingStream} RoomOutgoingStream */

/** Transfers that run, for the question before the page is closed. */
const running = new Set();
/** @param {BeforeUnloadEvent} event */
const askFirst = (event) => { event.preventDefault(); event.returnValue = ""; };

/** @param {object} transfer @param {boolean} isRunning */
function setRunning(transfer, isRunning) {
    if (isRunning) running.add(transfer); else running.delete(transfer);
    // The handler keeps a page out of the back-forward cache in some browsers.
    removeEventListener("beforeunload", askFirst);
    if (running.size) addEventListener("beforeunload", askFirst);
}

/** The progress of one file to or from one participant. */
class Progress {
    /** @param {string} label @param {number | undefined} total @param {() => void} onCancel */
    constructor(label, total, onCancel) {
        this.total = total;
        this.count = 0;
        /** @type {{ at: number, count: number }[]} The last seconds. */
        this.samples = [];
        this.bar = element("progress", { max: total || 1, "aria-label": label });
        this.bar.value = 0;
        this.text = element("span", { className: "figures" });
        this.cancel = element("button", { type: "button", className: "quiet", onclick: onCancel }, "Cancel");
        this.cancel.setAttribute("aria-label", `Cancel: ${label}`);
        this.element = element("div", { className: "progress" }, this.bar, this.text, this.cancel);
    }

    /** @param {number} count */
    update(count) {
        this.count = count;
        const at = performance.now();
        this.samples.push({ at, count });
        while (this.samples.length > 2 && at - this.samples[0].at > 5000) this.samples.shift();
        if (this.total === undefined) this.bar.removeAttribute("value"); else this.bar.value = count || 0;
        const first = this.samples[0];
        const rate = at > first.at ? (count - first.count) * 1000 / (at - first.at) : 0;
        let text = this.total ? `${Math.floor(count * 100 / this.total)} %` : byteCount(count);
        if (rate > 0) {
            text += ` · ${byteCount(rate)}/s`;
            const left = this.total ? (this.total - count) / rate : 0;
            if (left > 0) text += ` · ${duration(Math.max(1, left))} left`;
        }
        setText(this.text, text);
    }

    /** @param {string} text @param {boolean} [isFailure] */
    end(text, isFailure = false) {
        this.bar.remove();
        this.cancel.remove();
        this.element.classList.toggle("failed", isFailure);
        this.element.classList.toggle("done", !isFailure);
        setText(this.text, text);
    }
}

/** @type {Record<string, string>} */
const REASONS = {
    declined: "declined", identity: "the other side was started with a code",
    exists: "a file of that name is there already",
    unsafe_name: "the other side does not take a name", no_space: "no space is left there", too_large: "too large",
    file: "a file could not be read or written", damaged: "damaged on the way", busy: "busy with somebody else",
    protocol_violation: "the other side speaks another version", interrupted: "interrupted",
    cancelled_by_peer: "cancelled by the other side", cancelled: "cancelled", task_cancelled: "cancelled",
    peer_gone: "left before it was complete", peer_not_found: "left before it was complete", left: "you left",
    not_supported: "its program takes no files",
};

/** @param {any} error */
function reasonOf(error) {
    const code = error && error.code;
    return Object.keys(REASONS).includes(code) ? REASONS[code] : shownName(error && error.message || "failed");
}

/** @param {string} title @param {{ path: string, size: number }[]} files */
function card(title, files) {
    const total = files.reduce((sum, { size }) => sum + size, 0);
    const name = files.length === 1 ? shownName(files[0].path) : `${files.length} files`;
    const shown = element(
        "div", { className: "file" }, element("p", { className: "file-title" }, title),
        element("p", { className: "file-name" }, name, element("span", { className: "file-size" }, byteCount(total))));
    if (files.length > 1) {
        const rows = files.slice(0, 200).map(({ path, size }) =>
            element("li", {}, shownName(path), element("span", { className: "file-size" }, byteCount(size))));
        if (files.length > 200) rows.push(element("li", {}, `and ${files.length - 200} more`));
        shown.append(element("details", {}, element("summary", {}, "List"), element("ul", {}, ...rows)));
    }
    return shown;
}

/** All transfers of a room: a pair of streams for each, one after the other with each participant. */
export class Transfers {
    /**
     * @param {Room} room
     * @param {(from: string, card: Node) => void} show Shows an offer of a participant.
     * @param {(id: string) => string} nameOf
     */
    constructor(room, show, nameOf) {
        this.room = room;
        this.show = show;
        this.nameOf = nameOf;
        /** The last transfer to each participant: the next one waits for it. @type {Map<string, Promise<void>>} */
        this.queues = new Map();
        /** Senders that wait for the receiver's stream. @type {Map<string, (stream: RoomIncomingStream) => void>} */
        this.waiting = new Map();
    }

    /** Takes the streams of the room. Returns when the room has ended. */
    async run() {
        for await (const stream of this.room.incomingStreams()) {
            // The part of the side that has opened the stream.
            const part = stream.name === STREAM ? stream.metadata.part : undefined;
            const waiting = this.waiting.get(stream.from);
            if (part === "send") this.receive(stream);
            else if (part === "receive" && waiting) waiting(stream);
            else stream.cancel("this page takes files of room send and of other pages");
        }
    }

    /**
     * Sends files to participants, to each with a transfer of its own: a slow one holds nobody up. Returns the card.
     * @param {File[]} files
     * @param {{ id: string, name: string }[]} receivers
     */
    send(files, receivers) {
        const isOne = receivers.length === 1;
        const shown = card(
            `You send ${isOne ? `to ${shownName(receivers[0].name)}` : "to everybody"}`,
            files.map((file) => ({ path: file.name, size: file.size })));
        for (const { id, name } of receivers) {
            const abort = new AbortController();
            const total = files.reduce((sum, { size }) => sum + size, 0);
            const progress = new Progress(`files to ${shownName(name)}`, total, () => abort.abort());
            shown.append(element("div", { className: "receiver" },
                !isOne && element("span", { className: "who" }, shownName(name)), progress.element));
            setText(progress.text, "waiting for its turn");
            setRunning(progress, true);
            const before = this.queues.get(id) || Promise.resolve();
            this.queues.set(id, before.then(() => this.sendTo(id, files, progress, abort.signal))
                .then(() => progress.end("received"), (/** @type {any} */ error) => progress.end(reasonOf(error), true))
                .finally(() => setRunning(progress, false)));
        }
        return shown;
    }

    /** @param {string} id @param {File[]} files @param {Progress} progress @param {AbortSignal} signal */
    async sendTo(id, files, progress, signal) {
        const cancelled = new TransferFailure("cancelled", "cancelled");
        if (signal.aborted) throw cancelled;
        setText(progress.text, "waiting for an answer");
        /** @type {Promise<RoomIncomingStream>} */
        const answer = new Promise((take) => this.waiting.set(id, take));
        const outgoing = await this.room.openStream(STREAM, { to: id, metadata: { part: "send" }, signal });
        /** @type {RoomIncomingStream | undefined} */
        let incoming;
        /** @type {Promise<never>} */
        const stopped = new Promise((_, fail) => signal.addEventListener("abort", () => fail(cancelled)));
        // A receiver that wants nothing of this sender stops the stream before it opens its own.
        const refused = (async () => {
            for await (const _ of outgoing.progress) if (incoming) return answer;
            const failure = outgoing.failures.get(id);
            return failure ? Promise.reject(failure) : answer;
        })();
        try {
            const answered = await Promise.race([answer, stopped, refused]);
            incoming = answered;
            await Promise.race([stopped, sendFiles(outgoing, new Inbox(answered), files, {
                accepted: () => progress.update(0), progress: (count) => progress.update(count),
            })]);
        } catch (error) {
            if (error === cancelled) outgoing.cancel("cancelled");
            else await reportFailure(outgoing, error);
            if (incoming) incoming.cancel("ended");
            throw error;
        } finally {
            this.waiting.delete(id);
            refused.catch(() => {});
            stopped.catch(() => {});
        }
    }

    /**
     * Shows what somebody offers, and takes it when the person accepts.
     * @param {RoomIncomingStream} incoming
     */
    async receive(incoming) {
        const from = incoming.from;
        /** @type {RoomOutgoingStream | undefined} */
        let outgoing;
        /** @type {any} */
        let end = () => {};
        try {
            /** @type {Record<string, string>} */
            const metadata = { part: "receive" };
            // It names the stream that is answered.
            const { attempt } = incoming.metadata;
            if (attempt && attempt.length <= 64) metadata.attempt = attempt;
            outgoing = await this.room.openStream(STREAM, { to: from, metadata });
            const inbox = new Inbox(incoming);
            const entries = await receiveList(outgoing, inbox);
            const files = entries.filter(({ isFolder }) => !isFolder);
            const shown = card(`${this.nameOf(from)} offers you ${files.length === 1 ? "a file" : "files"}`, files);
            const offer = this.offer(shown, entries, files, () => {
                incoming.cancel("cancelled");
                if (outgoing) outgoing.cancel("cancelled");
            });
            end = offer.end;
            this.show(from, shown);
            // The next message comes after the answer only: until then an end of the stream is an end of the offer.
            const next = inbox.hold(1);
            next.catch(() => {});
            const target = await Promise.race([offer.answer, next.then(() => offer.answer)]);
            if (!target) throw new TransferFailure("declined", "the receiver does not want the files");
            await receiveFiles(outgoing, inbox, entries, target);
            end();
        } catch (error) {
            end(error);
            if (outgoing) await reportFailure(outgoing, error);
            incoming.cancel("ended");
        }
    }

    /**
     * Adds the buttons to the card of an offer. `answer` becomes the target of the files, or undefined.
     * @param {HTMLElement} shown
     * @param {import("./transfer-messages.js").Entry[]} entries
     * @param {import("./transfer-messages.js").Entry[]} files
     * @param {() => void} onCancel
     */
    offer(shown, entries, files, onCancel) {
        const name = files.length === 1 ? shownName(files[0].path) : `${files.length} files`;
        const accept = element(
            "button", { type: "button", className: "primary", "aria-label": `Accept ${name}` }, "Accept");
        const decline = element("button", { type: "button", "aria-label": `Decline ${name}` }, "Decline");
        const buttons = element("div", { className: "row" }, accept, decline);
        shown.append(buttons);
        const total = files.reduce((sum, { size }) => sum + size, 0);
        const progress = new Progress(name, total, onCancel);
        /** @type {any} */
        let disk;
        let isOver = false;
        const answer = new Promise((resolve) => {
            decline.onclick = () => resolve(undefined);
            accept.onclick = async () => {
                const chosen = files.length === 1 ? await chooseTarget(safeFileName(files[0].path), total) : undefined;
                if (chosen === null || isOver) return;
                disk = chosen;
                buttons.replaceWith(progress.element);
                progress.cancel.focus();
                setRunning(progress, true);
                resolve(new Target(shown, entries, disk, (count) => progress.update(count)));
            };
        });
        const end = (/** @type {any} */ error) => {
            isOver = true;
            setRunning(progress, false);
            buttons.replaceWith(progress.element);
            if (error && disk) disk.abort().catch(() => {});
            if (error) progress.end(reasonOf(error), true); else progress.end(disk ? "saved" : "received");
        };
        return { answer, end };
    }
}

/** Collects the bytes of each file, in memory or on the disk. */
class Target {
    /**
     * @param {HTMLElement} shown @param {import("./transfer-messages.js").Entry[]} entries @param {any} disk
     * @param {(count: number) => void} progress
     */
    constructor(shown, entries, disk, progress) {
        this.shown = shown;
        this.entries = entries;
        this.disk = disk;
        this.progress = progress;
        /** @type {Blob[]} */
        this.parts = [];
        /** @type {Uint8Array[]} */
        this.chunks = [];
        this.held = 0;
    }

    /** @param {number} _ @param {Uint8Array} bytes */
    async write(_, bytes) {
        if (this.disk) return this.disk.write(bytes);
        this.chunks.push(bytes);
        this.held += bytes.length;
        if (this.held < PART && this.chunks.length < 4096) return;
        // Browsers keep large parts on the disk.
        this.parts.push(new Blob(/** @type {any} */ (this.chunks)));
        [this.chunks, this.held] = [[], 0];
    }

    /** @param {number} index */
    async end(index) {
        if (this.disk) return this.disk.close();
        const name = safeFileName(this.entries[index].path);
        // Only pictures get a type: nothing that a browser would show as a page.
        const picture = /\.(png|jpe?g|gif|webp|avif)$/i.exec(name);
        const type = picture ? `image/${picture[1].toLowerCase().replace("jpg", "jpeg")}` : "application/octet-stream";
        const file = new Blob(/** @type {any} */ ([...this.parts, ...this.chunks]), { type });
        [this.parts, this.chunks, this.held] = [[], [], 0];
        this.shown.append(...saved(file, name, this.entries.filter(({ isFolder }) => !isFolder).length > 1));
    }
}

/**
 * Asks where to save a large file. Undefined: in memory; null: the person does not want to.
 * @param {string} name @param {number} length
 * @returns {Promise<any>}
 */
async function chooseTarget(name, length) {
    const picker = /** @type {any} */ (window).showSaveFilePicker;
    if (!picker || length < LARGE) return undefined;
    try {
        const handle = await picker.call(window, { suggestedName: name });
        return await handle.createWritable();
    } catch (error) {
        return /** @type {any} */ (error).name === "AbortError" ? null : undefined;
    }
}

/** @param {Blob} file @param {string} name @param {boolean} showsName */
function saved(file, name, showsName) {
    const url = URL.createObjectURL(file);
    const link = element("a", { className: "button primary", href: url, download: name, "aria-label": `Save ${name}` },
        showsName ? `Save ${shownName(name)}` : "Save");
    const nodes = [element("div", { className: "row" }, link)];
    if (file.type.startsWith("image/") && file.size < LARGE) {
        const picture = element("img", { src: url, alt: `Picture ${name}` });
        picture.onerror = () => picture.remove();
        nodes.unshift(picture);
    }
    return nodes;
}
