//# allFunctionsCalledOnLoad
import { decodedText } from "./bytes.js";
import { RoomError } from "./errors.js";
import { reportOn } from "./send-report.js";
import { isValidName } from "./values.js";
/**
 * @typedef {import("./pair.js").Pair} Pair
 * @typedef {import("./room-exchange.js").RoomExchange} RoomExchange
 */

/** A named stream of messages inside a room. */
export class Topic {
    #codec;
    #exchange;
    #pairs;

    /**
     * @param {string} name
     * @param {"reliable" | "lossy"} reliability
     * @param {import("./room.js").MessageCodec<any> | undefined} codec
     * @param {RoomExchange} exchange
     * @param {(to: string | undefined, signal?: AbortSignal) => Promise<Pair[]>} pairs
     */
    constructor(name, reliability, codec, exchange, pairs) {
        this.name = name;
        this.reliability = reliability;
        this.#codec = codec;
        this.#exchange = exchange;
        this.#pairs = pairs;
    }

    /**
     * Publishes to everybody in the room, or to one participant.
     * @param {any} value
     * @param {{ to?: string, signal?: AbortSignal }} options
     */
    async publish(value, { to, signal } = {}) {
        if (!isValidName(this.name)) throw new RoomError("configuration", "the name of a topic has 1 to 64 bytes");
        const codec = this.#codec;
        const publication = {
            topic: this.name, payload: codec ? codec.encode(value) : value, isLossy: this.reliability == "lossy",
            isText: codec ? !!codec.isText : undefined,
        };
        const pairs = await this.#pairs(to, signal);
        const results = await Promise.all(pairs.map(async (pair) => ({
            participant: pair.participant,
            outcome: await pair.exchange.topics.publish(publication, { mayDrop: to === undefined, signal }),
        })));
        return reportOn(results, publication.isLossy, to);
    }

    /**
     * Subscribes: the messages that come from now on. Those that the codec cannot decode are skipped.
     * @returns {AsyncIterableIterator<import("./room.js").TopicMessage<any>>}
     */
    messages() {
        const subscription = this.#exchange.subscribe(this.name);
        const codec = this.#codec;
        return {
            async next() {
                while (true) {
                    const { done, value } = await subscription.next();
                    if (done) return { done: true, value: undefined };
                    const { from, isText, payload } = value.arrival;
                    try {
                        if (codec) return { done: false, value: { from, isText, value: codec.decode(payload) } };
                    } catch {
                        continue;
                    }
                    return { done: false, value: { from, isText, value: payload, text: decodedText(payload) } };
                }
            },
            async return() {
                await subscription.return();
                return { done: true, value: undefined };
            },
            [Symbol.asyncIterator]() { return this; },
        };
    }
}
