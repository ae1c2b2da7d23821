// @ts-check
import { borrowedBytes, noBytes } from "./bytes.js";
import { RequestError, RequestFailure } from "./errors.js";
import { ExchangeHead, ExchangeMessage } from "./exchange-message.js";
import { Budget } from "./receive-window.js";
import { IncomingRequests, OutgoingRequests } from "./request-machine.js";
import { minus, plus } from "./time.js";
import { TopicLimits, TopicReceiver, TopicSender } from "./topic-windows.js";

/** @typedef {import("./delivery-channel.js").Channel} Channel */
/** @typedef {import("./delivery-outbox.js").Outcome} Outcome */
/** @typedef {import("./exchange-message.js").Name} Name */
/** @typedef {import("./pair.js").Pair} Pair */
/** @typedef {import("./pair.js").Handlers} Handlers */
/** @typedef {import("./pair.js").Schedule} Schedule */
/** @typedef {import("./request-machine.js").End} End */
/** @typedef {import("./room.js").Sendable} Sendable */
/**
 * @typedef {object} Publication One message of a topic on its way out.
 * @property {string} topic
 * @property {Sendable} payload
 * @property {boolean} [isText]
 * @property {boolean} [isLossy]
 * @property {Uint8Array} [head] What goes in front of the body: made once for all receivers.
 *
 * @typedef {Outcome | { type: "windowClosed" } | { type: "tooManyTopics" } | { type: "notSupported" }} Attempt
 *     `windowClosed`: wait until the participant has consumed more of this topic.
 * @typedef {Exclude<Attempt, { type: "full" } | { type: "windowClosed" }> | { type: "cancelled" }} Published
 *
 * @typedef {object} Request A request of the participant; `signal` is aborted when nobody waits for the answer any
 * more.
 * @property {string} from
 * @property {string} method
 * @property {Uint8Array} payload
 * @property {boolean} isText
 * @property {AbortSignal} signal
 *
 * @typedef {{ type: "answer", payload: Uint8Array } | { type: "failure", code: string, message: string }
 *     | { type: "timedOut" } | { type: "cancelled" } | { type: "gone" } | { type: "tooLarge", limit: number }}
 * Resolution
 */

/** The codes of failures that are not the application's. */
const wireCodes = ["unknown_method", "handler_failed", "busy", "cancelled", "too_large", "undecodable"];

/**
 * Returns a duration in milliseconds, at least 1, as the wire has it.
 * @param {number} seconds
 */
const milliseconds = (seconds) => Math.min(Math.max(1, Math.floor(Math.round(seconds * 1e9) / 1e6)), 0xffff_ffff);

/** A message of a topic that has come. It counts for the sender's window until it is consumed. */
export class TopicArrival {
    #exchange;
    #index;

    /**
     * @param {PairExchange} exchange
     * @param {number | undefined} index the number of the topic there; undefined: the message is lossy
     * @param {string} from
     * @param {string} topic
     * @param {boolean} isText
     * @param {Uint8Array} payload
     */
    constructor(exchange, index, from, topic, isText, payload) {
        this.#exchange = exchange;
        this.#index = index;
        this.from = from;
        this.topic = topic;
        this.isText = isText;
        this.payload = payload;
    }

    get isLossy() {
        return this.#index == undefined;
    }

    get cost() {
        return TopicLimits.cost(this.payload.length);
    }

    /** The message was read. */
    consume() {
        if (this.#index == undefined) return;
        this.#exchange.topicConsumed(this.#index, this.cost);
        this.#index = undefined;
    }
}

/** Topics and requests with one participant's session. It lives as long as the pair, and ends with it. */
export class PairExchange {
    #pair;
    #handlers;
    #schedule;
    #isClosed = false;
    #budget = new Budget();
    #topicSender = new TopicSender();
    #topicReceiver = new TopicReceiver();
    #outgoing;
    /** @type {Map<number, { send: () => Outcome, resolve: (resolution: Resolution) => void }>} */
    #callers = new Map();
    #incoming = new IncomingRequests();
    /** @type {Map<number, AbortController>} */
    #running = new Map();
    /** @type {(() => void) | undefined} */
    #cancelTimer;
    #timerDeadline = Infinity;

    /** @param {Pair} pair @param {Handlers} handlers @param {Schedule} schedule @param {number} [requestBase] */
    constructor(pair, handlers, schedule, requestBase) {
        this.#pair = pair;
        this.#handlers = handlers;
        this.#schedule = schedule;
        this.#outgoing = new OutgoingRequests(requestBase);
    }

    /**
     * A message of topics, requests or streams. What cannot be used is ignored.
     * @param {Uint8Array} bytes
     * @param {Channel} channel
     */
    received(bytes, channel) {
        const message = ExchangeMessage.decode(bytes);
        if (!message || !this.#use(message, bytes, channel)) this.#pair.ignoredCount += 1;
    }

    /**
     * @param {import("./exchange-message.js").ExchangeMessageValue} message
     * @param {Uint8Array} bytes
     * @param {Channel} channel
     * @returns {boolean}
     */
    #use(message, bytes, channel) {
        const isReliable = channel == "reliable";
        switch (message.type) {
            case "topicMessage":
                return channel != "bulk" && this.#topicMessage(message, bytes, channel == "topics");
            case "topicWindow":
                return isReliable && this.#topicWindow(ExchangeMessage.nameText(bytes, message.value), message.limit);
            case "request":
                return isReliable && this.#requested(message, bytes);
            case "answer":
                if (isReliable) this.#answered(message.id, { type: "answer", payload: bytes.subarray(message.body) });
                return isReliable;
            case "failure":
                if (isReliable) this.#answered(message.id, message);
                return isReliable;
            case "cancel":
                if (isReliable && this.#incoming.cancelled(message.id)) this.#running.get(message.id)?.abort();
                return isReliable;
            default:
                return this.#pair.byteStreams?.received(message, bytes, channel) ?? false;
        }
    }

    /**
     * Sends a message that is small, and of which there are only so many: the buffer takes it above its limit.
     * @param {Uint8Array} message
     */
    #sendControl(message) {
        this.#pair.sendExchange(noBytes, message, "reliable", true);
    }

    // Topics

    /**
     * Publishes a message of a topic. Waits until the participant has consumed enough of this topic and the buffer has
     * room. `mayDrop`: not for a participant whose connection is broken.
     * @param {Publication} publication
     * @param {{ mayDrop?: boolean, signal?: AbortSignal }} options
     * @returns {Promise<Published>}
     */
    publish(publication, { mayDrop = false, signal } = {}) {
        /** @type {Published} */
        const cancelled = { type: "cancelled" };
        if (signal?.aborted) return Promise.resolve(cancelled);
        /** @returns {Published | undefined} */
        const attempt = () => {
            const result = this.#attempt(publication, mayDrop);
            return result.type == "windowClosed" || result.type == "full" ? undefined : result;
        };
        // Those that wait come first.
        const key = `topic ${publication.topic}`;
        const giveUp = () => this.#pair.dropped(mayDrop);
        const result = publication.isLossy || !this.#pair.isWaiting(key) ? attempt() : giveUp();
        return result ? Promise.resolve(result) : this.#pair.waitForCredit(key, attempt, cancelled, signal, giveUp);
    }

    /**
     * @param {Publication} publication
     * @param {boolean} mayDrop
     * @returns {Attempt}
     */
    #attempt(publication, mayDrop) {
        if (!this.#pair.hasExchange) return { type: "notSupported" };
        const { topic, payload, isText = typeof payload == "string", isLossy } = publication;
        const head = (publication.head ??= ExchangeHead.topicMessage(topic, isText));
        const body = borrowedBytes(payload);
        if (isLossy) return this.#pair.sendExchange(head, body, "topics");
        if (this.#isClosed) return { type: "gone" };
        const start = this.#topicSender.begin(topic, body.length);
        if (start == "tooMany") return { type: "tooManyTopics" };
        if (start == "wait") return this.#pair.dropped(mayDrop) ?? { type: "windowClosed" };
        const outcome = this.#pair.sendExchange(head, body, "reliable", false, true, mayDrop);
        if (outcome.type != "accepted") this.#topicSender.undo(topic, body.length);
        return outcome;
    }

    /** @param {string} topic @param {number} limit */
    #topicWindow(topic, limit) {
        const grant = this.#topicSender.grant(topic, limit);
        if (grant) this.#pair.retry();
        return grant != undefined;
    }

    /**
     * @param {{ value: Name, isText: boolean, body: number }} message
     * @param {Uint8Array} bytes
     * @param {boolean} isLossy
     */
    #topicMessage({ value, isText, body }, bytes, isLossy) {
        const { participant } = this.#pair;
        const payload = bytes.subarray(body);
        if (isLossy) {
            const name = ExchangeMessage.nameText(bytes, value);
            this.#handlers.topic?.(new TopicArrival(this, undefined, participant, name, isText, payload));
            return true;
        }
        const index = this.#topicReceiver.index(ExchangeMessage.nameBytes(bytes, value), this.#budget);
        // Too many topics, or beyond the window.
        if (index == undefined || !this.#topicReceiver.receive(index, payload.length)) return false;
        const name = this.#topicReceiver.name(index);
        const arrival = new TopicArrival(this, index, participant, name, isText, payload);
        if (!this.#handlers.topic?.(arrival)) arrival.consume();
        return true;
    }

    /**
     * Messages of a topic were consumed, which cost so much: the participant may send more.
     * @param {number} index
     * @param {number} cost
     */
    topicConsumed(index, cost) {
        if (!this.#topicReceiver.consume(index, cost) || this.#isClosed) return;
        const limit = this.#topicReceiver.grant(index, this.#pair.now(), this.#budget);
        if (limit != undefined) this.#sendControl(ExchangeHead.topicWindow(this.#topicReceiver.name(index), limit));
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
            const onAbort = () => this.#giveUp(id, { type: "cancelled" });
            signal?.addEventListener("abort", onAbort);
            this.#callers.set(id, {
                send: () => {
                    const left = deadline == undefined ? undefined : milliseconds(minus(deadline, this.#pair.now()));
                    const head = ExchangeHead.request(id, left, method, isText);
                    return this.#pair.sendExchange(head, borrowedBytes(body), "reliable");
                },
                resolve: (resolution) => {
                    signal?.removeEventListener("abort", onAbort);
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
        this.#pair.waitForCredit("request", () => this.#transmit(id), true)
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
    #answered(id, resolution) {
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
        if (end.mustCancel) this.#sendControl(ExchangeHead.cancel(id));
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
    #requested({ id, timeout, method, isText, body }, bytes) {
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
            const outcome = this.#pair.sendExchange(head, borrowedBytes(payload), "reliable");
            if (outcome.type == "full") return undefined;
            if (outcome.type == "tooLarge") {
                const message = `the answer is over the limit of ${outcome.limit} bytes`;
                this.#fail(id, new RequestFailure("too_large", message));
            }
            return true;
        };
        if (!attempt()) await this.#pair.waitForCredit("answer", attempt, true, signal);
    }

    /** @param {number} id @param {unknown} error */
    #fail(id, error) {
        const isCancelled = /** @type {any} */ (error)?.name == "AbortError";
        const { code, message } = error instanceof RequestFailure ? error
            : isCancelled ? new RequestFailure("cancelled", "the handler was cancelled")
            : new RequestFailure("handler_failed", "the handler failed");
        this.#sendControl(ExchangeHead.failure(id, code, message));
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
        for (const [id, controller] of this.#running) {
            this.#incoming.cancelled(id);
            controller.abort();
        }
    }
}
