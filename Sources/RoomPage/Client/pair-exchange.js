//# allFunctionsCalledOnLoad
// @ts-check
import { ExchangeMessage } from "./exchange-message.js";
import { ExchangeRecord } from "./exchange-record.js";
import { PairRequests } from "./pair-requests.js";
import { PairTopics } from "./pair-topics.js";
import { Budget } from "./receive-window.js";

/** @typedef {import("./delivery-channel.js").Channel} Channel */
/** @typedef {import("./pair.js").Pair} Pair */
/** @typedef {import("./pair-types.js").Handlers} Handlers */
/** @typedef {import("./pair-types.js").Schedule} Schedule */

/** Topics and requests with one participant's session. It lives as long as the pair, and ends with it. */
export class PairExchange {
    #pair;
    #record;

    /**
     * @param {Pair} pair
     * @param {Handlers} handlers
     * @param {Schedule} schedule
     * @param {number} base the ids of requests begin after it
     * @param {ExchangeRecord} [record] of the topics and requests before, which ended for this side only
     */
    constructor(pair, handlers, schedule, base, record = new ExchangeRecord()) {
        const budget = new Budget();
        const messages = record.restart(base + 1, budget);
        this.#pair = pair;
        this.#record = record;
        this.topics = new PairTopics(pair, handlers, record, budget);
        // The other side may still have requests of an earlier pair in the same sessions.
        this.requests = new PairRequests(pair, handlers, schedule, base, record.lastRequest);
        for (const message of messages) pair.outbox.sendWhole(message, "reliable");
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
        const { topics, requests } = this;
        if (message.type == "topicMessage") {
            return channel != "bulk" && topics.messageReceived(message, bytes, channel == "topics");
        }
        const { byteStreams } = this.#pair;
        if (ofStreams.includes(message.type)) return byteStreams?.received(message, bytes, channel) ?? false;
        if (channel != "reliable") return false;
        switch (message.type) {
            case "topicWindow":
                return topics.windowReceived(ExchangeMessage.nameText(bytes, message.value), message.limit);
            case "topicPosition":
                return topics.positionReceived(ExchangeMessage.nameBytes(bytes, message.value), message.sent);
            case "request":
                return requests.requested(message, bytes);
            case "answer":
                requests.answered(message.id, { type: "answer", payload: bytes.subarray(message.body) });
                break;
            case "failure":
                requests.answered(message.id, message);
                break;
            case "cancel":
                requests.cancelled(message.id);
                break;
            case "requestRestart":
                requests.restarted(message.first, message.last);
        }
        return true;
    }

    /**
     * The participant has left, or its session or ours is another one: nothing comes any more. Returns what is to be
     * remembered if it comes back.
     */
    close() {
        const { topicSender, topicReceiver } = this.#record;
        const { outgoing, incoming } = this.requests;
        const record = new ExchangeRecord(topicSender, topicReceiver, outgoing, incoming);
        this.topics.close();
        this.requests.close();
        return record;
    }
}

const ofStreams = ["open", "data", "end", "reset", "window", "stop", "finished", "restart"];
