//# allFunctionsCalledOnLoad
// @ts-check
import { whenAborted } from "./abort-signal.js";
import { borrowedBytes } from "./bytes.js";
import { RequestError, RequestFailure } from "./errors.js";
import { ExchangeHead, ExchangeMessage } from "./exchange-message.js";
import { IncomingRequests, OutgoingRequests } from "./request-machine.js";
import { minus, plus } from "./time.js";

/** @typedef {import("./delivery-outbox.js").Outcome} Outcome */
/** @typedef {import("./exchange-message.js").Name} Name */
/** @typedef {import("./pair.js").Pair} Pair */
/** @typedef {import("./pair-types.js").Handlers} Handlers */
/** @typedef {import("./pair-types.js").Schedule} Schedule */
/** @typedef {import("./request-machine.js").End} End */
/** @typedef {import("./room.js").Sendable} Sendable */
/**
 * @typedef {object} Request A request of the participant; `signal` is aborted when nobody waits for the answer any
 *     more.
 * @property {string} from
 * @property {string} method
 * @property {Uint8Array} payload
 * @property {boolean} isText
 * @property {AbortSignal} signal
 *
 * @typedef {{ type: "answer", payload: Uint8Array } | { type: "failure", code: string, message: string }
 *     | { type: "timedOut" } | { type: "cancelled" } | { type: "gone" } | { type: "tooLarge", limit: number }}
 *     Resolution
 */

/** The codes of failures that are not the application's. */
const wireCodes = ["unknown_method", "handler_failed", "busy", "cancelled", "too_large", "undecodable"];

/**
 * Returns a duration in milliseconds, at least 1, as the wire has it.
 * @param {number} seconds
 */
const milliseconds = (seconds) => Math.min(Math.max(1, Math.floor(Math.round(seconds * 1e9) / 1e6)), 0xffff_ffff);

/** The requests to and of one participant's session. */
export class PairRequests {
    #pair;
    #handlers;
    #schedule;
    #isClosed = false;
    #outgoing;
    /** @type {Map<number, { send: () => Outcome, resolve: (resolution: Resolution) => void }>} */
    #callers = new Map();
    #incoming;
    /** @type {Map<number, AbortController>} */
    #running = new Map();
    /** @type {(() => void) | undefined} */
    #cancelTimer;
    #timerDeadline = Infinity;

    /**
     * @param {Pair} pair
     * @param {Handlers} handlers
     * @param {Schedule} schedule
     * @param {number} base the ids of requests that were used before
     * @param {number} lastIncoming the newest request that has come before
     */
    constructor(pair, handlers, schedule, base, lastIncoming) {
        this.#pair = pair;
        this.#handlers = handlers;
        this.#schedule = schedule;
        this.#outgoing = new OutgoingRequests(base);
        this.#incoming = new IncomingRequests(lastIncoming);
    }

    get outgoing() {
        return this.#outgoing;
    }

    get incoming() {
        return this.#incoming;
    }

    // Requests to the participant

    /**
     * Asks the participant, and returns its answer. Throws a `RequestError`.
     * @param {string} method
     * @param {Sendable} body
     * @param {{ timeout?: number, isText?: boolean, signal?: AbortSignal }} options `timeout`: `Infinity` is none
     * @returns {Promise<Uint8Array>}
     */
    async request(method, body, { timeout = 30, isText = typeof body == "string", signal } = {}) {
        /** @param {RequestError["code"]} code @param {string} message @param {RequestFailure} [failure] */
        const error = (code, message, failure) =>
            new RequestError(code, method, this.#pair.participant, message, failure);
        if (!this.#pair.hasExchange) throw error("not_supported", "the participant's program knows no requests");
        const resolution = await this.#resolution(method, body, isText, timeout, signal);
        switch (resolution.type) {
            case "answer":
                return resolution.payload;
            case "failure": {
                const { code, message } = resolution;
                if (wireCodes.includes(code)) throw error(/** @type {RequestError["code"]} */ (code), message);
                throw error("refused", message, new RequestFailure(code, message));
            }
            case "timedOut":
                throw error("timed_out", `no answer within ${timeout} s`);
            case "cancelled":
                throw error("cancelled", "the request was cancelled");
            case "tooLarge":
                throw error("too_large", `the request is over the limit of ${resolution.limit} bytes`);
            default:
                throw error("peer_gone", "the participant has left the room, or come anew");
        }
    }

    /**
     * @param {string} method
     * @param {Sendable} body
     * @param {boolean} isText
     * @param {number} timeout
     * @param {AbortSignal} [signal]
     * @returns {Promise<Resolution>}
     */
    #resolution(method, body, isText, timeout, signal) {
        if (this.#isClosed) return Promise.resolve({ type: "gone" });
        if (signal?.aborted) return Promise.resolve({ type: "cancelled" });
        const deadline = timeout == Infinity ? undefined : plus(this.#pair.now(), timeout);
        const { id, isStarted } = this.#outgoing.begin(deadline);
        return new Promise((resolve) => {
            const forget = whenAborted(signal, () => this.#giveUp(id, { type: "cancelled" }));
            this.#callers.set(id, {
                send: () => {
                    const left = deadline == undefined ? undefined : milliseconds(minus(deadline, this.#pair.now()));
                    const head = ExchangeHead.request(id, left, method, isText);
                    return this.#pair.outbox.sendExchange(head, borrowedBytes(body), "reliable");
                },
                resolve: (resolution) => {
                    forget();
                    resolve(resolution);
                },
            });
            if (deadline != undefined) this.#arm(deadline);
            if (isStarted) this.#start(id);
        });
    }

    /**
     * A request can go out.
     * @param {number} id
     */
    #start(id) {
        if (this.#transmit(id)) return;
        this.#pair.outbox.waitForCredit("request", () => this.#transmit(id), true)
            .catch(() => this.#resolve(id, { type: "cancelled" }));
    }

    /**
     * Returns whether the request need not be tried again.
     * @param {number} id
     * @returns {true | undefined}
     */
    #transmit(id) {
        const caller = this.#callers.get(id);
        const outcome = caller?.send();
        switch (outcome?.type) {
            case "full":
            case "dropped":
                return undefined;
            case "accepted":
                this.#outgoing.sent(id);
                break;
            case "gone":
            case "tooLarge":
                this.#resolve(id, outcome);
        }
        return true;
    }

    /**
     * An answer or a failure has come.
     * @param {number} id
     * @param {Resolution} resolution
     */
    answered(id, resolution) {
        const end = this.#outgoing.answered(id);
        // Where nobody waits any more it has crossed a cancellation.
        if (!end) return;
        this.#ended(end);
        this.#resolve(id, resolution);
    }

    /**
     * Nobody waits for the answer any more.
     * @param {number} id
     * @param {Resolution} resolution
     */
    #giveUp(id, resolution) {
        const end = this.#outgoing.giveUp(id);
        if (!end) return;
        if (end.mustCancel) this.#pair.outbox.sendWhole(ExchangeHead.cancel(id), "reliable");
        this.#ended(end);
        this.#resolve(id, resolution);
    }

    /** @param {number} id @param {Resolution} resolution */
    #resolve(id, resolution) {
        const caller = this.#callers.get(id);
        this.#callers.delete(id);
        // It may never have been handed to the channel.
        this.#ended(this.#outgoing.refused(id));
        caller?.resolve(resolution);
    }

    /**
     * Lets the next request go out.
     * @param {End} end
     */
    #ended(end) {
        if (end.started != undefined) this.#start(end.started);
    }

    // Requests of the participant

    /**
     * @param {{ id: number, timeout?: number, method: Name, isText: boolean, body: number }} message
     * @param {Uint8Array} bytes
     */
    requested({ id, timeout, method, isText, body }, bytes) {
        const deadline = timeout == undefined ? undefined : plus(this.#pair.now(), timeout / 1000);
        const payload = bytes.subarray(body);
        switch (this.#incoming.received(id, payload.length, deadline)) {
            case "duplicate":
                return false;
            case "busy":
                this.#fail(id, new RequestFailure(
                    "busy", "this participant handles as many requests of yours as it can: try again later"));
                return true;
        }
        if (deadline != undefined) this.#arm(deadline);
        const controller = new AbortController();
        this.#running.set(id, controller);
        const { signal } = controller;
        const from = this.#pair.participant;
        this.#run(id, { from, method: ExchangeMessage.nameText(bytes, method), payload, isText, signal });
        return true;
    }

    /**
     * The participant does not wait any more.
     * @param {number} id
     */
    cancelled(id) {
        if (this.#incoming.cancelled(id)) this.#running.get(id)?.abort();
    }

    /**
     * The participant had given this side up: it answers none of these requests, and waits for none of its own.
     * @param {number} first
     * @param {number} last
     */
    restarted(first, last) {
        for (const id of this.#outgoing.restartReceived(last)) this.#resolve(id, { type: "gone" });
        for (const id of this.#incoming.restartReceived(first)) this.cancelled(id);
    }

    /** @param {number} id @param {Request} request */
    async #run(id, request) {
        try {
            const unknown = new RequestFailure("unknown_method", "this participant handles no method of this name");
            if (!this.#handlers.request) throw unknown;
            const { payload, isText = typeof payload == "string" } = await this.#handlers.request(request);
            await this.#answer(id, payload, isText, request.signal);
        } catch (error) {
            if (this.#isWanted(id)) this.#fail(id, error);
        }
        this.#incoming.finished(id);
        this.#running.delete(id);
    }

    /** @param {number} id */
    #isWanted(id) {
        return !this.#isClosed && this.#incoming.isWanted(id);
    }

    /** @param {number} id @param {Sendable} payload @param {boolean} isText @param {AbortSignal} signal */
    async #answer(id, payload, isText, signal) {
        const head = ExchangeHead.answer(id, isText);
        const attempt = () => {
            if (!this.#isWanted(id)) return true;
            const outcome = this.#pair.outbox.sendExchange(head, borrowedBytes(payload), "reliable");
            if (outcome.type == "full") return undefined;
            if (outcome.type == "tooLarge") {
                const message = `the answer is over the limit of ${outcome.limit} bytes`;
                this.#fail(id, new RequestFailure("too_large", message));
            }
            return true;
        };
        if (!attempt()) await this.#pair.outbox.waitForCredit("answer", attempt, true, signal);
    }

    /** @param {number} id @param {unknown} error */
    #fail(id, error) {
        const isCancelled = /** @type {any} */ (error)?.name == "AbortError";
        const { code, message } = error instanceof RequestFailure ? error
            : isCancelled ? new RequestFailure("cancelled", "the handler was cancelled")
            : new RequestFailure("handler_failed", "the handler failed");
        this.#pair.outbox.sendWhole(ExchangeHead.failure(id, code, message), "reliable");
    }

    // Time

    /**
     * Looks at the deadlines at `deadline` at the latest.
     * @param {number} deadline
     */
    #arm(deadline) {
        if (this.#isClosed || this.#timerDeadline <= deadline) return;
        this.#cancelTimer?.();
        this.#timerDeadline = deadline;
        this.#cancelTimer = this.#schedule(Math.max(0, minus(deadline, this.#pair.now())), () => this.#timerFired());
    }

    #timerFired() {
        const now = this.#pair.now();
        this.#timerDeadline = Infinity;
        for (const id of this.#incoming.late(now)) this.#running.get(id)?.abort();
        for (const id of this.#outgoing.late(now)) this.#giveUp(id, { type: "timedOut" });
        this.#arm(Math.min(this.#outgoing.nextDeadline ?? Infinity, this.#incoming.nextDeadline ?? Infinity));
    }

    // The end

    /** The participant has left, or its session or ours is another one: nothing comes any more. */
    close() {
        this.#isClosed = true;
        this.#cancelTimer?.();
        this.#outgoing.close();
        for (const id of [...this.#callers.keys()]) this.#resolve(id, { type: "gone" });
        for (const id of [...this.#running.keys()]) this.cancelled(id);
    }
}
