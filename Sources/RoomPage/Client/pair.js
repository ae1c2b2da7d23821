//# allFunctionsCalledOnLoad
// @ts-check
import { utf8 } from "./bytes.js";
import { channelOf, channelParameters, channelsAt, isNumbered, keepsNothing, levelOf } from "./delivery-channel.js";
import { DeliveryLink } from "./delivery-link.js";
import { DeliveryMachine } from "./delivery-machine.js";
import { encodeHint, encodeResume, exchangeCapability, messageLimit } from "./delivery-protocol.js";
import { sendFrames, transmit } from "./frame-sending.js";
import { HeldMessages } from "./held-messages.js";
import { DeliveryOutbox } from "./delivery-outbox.js";
import { NumberedStreams } from "./numbered-stream.js";
import { RoomMessage } from "./room-message.js";
import { SharedOutbox } from "./shared-outbox.js";
import { plus } from "./time.js";
import { Timers } from "./timers.js";

/** @typedef {import("./delivery-channel.js").Channel} Channel */
/** @typedef {import("./delivery-channel.js").ChannelParameters} ChannelParameters */
/** @typedef {import("./delivery-outbox.js").PeerStatus} PeerStatus */
/** @typedef {import("./delivery-protocol.js").Hint} Hint */
/** @typedef {import("./delivery-types.js").Action} Action */
/** @typedef {import("./delivery-types.js").TimerID} TimerID */

/**
 * Bytes of bulk after which an acknowledgement is sent at once. The timers of a page in the background are late by a
 * second, in which a sender with little under way would wait.
 */
const bulkAckBytes = 32_768;

/**
 * Everything of one participant in its session above the data channels: messages, topics, requests and streams. It
 * outlives peer connections. Facts come in by `attached` … `received`, in the order in which they happen.
 */
export class Pair {
    /** Messages that were ignored: malformed, or for nobody. */
    ignoredCount = 0;
    #link;
    #handlers;
    #schedule;
    #delivery;
    #outbox;
    #isAttached = false;
    #timers;
    #held;
    /** Bytes of bulk that have come since the last acknowledgement of its own. */
    #bulkBytes = 0;

    /** @param {import("./pair-types.js").PairOptions} options */
    constructor(options) {
        const { configuration, extras } = options;
        const capabilities = options.capabilities.filter((name) => extras || name != exchangeCapability);
        this.participant = options.participant ?? options.peerSession;
        this.streams = options.streams ?? new NumberedStreams(options.ownSession, options.peerSession);
        this.level = levelOf(capabilities);
        /** The present time, in whole nanoseconds. */
        this.now = () => plus(options.now(), 0);
        this.#schedule = options.schedule;
        this.#timers = new Timers(options.schedule);
        this.#link = options.link;
        this.#handlers = options.handlers;
        const { sendLimit: buffer, maximumMessageSize } = configuration;
        // The other side may have a larger buffer than this one.
        this.#held = new HeldMessages(4 * buffer + maximumMessageSize, {
            isNumbered: (channel) => isNumbered(this.level, channel),
            handle: (data, channel) => this.#handle(data, channel),
            acknowledged: (ack, channel) => {
                this.streams.stream(channel).machine.ackReceived(ack);
                this.#release(channel);
            },
            broken: (reason) => this.#handlers.broken(reason),
        });
        const message = Math.min(maximumMessageSize, messageLimit(capabilities) ?? maximumMessageSize);
        this.#delivery = new DeliveryLink(this.streams, this.level, maximumMessageSize, configuration.stall);
        this.#outbox = new DeliveryOutbox(this.level, this.streams, { buffer, message });
        /** The messages to the participant. */
        this.outbox = new SharedOutbox(
            this.#outbox, options.schedule, options.handlers, (channel) => this.#drain(channel),
            () => this.#isAttached && this.#delivery.unacknowledgedChannels(this.#buffered).length > 0);
        /** Topics and requests. There is none where there are only messages. */
        this.exchange = /** @type {import("./pair-exchange.js").PairExchange} */ (extras && new extras.PairExchange(
            this, options.handlers, options.schedule, options.requestBase ?? 0, this.streams.exchange));
        /** The streams of bytes; undefined where the other side has none. */
        this.byteStreams = extras && this.hasExchange
            ? new extras.PairStreams(this, options.handlers, this.streams.record) : undefined;
    }

    /** Whether topics, requests and streams are possible. */
    get hasExchange() { return this.level == "exchange"; }

    /** The reliable channel can carry data, both ways. */
    get isReady() { return this.#delivery.isReady; }

    /** The session of the participant has ended. */
    get isGone() { return this.#outbox.isGone; }

    /** The participant has said that it leaves. */
    get isLeaving() { return this.#delivery.isLeaving; }

    // Messages

    /** @type {SharedOutbox["send"]} */
    send(payload, options) { return this.outbox.send(payload, options); }

    /** @type {SharedOutbox["trySend"]} */
    trySend(payload, options) { return this.outbox.trySend(payload, options); }

    /** @type {SharedOutbox["flush"]} */
    flush(options) { return this.outbox.flush(options); }

    // The connection

    /**
     * A new peer connection took the place of the last one. Its channels are opened by the offerer.
     * @param {boolean} isOpener
     */
    attached(isOpener) {
        this.detached();
        if (this.isGone) return;
        this.#isAttached = true;
        for (const value of this.#delivery.attached(isOpener)) this.#perform([{ type: "openChannel", value }]);
    }

    /** The peer connection is no more. What was not acknowledged is kept for the next one. */
    detached() {
        if (!this.#isAttached) return;
        this.#isAttached = false;
        this.#held.detached();
        this.#delivery.detached();
        this.#timers.cancelAll();
        const dropped = this.#outbox.connectionEnded();
        if (dropped > 0) this.#handlers.lossyDropped?.(dropped);
        this.outbox.changed();
    }

    /** The transport is connected: lossy messages are taken from now on. */
    connected() { if (this.#isAttached) this.#outbox.connected(this.#link.maximumMessageSize()); }

    /**
     * The participant's status has changed, as the machines of its peer connection see it.
     * @param {PeerStatus} status
     */
    statusChanged(status) {
        const lost = this.#delivery.statusChanged(status, this.#outbox);
        if (lost > 0) this.#handlers.undelivered?.(lost);
        this.outbox.changed();
    }

    /**
     * The participant has left, or its session or ours is another one: everything is given up. `streams` can be stored
     * in a `DeliveryMemory`. Returns the number of messages that are given up.
     */
    ended() {
        if (this.isGone) return 0;
        this.detached();
        const lost = this.#delivery.close(this.#outbox);
        this.#held.clear();
        if (this.exchange) this.streams.exchange = this.exchange.close();
        if (this.byteStreams) this.streams.record = this.byteStreams.close();
        this.outbox.ended();
        if (lost > 0) this.#handlers.undelivered?.(lost);
        return lost;
    }

    // Channels

    /**
     * A data channel is open. By default its parameters are those that its label says.
     * @param {string} label @param {ChannelParameters} [parameters]
     */
    channelOpened(label, parameters = this.#parameters(label)) {
        if (!parameters || !this.#isAttached) return;
        const channel = channelOf(parameters, this.level);
        if (channel) this.#held.drop(channel);
        this.#perform(this.#delivery.channelOpened(label, parameters));
    }

    /** @param {string} label */
    #parameters(label) {
        return channelsAt(this.level).map((channel) => channelParameters(channel, this.level))
            .find((parameters) => parameters.label == label);
    }

    /** @param {string} label */
    channelClosed(label) { this.#perform(this.#delivery.channelClosed(label, this.now())); }

    /**
     * A data channel has few bytes left to send.
     * @param {string} label
     */
    writable(label) {
        const channel = this.#delivery.channelWritable(label);
        if (!channel) return;
        this.#drain(channel);
        // A frame that was drained carries it.
        if (this.#delivery.isAcknowledgementOverdue(channel)) this.#sendAck(channel);
        this.outbox.runFlushes();
    }

    /** @param {Action[]} actions */
    #perform(actions) {
        for (const action of actions) {
            if (!this.#isAttached) return;
            switch (action.type) {
                case "openChannel": {
                    const parameters = channelParameters(action.value, this.level);
                    try {
                        this.#link.openChannel(parameters);
                        this.#delivery.opening(action.value, parameters.label);
                    } catch {
                        this.#perform(this.#delivery.openingFailed(action.value, this.now()));
                    }
                    break;
                }
                case "beginSending":
                    this.connected();
                    break;
                case "suspendSending":
                    this.#outbox.disconnected();
                    this.outbox.changed();
                    break;
                case "sendResume":
                    transmit(this.#link, action.value1, encodeResume(action.value0));
                    break;
                case "drain":
                    this.#drain(action.value);
                    break;
                case "scheduleTimer":
                    this.#startTimer(action.value, action.after);
                    break;
                case "cancelTimer":
                    this.#timers.cancel(action.value);
            }
        }
    }

    /** @param {TimerID} timer @param {number} after */
    #startTimer(timer, after) {
        this.#timers.set(timer, after, (timer) => this.#timerFired(timer));
    }

    /** @param {TimerID} timer */
    #timerFired(timer) {
        switch (timer.type) {
            case "acknowledgement":
                this.#delivery.acknowledgementTimerFired(timer.value);
                this.#sendAck(timer.value);
                break;
            case "reopening":
                this.#perform(this.#delivery.reopeningTimerFired(timer.value));
                break;
            case "watch": {
                const { after, isMissing } = this.#delivery.watchTimerFired(this.#buffered);
                if (after != undefined) this.#startTimer(timer, after);
                if (isMissing != undefined) this.#handlers.acknowledgement?.(isMissing);
            }
        }
    }

    // Transmitting

    /** @type {(id: string | number) => number} */
    #buffered = (id) => this.#link.bufferedAmount(String(id));

    /** @param {Channel} channel */
    #drain(channel) {
        const id = this.#isAttached ? this.#delivery.writable(channel) : undefined;
        if (id == undefined) return;
        const first = sendFrames(this.#link, this.#delivery, this.#outbox, channel, id, this.#handlers, (id) =>
            this.#fail(channel, id));
        if (channel == "bulk" && first != undefined) this.#outbox.bulkTaken(first, this.now());
        this.#release(channel);
        const delay = this.#isAttached ? this.#delivery.watch(channel, this.#buffered) : undefined;
        if (delay != undefined) this.#startTimer({ type: "watch" }, delay);
    }

    /**
     * A channel that does not take what it should is over.
     * @param {Channel} channel @param {string | number} [id]
     */
    #fail(channel, id) {
        if (id != undefined) this.#link.closeChannel(String(id));
        if (channel != "reliable") return;
        this.#schedule(0, () => {
            if (this.#isAttached && !this.isReady) this.#handlers.broken("the reliable channel takes nothing");
        });
    }

    /**
     * Frees what is done with.
     * @param {Channel} channel
     */
    #release(channel) {
        const sequence = this.#delivery.takeReleasable(channel);
        if (sequence == undefined) return;
        const hasCredit = this.outbox.release(sequence, channel, this.now());
        if (hasCredit && channel == "bulk") this.byteStreams?.bulkHasCredit();
    }

    // Receiving

    /**
     * A whole message of a data channel. Its bytes belong to the pair from now on.
     * @param {string} label @param {ArrayBuffer | Uint8Array | string} data
     */
    received(label, data) {
        const channel = this.#isAttached ? this.#delivery.channel(label) : undefined;
        if (!channel) return;
        const message = data instanceof ArrayBuffer ? new Uint8Array(data) : data;
        if (!this.#held.take(message, channel)) this.#handle(message, channel);
    }

    /** @param {Uint8Array | string} data @param {Channel} channel */
    #handle(data, channel) {
        const isText = typeof data == "string";
        const bytes = isText ? utf8(data) : data;
        const verdict = this.#delivery.received(bytes, isText, channel);
        if (this.#delivery.takeIsFirstSinceBreak()) this.#handlers.dataArrived?.();
        this.#release(channel);
        switch (verdict.type) {
            case "deliver":
                this.#deliver(channel, verdict.isText, bytes.subarray(verdict.offset));
                // Plain channels have no acknowledgements.
                if (verdict.offset == 0) return;
                break;
            case "deliverAssembled":
                this.#deliver(channel, verdict.isText, this.#delivery.takeAssembled());
                break;
            case "exchange":
                this.exchange.received(bytes.subarray(verdict.offset), channel);
                if (verdict.offset == 0) return;
                break;
            case "exchangeAssembled":
                this.exchange.received(this.#delivery.takeAssembled(channel), channel);
                break;
            case "absorbed":
                break;
            case "hint":
                this.#handlers.hint?.(verdict.value);
                return;
            case "resumed":
                this.#drain(channel);
                return;
            case "ignored":
                return;
            default:
                this.#handlers.broken("the other side broke the delivery protocol");
                return;
        }
        // A handler may have ended the connection.
        if (!this.#isAttached) return;
        const urgency = this.#delivery.acknowledgementUrgency(bytes.length, channel);
        if (channel == "bulk") this.#bulkBytes += bytes.length;
        if (urgency == "now" || (channel == "bulk" && this.#bulkBytes >= bulkAckBytes)) this.#sendAck(channel);
        if (urgency == "soon") {
            this.#startTimer({ type: "acknowledgement", value: channel }, DeliveryMachine.ackDelay);
        }
    }

    /** @param {Channel} channel @param {boolean} isText @param {Uint8Array} payload */
    #deliver(channel, isText, payload) {
        this.#handlers.message(new RoomMessage(this.participant, channel, isText, payload));
    }

    /**
     * Whether the application takes messages of a channel. See `HeldMessages`.
     * @param {boolean} isReceiving @param {Channel} channel
     */
    setReceiving(isReceiving, channel) { this.#held.setReceiving(isReceiving, channel); }

    // Acknowledgements and hints

    /**
     * Sends a hint, if that is possible now.
     * @param {Hint} hint
     */
    sendHint(hint) {
        const id = this.#isAttached ? this.#delivery.hintChannel : undefined;
        if (id == undefined) return;
        const code = transmit(this.#link, id, encodeHint(hint));
        if (code) this.#delivery.refused(code, "reliable");
    }

    /** @param {Channel} channel */
    #sendAck(channel) {
        const frame = this.#isAttached ? this.#delivery.acknowledgementFrame(channel) : undefined;
        if (!frame) return;
        const code = transmit(this.#link, frame.id, frame.bytes);
        if (channel == "bulk") this.#bulkBytes = 0;
        if (code) this.#delivery.refused(code, channel);
        else this.#delivery.acknowledgementTaken(channel);
    }
}
