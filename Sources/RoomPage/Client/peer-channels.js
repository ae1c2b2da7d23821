//# allFunctionsCalledOnLoad
import { waterMarks } from "./delivery-channel.js";
import { utf8Length } from "./values.js";
/**
 * @typedef {import("./delivery-channel.js").ChannelParameters} ChannelParameters
 *
 * @typedef {object} ChannelEvents
 * @property {(channel: RTCDataChannel) => void} opened
 * @property {(channel: RTCDataChannel, data: string | Uint8Array) => void} received
 * @property {(label: string) => void} writable The channel in use has few bytes left to send.
 * @property {(channel: RTCDataChannel) => void} closed
 * @property {(error: RTCError | undefined) => void} failed
 */

/** The label of the channel for probes that nobody waits for, and of the one for probes that are hints. */
const [topicsLabel, reliableLabel] = ["room.topics", "room.reliable"];
/** A message of an unknown kind, and an unknown hint: both are ignored by the other side, and acknowledged by SCTP. */
const [unknownMessage, unknownHint] = [new Uint8Array([0]), new Uint8Array([6, 0])];

/** Channels get the lowest numbers. Towards a stack with fewer streams there is no nudge. */
const unusedStream = 255;

/**
 * @param {RTCDataChannel} channel
 * @returns {ChannelParameters}
 */
export const parametersOf = ({ label, protocol, ordered, maxRetransmits, maxPacketLifeTime }) => ({
    label, protocol, isOrdered: ordered,
    reliability: maxRetransmits != null ? { type: "retransmissions", value: maxRetransmits }
        : maxPacketLifeTime != null ? { type: "lifetime", milliseconds: maxPacketLifeTime } : { type: "reliable" },
});

/** The data channels of one peer connection, of both sides. Of several with the same label the newest is in use. */
export class PeerChannels {
    #events;
    /**
     * The living channels of each label; the last one is in use.
     * @type {Map<string, RTCDataChannel[]>}
     */
    #living = new Map();
    /**
     * All channels that have not ended.
     * @type {Set<RTCDataChannel>}
     */
    #adopted = new Set();

    /** For display. */
    counts = { messagesSent: 0, messagesReceived: 0, bytesSent: 0, bytesReceived: 0 };

    /** @param {ChannelEvents} events */
    constructor(events) { this.#events = events; }

    /** @param {RTCPeerConnection} connection @param {ChannelParameters} parameters */
    open(connection, { label, protocol, isOrdered, reliability }) {
        this.adopt(connection.createDataChannel(label, {
            protocol, ordered: isOrdered,
            ...(reliability.type == "retransmissions" && { maxRetransmits: reliability.value }),
            ...(reliability.type == "lifetime" && { maxPacketLifeTime: reliability.milliseconds }),
        }));
    }

    /**
     * Takes a channel of either side into use when it is open. Its handlers are set in the task that made it.
     * @param {RTCDataChannel} channel
     */
    adopt(channel) {
        const { opened, writable, closed, failed } = this.#events;
        const { label } = channel;
        this.#adopted.add(channel);
        channel.binaryType = "arraybuffer";
        channel.bufferedAmountLowThreshold = waterMarks(label).low;
        /**
         * Messages that came before it was open.
         * @type {(string | ArrayBuffer)[]}
         */
        const early = [];
        const isLiving = () => this.#living.get(label)?.includes(channel);
        channel.onopen = () => {
            if (isLiving()) return;
            this.#living.set(label, [...this.#living.get(label) ?? [], channel]);
            opened(channel);
            for (const data of early.splice(0)) this.#received(channel, data);
        };
        channel.onmessage = ({ data }) => {
            if (isLiving()) this.#received(channel, data);
            else early.push(data);
        };
        channel.onbufferedamountlow = () => this.inUse(label) === channel && writable(label);
        channel.onclose = () => closed(channel);
        channel.onerror = (event) => failed(/** @type {any} */ (event).error);
        if (channel.readyState == "open") channel.onopen(new Event("open"));
    }

    /** @param {RTCDataChannel} channel @param {string | ArrayBuffer} data */
    #received(channel, data) {
        const bytes = typeof data == "string" ? data : new Uint8Array(data);
        this.counts.messagesReceived += 1;
        this.counts.bytesReceived += bytes.length;
        this.#events.received(channel, bytes);
    }

    /**
     * Sends a message over the channel in use. Returns why not.
     * @param {string} label @param {Uint8Array | string} data @param {number} maximum
     */
    send(label, data, maximum) {
        const channel = this.inUse(label);
        if (!channel) return "closed";
        // Of its end the delivery is told by the event, which follows.
        if (channel.readyState != "open") return "wouldBlock";
        const length = typeof data == "string" ? utf8Length(data) : data.length;
        if (length > maximum) return "messageTooLarge";
        try {
            channel.send(/** @type {any} */ (data));
        } catch (error) {
            return /** @type {any} */ (error)?.name == "OperationError" ? "wouldBlock" : "closed";
        }
        this.counts.messagesSent += 1;
        this.counts.bytesSent += length;
        return undefined;
    }

    /** @param {string} label */
    inUse(label) { return this.#living.get(label)?.slice(-1)[0]; }

    /**
     * The channel has ended. Returns whether another one is in use now, or none.
     * @param {RTCDataChannel} channel
     */
    remove(channel) {
        const { label } = channel;
        this.#adopted.delete(channel);
        const wasInUse = this.inUse(label) === channel;
        const rest = this.#living.get(label)?.filter((other) => other !== channel) ?? [];
        // The other side chooses the labels.
        if (rest.length) this.#living.set(label, rest);
        else this.#living.delete(label);
        return wasInUse || !rest.length;
    }

    /** Sends what nobody reads and SCTP acknowledges. */
    probe() {
        const topics = this.inUse(topicsLabel);
        const reliable = this.inUse(reliableLabel);
        try {
            if (topics) topics.send(unknownMessage);
            // What waits to be sent is a probe as well, and is repeated.
            else if (reliable && !reliable.bufferedAmount) reliable.send(unknownHint);
        } catch {
            // It is closing.
        }
    }

    /**
     * Sends something at once over a new path: the end of a stream that nobody uses, which does not wait for what was
     * sent before (RFC 6525 §4.1). Chromium, where it does not control, uses a path when something has come over it.
     * Until then what it repeats goes over the old one, where Firefox ignores it, and is repeated up to 3 s later.
     * @param {RTCPeerConnection} connection
     */
    nudge(connection) {
        try {
            connection.createDataChannel("", { negotiated: true, id: unusedStream }).close();
        } catch {
            // The last one has not been answered.
        }
    }

    /** The connection has ended: nothing of the channels is reported any more. */
    release() {
        for (const channel of this.#adopted) {
            channel.onopen = channel.onmessage = channel.onclose = channel.onerror = channel.onbufferedamountlow = null;
        }
        this.#adopted.clear();
        this.#living.clear();
    }
}
