//# allFunctionsCalledOnLoad
import { minus, plus } from "./time.js";

/** @typedef {import("./peer-types.js").RecoveryConfiguration} RecoveryConfiguration */
/** @typedef {import("./peer-types.js").Signal} Signal */

class Bucket {
    #headStart;
    #interval;
    /** When as many offers as the burst are allowed again. */
    #fullAt = 0;

    /** @param {number} burst @param {number} interval */
    constructor(burst, interval) {
        this.#headStart = interval * (burst - 1);
        this.#interval = interval;
    }

    /** When the next one is allowed. */
    get nextAt() {
        return minus(this.#fullAt, this.#headStart);
    }

    /** @param {number} now */
    take(now) {
        this.#fullAt = plus(Math.max(this.#fullAt, now), this.#interval);
    }
}

/**
 * Decides when an offer of another participant is answered. Each one costs a new connection, so that their number per
 * second is limited: of each participant, and of all together.
 *
 * An offer that comes too soon waits. Of one participant only the newest does: the ones before it are dropped, and
 * nothing was made for them. Those who wait take their turns in the order in which they began to wait.
 */
export class OfferPace {
    #configuration;
    #all;
    /** @type {Map<string, Bucket>} */
    #buckets = new Map();
    /**
     * In the order in which they began to wait.
     * @type {Signal[]}
     */
    #waiting = [];

    /** @param {RecoveryConfiguration} configuration */
    constructor(configuration) {
        this.#configuration = configuration;
        this.#all = new Bucket(configuration.offerBurstOfAll, configuration.offerIntervalOfAll);
    }

    /** When `next` has something to hand out; undefined while nobody waits. */
    get nextDeadline() {
        const times = this.#waiting.map((offer) => this.#nextAt(offer.peer));
        return times.length ? Math.min(...times) : undefined;
    }

    /**
     * Whether the offer may be answered now. If not, it waits.
     * @param {Signal} offer @param {number} now
     */
    admits(offer, now) {
        const index = this.#waiting.findIndex((other) => other.peer === offer.peer);
        if (index >= 0) {
            const before = this.#waiting[index];
            // What comes late of the same connection supersedes nothing.
            if (before.connection !== offer.connection || before.negotiation < offer.negotiation)
                this.#waiting[index] = offer;
            return false;
        }
        if (this.#nextAt(offer.peer) > now) {
            this.#waiting.push(offer);
            return false;
        }
        this.#take(offer.peer, now);
        return true;
    }

    /**
     * The next of those who wait, when its time has come.
     * @param {number} now
     */
    next(now) {
        const index = this.#waiting.findIndex((offer) => this.#nextAt(offer.peer) <= now);
        if (index < 0) return undefined;
        const [offer] = this.#waiting.splice(index, 1);
        this.#take(offer.peer, now);
        return offer;
    }

    /**
     * The participant is gone.
     * @param {string} participant
     */
    forget(participant) {
        this.#buckets.delete(participant);
        this.#waiting = this.#waiting.filter((offer) => offer.peer !== participant);
    }

    /** @param {string} participant */
    #nextAt(participant) {
        return Math.max(this.#all.nextAt, this.#buckets.get(participant)?.nextAt ?? 0);
    }

    /** @param {string} participant @param {number} now */
    #take(participant, now) {
        const { offerBurst, offerInterval } = this.#configuration;
        const bucket = this.#buckets.get(participant) ?? new Bucket(offerBurst, offerInterval);
        this.#buckets.set(participant, bucket);
        this.#all.take(now);
        bucket.take(now);
    }
}
