//# allFunctionsCalledOnLoad
// @ts-check
import { ExchangeHead } from "./exchange-message.js";
import { TopicReceiver, TopicSender } from "./topic-windows.js";

/** @typedef {import("./receive-window.js").Budget} Budget */

/**
 * The rest of the topics and requests between two sessions when one side has given up the other: the windows of topics
 * go on, and the other side, which may never have noticed, is told what was dropped and which requests have ended.
 */
export class ExchangeRecord {
    #hasRequests;

    /**
     * @param {TopicSender} [topicSender]
     * @param {TopicReceiver} [topicReceiver]
     * @param {{ newestID: number }} [outgoing] requests
     * @param {{ newestID: number }} [incoming]
     */
    constructor(topicSender = new TopicSender(), topicReceiver = new TopicReceiver(), outgoing, incoming) {
        this.topicSender = topicSender;
        this.topicReceiver = topicReceiver;
        /** The newest request of the other side. */
        this.lastRequest = incoming?.newestID ?? 0;
        this.#hasRequests = (outgoing?.newestID ?? 0) > 0 || this.lastRequest > 0;
    }

    /**
     * Returns the first messages to a participant that comes back with the session that it had, on the reliable
     * channel.
     * @param {number} first the lowest id of a request from now on
     * @param {Budget} budget
     */
    restart(first, budget) {
        // What was sent and has not arrived is dropped: it counts as consumed.
        const messages = this.topicSender.positions.map(({ name, sent }) => ExchangeHead.topicPosition(name, sent));
        for (const { name, limit } of this.topicReceiver.restart(budget)) {
            messages.push(ExchangeHead.topicWindow(name, limit));
        }
        if (this.#hasRequests) messages.push(ExchangeHead.requestRestart(first, this.lastRequest));
        return messages;
    }
}
