//# allFunctionsCalledOnLoad
// @ts-check
import { allChannels, channelOf, forEachChannel, isNumbered } from "./delivery-channel.js";
import { ReopeningBackoff } from "./reopening-backoff.js";

/** @typedef {import("./delivery-channel.js").Channel} Channel */
/** @typedef {import("./delivery-channel.js").Level} Level */
/** @typedef {import("./delivery-channel.js").ChannelParameters} ChannelParameters */
/**
 * @typedef {string | number} ChannelID The identifier of a data channel of one connection.
 * @typedef {{ type: "ignored" } | { type: "replaced", value: Channel, by: ChannelID }
 *   | { type: "reopen", value: Channel, after: number } | { type: "left", value: Channel }} Closing
 */

class Slot {
    /** @type {ChannelID | undefined} */
    id;
    isOpen = false;
    /** The channel has refused a frame and takes none until it is writable. */
    isBlocked = false;
    backoff = new ReopeningBackoff();
}

/**
 * The data channels of one peer connection that carry the room's channels: which are open, and when one is reopened.
 */
export class DeliveryChannels {
    static maximumExtras = 16;
    /** How much later than the opener the other side opens a channel, where it may. */
    static openersHeadStart = 1;

    #level;
    /** This side opens the channels: it is the offerer. */
    #isOpener = false;
    /** @type {Record<Channel, Slot>} */
    #slots = forEachChannel(() => new Slot());
    /**
     * Further data channels of the other side.
     * @type {{ id: ChannelID, channel: Channel }[]}
     */
    #extras = [];

    /** @param {Level} level */
    constructor(level) {
        this.#level = level;
    }

    /**
     * A new connection: nothing is open on it.
     * @param {boolean} isOpener
     */
    connectionBegan(isOpener) {
        this.#isOpener = isOpener;
        this.reset();
    }

    reset() {
        for (const slot of Object.values(this.#slots)) {
            slot.id = undefined;
            slot.isOpen = false;
            slot.isBlocked = false;
        }
        this.#extras = [];
    }

    /** @param {Channel} channel */
    isOpen(channel) {
        return this.#slots[channel].isOpen;
    }

    /** @param {Channel} channel */
    id(channel) {
        return this.#slots[channel].id;
    }

    /**
     * Returns the data channel to send on; undefined while it takes nothing.
     * @param {Channel} channel
     */
    writable(channel) {
        const slot = this.#slots[channel];
        return slot.isOpen && !slot.isBlocked ? slot.id : undefined;
    }

    /**
     * Returns the channel that a data channel carries.
     * @param {ChannelID} id
     */
    channel(id) {
        return this.#primary(id) ?? this.#extras.find((extra) => extra.id == id)?.channel;
    }

    /** @param {ChannelID} id */
    #primary(id) {
        for (const channel of allChannels) if (this.#slots[channel].id === id) return channel;
        return undefined;
    }

    /**
     * This side has asked for a data channel.
     * @param {Channel} channel
     * @param {ChannelID} id
     */
    opening(channel, id) {
        this.#slots[channel].id = id;
    }

    /**
     * A data channel is open. Returns the channel if it carries it from now on.
     * @param {ChannelID} id
     * @param {ChannelParameters} parameters
     */
    opened(id, parameters) {
        const channel = channelOf(parameters, this.#level);
        if (!channel) return undefined;
        const slot = this.#slots[channel];
        // Numbered streams begin anew on the newest one; that the one before has ended may be told later.
        if (slot.isOpen && slot.id !== id && !isNumbered(this.#level, channel)) {
            if (this.#extras.length < DeliveryChannels.maximumExtras) this.#extras.push({ id, channel });
            return undefined;
        }
        this.#use(id, channel);
        return channel;
    }

    /** @param {ChannelID} id @param {Channel} channel */
    #use(id, channel) {
        const slot = this.#slots[channel];
        slot.id = id;
        slot.isOpen = true;
        slot.isBlocked = false;
    }

    /**
     * A data channel has ended.
     * @param {ChannelID} id
     * @param {number} now
     * @returns {Closing}
     */
    closed(id, now) {
        const extra = this.#extras.findIndex((extra) => extra.id === id);
        if (extra >= 0) {
            this.#extras.splice(extra, 1);
            return { type: "ignored" };
        }
        const channel = this.#primary(id);
        if (!channel) return { type: "ignored" };
        this.#slots[channel].isOpen = false;
        this.#slots[channel].id = undefined;
        const next = this.#extras.findIndex((extra) => extra.channel == channel);
        if (next >= 0) {
            const [{ id }] = this.#extras.splice(next, 1);
            this.#use(id, channel);
            return { type: "replaced", value: channel, by: id };
        }
        const after = this.reopenDelay(channel, now);
        return after == undefined ? { type: "left", value: channel } : { type: "reopen", value: channel, after };
    }

    /**
     * Returns when to open the channel again. The side that opened it does; the other one only where it makes no
     * difference when both do.
     * @param {Channel} channel
     * @param {number} now
     */
    reopenDelay(channel, now) {
        if (!this.#isOpener && isNumbered(this.#level, channel)) return undefined;
        return this.#slots[channel].backoff.delay(now) + (this.#isOpener ? 0 : DeliveryChannels.openersHeadStart);
    }

    /**
     * A frame was refused with `wouldBlock`.
     * @param {Channel} channel
     */
    blocked(channel) {
        this.#slots[channel].isBlocked = true;
    }

    /**
     * The data channel takes frames again. Returns the channel that it carries.
     * @param {ChannelID} id
     */
    writableAgain(id) {
        const channel = this.#primary(id);
        if (channel) this.#slots[channel].isBlocked = false;
        return channel;
    }

    /**
     * The channel does not take what it should. Returns the data channel to close.
     * @param {Channel} channel
     */
    failed(channel) {
        this.#slots[channel].isOpen = false;
        return this.#slots[channel].id;
    }
}
