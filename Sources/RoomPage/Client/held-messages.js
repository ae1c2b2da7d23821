//# allFunctionsCalledOnLoad
// @ts-check
import { readU32 } from "./bytes.js";
import { dataHeaderLength } from "./delivery-protocol.js";
/**
 * @typedef {import("./delivery-channel.js").Channel} Channel
 * @typedef {Uint8Array | string} Message
 *
 * @typedef {object} HolderEvents
 * @property {(channel: Channel) => boolean} isNumbered
 * @property {(data: Message, channel: Channel) => void} handle Takes a message that is not held, or no longer.
 * @property {(ack: number, channel: Channel) => void} acknowledged A held message says this of the other direction.
 * @property {(reason: string) => void} broken Close the peer connection.
 */

/** Beside its bytes, of a message that is held. */
const overhead = 64;

/** @param {Message} data */
const costOf = (data) => data.length + overhead;

/**
 * What came on channels that the application does not read. It is kept, unacknowledged, so that the sender's buffer
 * fills and it waits. What is too much to be kept is sent again, over a connection that is made when the rest was read.
 */
export class HeldMessages {
    #limit;
    #events;
    /** @type {Map<Channel, Message[]>} */
    #held = new Map();
    #bytes = 0;
    /**
     * Numbered channels of which not everything was kept.
     * @type {Set<Channel>}
     */
    #overflowed = new Set();

    /** @param {number} limit @param {HolderEvents} events */
    constructor(limit, events) {
        this.#limit = limit;
        this.#events = events;
    }

    /**
     * Whether the application takes messages of a channel.
     * @param {boolean} isReceiving @param {Channel} channel
     */
    setReceiving(isReceiving, channel) {
        const held = this.#held.get(channel);
        if (!isReceiving && !held) this.#held.set(channel, []);
        if (!isReceiving || !held) return;
        this.#held.delete(channel);
        let count = 0;
        while (count < held.length && !this.#held.has(channel)) {
            const data = held[count++];
            this.#bytes -= costOf(data);
            this.#events.handle(data, channel);
        }
        held.splice(0, count);
        // It has had enough again.
        if (this.#held.has(channel)) this.#held.set(channel, held);
        else if (this.#overflowed.delete(channel)) this.#events.broken("more came than was kept while nobody read");
    }

    /**
     * A message has come. False: its channel is read.
     * @param {Message} data @param {Channel} channel
     */
    take(data, channel) {
        const held = this.#held.get(channel);
        if (!held) return false;
        if (this.#events.isNumbered(channel) && data instanceof Uint8Array) {
            // Acknowledgements, hints and the resume frame of a new channel carry no message.
            if (![2, 3, 4, 7].includes(data[0]) || data.length < dataHeaderLength) return false;
            // What it says of the other direction counts at once: two that read nothing must not wait for each other.
            this.#events.acknowledged(readU32(data, 5), channel);
            if (this.#bytes + costOf(data) > this.#limit) this.#overflowed.add(channel);
            if (this.#overflowed.has(channel)) return true;
        }
        this.#bytes += costOf(data);
        held.push(data);
        if (this.#bytes > this.#limit) {
            this.drop(channel);
            this.#events.broken("more came than the other side may send while nobody reads");
        }
        return true;
    }

    /**
     * Forgets what came on a numbered channel and was not read: it was not acknowledged.
     * @param {Channel} channel
     */
    drop(channel) {
        const held = this.#held.get(channel);
        if (!held || !this.#events.isNumbered(channel)) return;
        this.#overflowed.delete(channel);
        for (const data of held.splice(0)) this.#bytes -= costOf(data);
    }

    /** The connection has ended. */
    detached() { for (const channel of this.#held.keys()) this.drop(channel); }

    clear() { this.#held.clear(); }
}
