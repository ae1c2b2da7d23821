//# allFunctionsCalledOnLoad
// @ts-check
import { forEachChannel } from "./delivery-channel.js";

/** @typedef {import("./delivery-channel.js").Channel} Channel */

const zeros = () => forEachChannel(() => 0);

/** How far the plain channels have come: which of their frames a connection has taken. */
export class PlainProgress {
    /** The last number that a connection has taken, or that was dropped. */
    #done = zeros();
    /** Bytes that the present data channel has taken. */
    #takenBytes = zeros();
    /** Up to which number the outbox was told to release frames. */
    #released = zeros();

    /**
     * Another data channel carries this one from now on, or none does.
     * @param {Channel} channel
     */
    dataChannelChanged(channel) { this.#takenBytes[channel] = 0; }

    /** The connection has ended. */
    detached() { this.#takenBytes = zeros(); }

    /** @param {number} sequence @param {number} count @param {Channel} channel */
    taken(sequence, count, channel) {
        this.#takenBytes[channel] += count;
        this.dropped(sequence, channel);
    }

    /** @param {number} sequence @param {Channel} channel */
    dropped(sequence, channel) { this.#done[channel] = sequence; }

    /**
     * Up to which number frames can be released; undefined: none since the last call.
     * @param {Channel} channel
     */
    takeReleasable(channel) {
        if (this.#done[channel] == this.#released[channel]) return undefined;
        return (this.#released[channel] = this.#done[channel]);
    }

    /**
     * Bytes that the transport's other side has acknowledged. `buffered`: those that it has not.
     * @param {Channel} channel @param {number} buffered
     */
    acknowledgedBytes(channel, buffered) { return this.#takenBytes[channel] - buffered; }
}
