//# allFunctionsCalledOnLoad
import { RequestFailure } from "./errors.js";
import { Mailbox } from "./waiting.js";
/**
 * @typedef {import("./pair-topics.js").TopicArrival} TopicArrival
 * @typedef {import("./pair-requests.js").Request} Request
 * @typedef {{ payload: import("./room.js").Sendable, isText?: boolean }} Answer
 * @typedef {(request: Request) => Promise<Answer>} Handler
 * @typedef {{ arrival: TopicArrival, readers: number }} Entry `readers`: subscriptions that have not read it.
 */

/** Seconds after the join in which a request waits for its handler: the program may only be about to register it. */
const grace = 0.5;
/** The cost of the lossy messages that one subscription keeps. */
const lossyLimit = 262144;

/**
 * One subscription to a topic: its messages in order, each kept until it is read.
 * @extends {Mailbox<Entry>}
 */
class Subscription extends Mailbox {
    #lossyCost = 0;
    #onReturn;

    /** @param {(subscription: Subscription) => void} onReturn */
    constructor(onReturn) {
        super();
        this.#onReturn = onReturn;
    }

    /** @param {Entry} entry */
    keep(entry) {
        const { arrival } = entry;
        if (arrival.isLossy) {
            // The oldest make room, unless reliable messages of the same topic stand before them.
            while (this.#lossyCost + arrival.cost > lossyLimit && this.values[0]?.arrival.isLossy) this.take();
            if (this.#lossyCost + arrival.cost > lossyLimit && this.#lossyCost > 0) return;
            this.#lossyCost += arrival.cost;
        }
        super.keep(entry);
    }

    take() {
        const entry = super.take();
        if (entry?.arrival.isLossy) this.#lossyCost -= entry.arrival.cost;
        if (entry && --entry.readers == 0) entry.arrival.consume();
        return entry;
    }

    return() {
        while (this.take());
        this.#onReturn(this);
        return super.return();
    }
}

/** The topics that this room's application subscribes to, and the methods that it handles. */
export class RoomExchange {
    /** @type {Map<string, Set<Subscription>>} */
    #subscriptions = new Map();
    /** @type {Map<string, Handler>} */
    #handlers = new Map();
    /**
     * Requests that wait for their handlers.
     * @type {Map<string, (() => void)[]>}
     */
    #early = new Map();
    /** @type {number | undefined} */
    #graceEnd;
    #hasEnded = false;
    #now;
    #schedule;

    /**
     * @param {() => number} now
     * @param {import("./pair-types.js").Schedule} schedule
     */
    constructor(now, schedule) {
        this.#now = now;
        this.#schedule = schedule;
    }

    /** The room is joined: from now on handlers should be there soon. */
    joined() { this.#graceEnd ??= this.#now() + grace; }

    /** The room has ended: no message comes any more, and those that have come can still be read. */
    end() {
        this.#hasEnded = true;
        this.#handlers.clear();
        for (const subscriptions of this.#subscriptions.values()) for (const one of subscriptions) one.finish();
        this.#subscriptions.clear();
    }

    /**
     * Takes a message of a topic. False: nobody subscribes.
     * @param {TopicArrival} arrival
     */
    topic(arrival) {
        const subscriptions = this.#subscriptions.get(arrival.topic);
        if (!subscriptions) return false;
        const entry = { arrival, readers: subscriptions.size };
        for (const subscription of [...subscriptions]) subscription.push(entry);
        return true;
    }

    /** @param {string} topic */
    subscribe(topic) {
        const subscription = new Subscription((subscription) => {
            const others = this.#subscriptions.get(topic);
            others?.delete(subscription);
            if (others?.size == 0) this.#subscriptions.delete(topic);
        });
        if (this.#hasEnded) {
            subscription.finish();
        } else {
            const others = this.#subscriptions.get(topic) ?? new Set();
            this.#subscriptions.set(topic, others.add(subscription));
        }
        return subscription;
    }

    /**
     * Answers a request. Throws a `RequestFailure` when nobody handles the method.
     * @param {Request} request
     * @returns {Promise<Answer>}
     */
    async request(request) {
        const { method } = request;
        const wait = (this.#graceEnd ?? this.#now() + grace) - this.#now();
        if (!this.#handlers.has(method) && wait > 0) {
            await new Promise((resolve) => {
                const cancel = this.#schedule(wait, () => resolve(undefined));
                const early = this.#early.get(method) ?? [];
                early.push(() => {
                    cancel();
                    resolve(undefined);
                });
                this.#early.set(method, early);
            });
        }
        const handler = this.#handlers.get(method);
        if (!handler) throw new RequestFailure("unknown_method", "this participant handles no method of this name");
        return handler(request);
    }

    /**
     * Registers a handler. Returns how it is removed; undefined: the method has one already.
     * @param {string} method
     * @param {Handler} handler
     */
    addHandler(method, handler) {
        if (this.#handlers.has(method)) return undefined;
        if (!this.#hasEnded) this.#handlers.set(method, handler);
        for (const proceed of this.#early.get(method) ?? []) proceed();
        this.#early.delete(method);
        return () => { if (this.#handlers.get(method) == handler) this.#handlers.delete(method); };
    }
}
