//# allFunctionsCalledOnLoad
import { decodeServerMessage, encodeClientMessage } from "./protocol-codec.js";
import { signalingFailure } from "./values.js";
/**
 * @typedef {import("./values.js").Case} Case
 * @typedef {import("./values.js").SignalingFailure} SignalingFailure
 * @typedef {{
 *     socket?: WebSocket, isOpen: boolean, isFresh: boolean, hasAnswered: boolean, cancel: () => void,
 * }} Attempt `isFresh`: its path is used by no other attempt. `hasAnswered`: something answers over HTTP.
 *     `cancel`: ends what is under way before the socket is open.
 */

/** Bytes that may wait in a socket. Far above what the machine keeps until it is acknowledged. */
const outboxLimit = 4 << 20;
/** Seconds for an answer to the probe, and for a socket to open when it was not probed. */
const probePatience = 5, connectPatience = 8;
/** The least time, in seconds, for a socket to open behind a successful probe. */
const shortPatience = 2;

/**
 * Opens, feeds and ends WebSocket connections as the room's machine says, and reports what comes of them. It holds no
 * retry logic.
 *
 * Browsers delay a WebSocket behind earlier failures without a word (Firefox: up to 60 s, by address and path). So an
 * attempt behind a failed one first asks the server over HTTP whether it is there, opens a socket with a path of its
 * own, and gives up soon.
 */
export class BrowserSignaling {
    /** @type {Map<number, Attempt>} */
    #attempts = new Map();
    #url;
    #report;
    #environment;
    /** The last attempt failed, or its connection ended uncleanly. */
    #hasFailed = false;
    /** Attempts behind a failure get a path of their own. */
    #usesFreshPaths = true;
    /** In a row. */
    #failedProbes = 0;

    /**
     * @param {string} url
     * @param {(event: Case) => void} report
     * @param {Pick<typeof globalThis, "WebSocket" | "fetch" | "setTimeout" | "clearTimeout"> & { location?: Location }}
     *     [environment]
     */
    constructor(url, report, environment = globalThis) {
        this.#url = new URL(url);
        this.#report = report;
        this.#environment = environment;
    }

    // MARK: The machine's actions

    /** @param {number} generation */
    open(generation) {
        /** @type {Attempt} */
        const attempt = { isOpen: false, isFresh: false, hasAnswered: false, cancel() {} };
        this.#attempts.set(generation, attempt);
        // A policy of the page may forbid the probe and allow the socket.
        if (!this.#hasFailed || this.#failedProbes % 4 == 3) {
            this.#failedProbes = 0;
            this.#connect(generation, attempt, connectPatience);
        } else {
            this.#probe(generation, attempt);
        }
    }

    /**
     * @param {import("./signaling-streams.js").Envelope} envelope
     * @param {number} generation
     */
    send(envelope, generation) {
        const socket = this.#attempts.get(generation)?.socket;
        if (!socket) return;
        socket.send(encodeClientMessage(envelope));
        if (socket.bufferedAmount <= outboxLimit) return;
        this.abort(generation);
        this.#report({
            type: "transportClosed", value0: generation, value1: signalingFailure(
                `the connection takes no messages: over ${outboxLimit} bytes wait to be sent`),
        });
    }

    /**
     * Ends an attempt or a connection at once. Nothing of it is told any more.
     * @param {number} generation
     */
    abort(generation) {
        // A connection that is given up before its end leaves a delay behind.
        this.#hasFailed = true;
        this.close(generation, { code: 1000, reason: "" });
    }

    /**
     * Sends what was accepted and closes in order. Nothing of it is told any more.
     * @param {number} generation
     * @param {{ code: number, reason: string }} close
     */
    close(generation, { reason }) {
        const attempt = this.#attempts.get(generation);
        if (!attempt) return;
        this.#attempts.delete(generation);
        attempt.cancel();
        if (attempt.socket) release(attempt.socket).close(1000, reason);
    }

    /** Ends everything. */
    finish() { for (const generation of this.#attempts.keys()) this.abort(generation); }

    // MARK: Attempts

    /**
     * Opens the socket when something answers over HTTP, which browsers do not delay.
     * @param {number} generation
     * @param {Attempt} attempt
     */
    async #probe(generation, attempt) {
        const { fetch, setTimeout, clearTimeout, location } = this.#environment;
        const url = new URL("health", this.#url);
        url.protocol = this.#url.protocol == "wss:" ? "https:" : "http:";
        const isOwn = location?.origin == url.origin;
        const controller = new AbortController();
        const timer = setTimeout(() => controller.abort(), probePatience * 1000);
        attempt.cancel = () => {
            clearTimeout(timer);
            controller.abort();
        };
        const startedAt = Date.now();
        try {
            // From another origin the answer cannot be read, but it is one.
            const response = await fetch(url.href, {
                cache: "no-store", credentials: "omit", mode: isOwn ? "same-origin" : "no-cors",
                signal: controller.signal,
            });
            if (this.#attempts.get(generation) != attempt) return;
            this.#failedProbes = 0;
            attempt.cancel();
            if ([502, 503, 504].includes(response.status)) {
                const seconds = Number(response.headers.get("Retry-After") ?? NaN);
                const retryAfter = seconds >= 0 ? { lowerBound: seconds, upperBound: seconds * 1.25 } : undefined;
                return this.#fail(generation, signalingFailure(
                    `the server answered with HTTP ${response.status}`, { status: response.status, retryAfter }));
            }
            attempt.hasAnswered = true;
            const roundTrip = (Date.now() - startedAt) / 1000;
            this.#connect(generation, attempt, Math.max(shortPatience, 3 * roundTrip));
        } catch {
            if (this.#attempts.get(generation) != attempt) return;
            this.#failedProbes += 1;
            attempt.cancel();
            this.#fail(generation, signalingFailure("the server cannot be reached"));
        }
    }

    /**
     * @param {number} generation
     * @param {Attempt} attempt
     * @param {number} patience
     */
    #connect(generation, attempt, patience) {
        const { WebSocket, setTimeout, clearTimeout } = this.#environment;
        const url = new URL(this.#url);
        attempt.isFresh = this.#hasFailed && this.#usesFreshPaths;
        if (attempt.isFresh) {
            url.pathname += `${url.pathname.endsWith("/") ? "" : "/"}${Math.random().toString(36).slice(2, 10)}`;
        }
        /** @type {WebSocket} */
        let socket;
        try {
            socket = new WebSocket(url.href);
        } catch (error) {
            const reason = error instanceof Error ? error.message : `${error}`;
            return this.#fail(generation, signalingFailure(reason, { isRetryable: false }));
        }
        attempt.socket = socket;
        socket.binaryType = "arraybuffer";
        const timer = setTimeout(() => {
            release(socket).close();
            this.#fail(generation, signalingFailure("connecting took too long"));
        }, patience * 1000);
        attempt.cancel = () => clearTimeout(timer);
        socket.onopen = () => {
            attempt.cancel();
            attempt.isOpen = true;
            this.#hasFailed = false;
            this.#report({ type: "transportConnected", value: generation });
        };
        socket.onmessage = ({ data }) => this.#received(data, generation);
        socket.onclose = ({ code, reason, wasClean }) => {
            attempt.cancel();
            if (!attempt.isOpen) {
                return this.#fail(generation, signalingFailure("the connection was refused or could not be made"));
            }
            this.#attempts.delete(generation);
            this.#hasFailed = this.#hasFailed || !wasClean;
            const isSilent = [1000, 1001, 1005].includes(code);
            this.#report({
                type: "transportClosed", value0: generation,
                value1: isSilent ? undefined
                    : code == 1006 ? signalingFailure("the connection broke")
                        : signalingFailure(`the server closed with ${code} ${reason}`, { status: code }),
            });
        };
    }

    /**
     * An attempt has come to nothing.
     * @param {number} generation
     * @param {SignalingFailure} failure
     */
    #fail(generation, failure) {
        const attempt = this.#attempts.get(generation);
        this.#attempts.delete(generation);
        // Something is there, but takes no connections on that path: a proxy may know only the given one.
        if (this.#hasFailed && attempt?.hasAnswered) this.#usesFreshPaths = !attempt.isFresh;
        this.#hasFailed = true;
        this.#report({ type: "transportFailed", value0: generation, value1: failure });
    }

    /**
     * @param {any} data
     * @param {number} generation
     */
    #received(data, generation) {
        let envelope;
        try {
            if (typeof data != "string") {
                throw { code: "malformed", message: "The message is binary.", isRetryable: false, isFatal: true };
            }
            envelope = decodeServerMessage(data);
        } catch (error) {
            if (error instanceof Error) throw error;
            return this.#report({ type: "receivedMalformed", value0: error, value1: generation });
        }
        this.#report({ type: "received", value0: envelope, value1: generation });
    }
}

/**
 * Forgets a socket: nothing of it is reported any more.
 * @param {WebSocket} socket
 */
function release(socket) {
    socket.onopen = socket.onmessage = socket.onclose = null;
    return socket;
}
