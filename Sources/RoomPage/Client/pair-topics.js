//# allFunctionsCalledOnLoad
// @ts-check
import { borrowedBytes } from "./bytes.js";
import { ExchangeHead, ExchangeMessage } from "./exchange-message.js";
import { TopicLimits } from "./topic-windows.js";

/** @typedef {import("./delivery-outbox.js").Outcome} Outcome */
/** @typedef {import("./exchange-message.js").Name} Name */
/** @typedef {import("./exchange-record.js").ExchangeRecord} ExchangeRecord */
/** @typedef {import("./pair.js").Pair} Pair */
/** @typedef {import("./pair-types.js").Handlers} Handlers */
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
 */

/** A message of a topic that has come. It counts for the sender's window until it is consumed. */
export class TopicArrival {
    #topics;
    #index;

    /**
     * @param {PairTopics} topics
     * @param {number | undefined} index the number of the topic there; undefined: the message is lossy
     * @param {string} from
     * @param {string} topic
     * @param {boolean} isText
     * @param {Uint8Array} payload
     */
    constructor(topics, index, from, topic, isText, payload) {
        this.#topics = topics;
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
        this.#topics.consumed(this.#index, this.cost);
        this.#index = undefined;
    }
}

/** The topics of one participant's session, in both directions. */
export class PairTopics {
    #pair;
    #handlers;
    #budget;
    #sender;
    #receiver;
    #isClosed = false;

    /**
     * @param {Pair} pair
     * @param {Handlers} handlers
     * @param {ExchangeRecord} record of the topics before
     * @param {import("./receive-window.js").Budget} budget
     */
    constructor(pair, handlers, { topicSender, topicReceiver }, budget) {
        this.#pair = pair;
        this.#handlers = handlers;
        this.#sender = topicSender;
        this.#receiver = topicReceiver;
        this.#budget = budget;
    }

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
        const { outbox } = this.#pair;
        const giveUp = () => outbox.dropped(mayDrop);
        const result = publication.isLossy || !outbox.isWaiting(key) ? attempt() : giveUp();
        return result ? Promise.resolve(result) : outbox.waitForCredit(key, attempt, cancelled, signal, giveUp);
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
        if (isLossy) return this.#pair.outbox.sendExchange(head, body, "topics");
        if (this.#isClosed) return { type: "gone" };
        const start = this.#sender.begin(topic, body.length);
        if (start == "tooMany") return { type: "tooManyTopics" };
        if (start == "wait") return this.#pair.outbox.dropped(mayDrop) ?? { type: "windowClosed" };
        const outcome = this.#pair.outbox.sendExchange(head, body, "reliable", false, true, mayDrop);
        if (outcome.type != "accepted") this.#sender.undo(topic, body.length);
        return outcome;
    }

    // What comes: false where it cannot be used

    /** @param {string} topic @param {number} limit */
    windowReceived(topic, limit) {
        const grant = this.#sender.grant(topic, limit);
        if (grant) this.#pair.outbox.retry();
        return grant != undefined;
    }

    /**
     * The participant had given this side up, and has dropped what it had sent of a topic up to `sent`.
     * @param {Uint8Array} name
     * @param {number} sent
     */
    positionReceived(name, sent) {
        const index = this.#receiver.index(name, this.#budget);
        if (index != undefined && this.#receiver.skip(index, sent)) this.consumed(index, 0);
        return index != undefined;
    }

    /**
     * @param {{ value: Name, isText: boolean, body: number }} message
     * @param {Uint8Array} bytes
     * @param {boolean} isLossy
     */
    messageReceived({ value, isText, body }, bytes, isLossy) {
        const { participant } = this.#pair;
        const payload = bytes.subarray(body);
        if (isLossy) {
            const name = ExchangeMessage.nameText(bytes, value);
            this.#handlers.topic?.(new TopicArrival(this, undefined, participant, name, isText, payload));
            return true;
        }
        const index = this.#receiver.index(ExchangeMessage.nameBytes(bytes, value), this.#budget);
        // Too many topics, or beyond the window.
        if (index == undefined || !this.#receiver.receive(index, payload.length)) return false;
        const name = this.#receiver.name(index);
        const arrival = new TopicArrival(this, index, participant, name, isText, payload);
        if (!this.#handlers.topic?.(arrival)) arrival.consume();
        return true;
    }

    /**
     * Messages of a topic were consumed, which cost so much: the participant may send more.
     * @param {number} index
     * @param {number} cost
     */
    consumed(index, cost) {
        if (this.#isClosed || !this.#receiver.consume(index, cost)) return;
        const limit = this.#receiver.grant(index, this.#pair.now(), this.#budget);
        if (limit == undefined) return;
        this.#pair.outbox.sendWhole(ExchangeHead.topicWindow(this.#receiver.name(index), limit), "reliable");
    }

    /** The participant has left, or its session or ours is another one. */
    close() {
        this.#isClosed = true;
    }
}
