//# allFunctionsCalledOnLoad
// @ts-check
import { comparedUTF8, decodedText, hasSameBytes } from "./bytes.js";
import { ReceiveWindow, SendWindow } from "./receive-window.js";

/** @typedef {import("./receive-window.js").Budget} Budget */
/** @typedef {"begun" | "wait" | "tooMany"} Start `wait`: the receiver has not consumed enough. */

/** The limits of topics between two participants, in each direction. */
export const TopicLimits = {
    topics: 256,
    /** The cost of a message beside its body: what it takes to keep even an empty one. */
    overhead: 64,
    /** @param {number} count */
    cost: (count) => count + TopicLimits.overhead,
};

/** The topics on which this side sends to one participant, each with its window. */
export class TopicSender {
    /** @type {Map<string, SendWindow>} */
    #windows = new Map();
    #window;

    /** @param {number} [window] the first limit of each topic */
    constructor(window = ReceiveWindow.initialSize) {
        this.#window = window;
    }

    /**
     * A message with a body of so many bytes is to be sent.
     * @param {string} topic
     * @param {number} count
     * @returns {Start}
     */
    begin(topic, count) {
        let window = this.#windows.get(topic);
        if (!window) {
            if (this.#windows.size >= TopicLimits.topics) return "tooMany";
            this.#windows.set(topic, (window = new SendWindow(this.#window)));
        }
        return window.begin(TopicLimits.cost(count)) ? "begun" : "wait";
    }

    /**
     * The message that has begun was not taken.
     * @param {string} topic
     * @param {number} count
     */
    undo(topic, count) {
        this.#windows.get(topic)?.undo(TopicLimits.cost(count));
    }

    /**
     * Whether a message may begin.
     * @param {string} topic
     */
    isOpen(topic) {
        return this.#windows.get(topic)?.isOpen ?? true;
    }

    /**
     * The receiver grants more. Undefined: there is no such topic. True: those that wait for the topic may go on.
     * @param {string} topic
     * @param {number} limit
     */
    grant(topic, limit) {
        return this.#windows.get(topic)?.grant(limit);
    }

    /** The topics with what was sent of each, in the order of their UTF-8 bytes. */
    get positions() {
        return [...this.#windows].map(([name, { sent }]) => ({ name, sent }))
            .sort((left, right) => comparedUTF8(left.name, right.name));
    }
}

/** The topics on which one participant sends to this side, each with its window. */
export class TopicReceiver {
    /** @type {{ name: string, bytes: Uint8Array, window: ReceiveWindow }[]} */
    #entries = [];
    /** @type {Map<string, number>} */
    #indices = new Map();
    /** Most messages are of the same topic as the one before. */
    #recent = 0;
    #window;

    /** @param {number} [window] the first size of each topic's */
    constructor(window = ReceiveWindow.initialSize) {
        this.#window = window;
    }

    /**
     * Returns the number of a topic. Undefined: there are too many.
     * @param {Uint8Array} bytes the name
     * @param {Budget} budget
     */
    index(bytes, budget) {
        const recent = this.#entries[this.#recent];
        if (recent && hasSameBytes(recent.bytes, bytes)) return this.#recent;
        const name = decodedText(bytes) ?? "";
        let index = this.#indices.get(name);
        if (index == undefined) {
            if (this.#entries.length >= TopicLimits.topics) return undefined;
            index = this.#entries.length;
            this.#entries.push({ name, bytes: bytes.slice(), window: new ReceiveWindow(budget, this.#window) });
            this.#indices.set(name, index);
        }
        return (this.#recent = index);
    }

    /** @param {number} index */
    name(index) {
        return this.#entries[index].name;
    }

    /**
     * A message with a body of so many bytes has come. False: the sender has gone beyond its limit.
     * @param {number} index
     * @param {number} count
     */
    receive(index, count) {
        return this.#entries[index].window.receive(TopicLimits.cost(count));
    }

    /**
     * Messages of this cost in all were consumed. True: a grant is due.
     * @param {number} index
     * @param {number} cost
     */
    consume(index, cost) {
        return this.#entries[index].window.consume(cost);
    }

    /**
     * Moves the limit of a topic. Returns the new one, which is sent to the other side; undefined: none is due.
     * @param {number} index
     * @param {number} now
     * @param {Budget} budget
     */
    grant(index, now, budget) {
        return this.#entries[index].window.grant(now, 0, budget);
    }

    /**
     * The sender had given this side up, and has sent so much of a topic in all. False: that cannot be.
     * @param {number} index
     * @param {number} sent
     */
    skip(index, sent) {
        return this.#entries[index].window.skip(sent);
    }

    /**
     * Goes on with a budget of its own. Returns the topics with their limits.
     * @param {Budget} budget
     */
    restart(budget) {
        return this.#entries.map(({ name, window }) => ({ name, limit: window.restart(budget) }));
    }
}
