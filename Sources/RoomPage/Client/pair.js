//# allFunctionsCalledOnLoad
// @ts-check
import { borrowedBytes, decodedText, noBytes, utf8 } from "./bytes.js";
import {
    channelOf, channelParameters, channelsAt, forEachChannel, isNumbered, keepsNothing, levelOf, waterMarks,
} from "./delivery-channel.js";
import { DeliveryLink } from "./delivery-link.js";
import { DeliveryMachine } from "./delivery-machine.js";
import { DeliveryOutbox } from "./delivery-outbox.js";
import { encodeHint, encodeResume, exchangeCapability, messageLimit } from "./delivery-protocol.js";
import { HeldMessages } from "./held-messages.js";
import { NumberedStreams } from "./numbered-stream.js";
import { RoomMessage } from "./room-message.js";
import { FrameBatch } from "./send-buffer.js";
import { plus } from "./time.js";
import { WaitingLine } from "./waiting.js";

/** @typedef {import("./delivery-channel.js").Channel} Channel */
/** @typedef {import("./delivery-channel.js").ChannelParameters} ChannelParameters */
/** @typedef {import("./delivery-link.js").Action} Action */
/** @typedef {import("./delivery-link.js").TimerID} TimerID */
/** @typedef {import("./delivery-outbox.js").Outcome} Outcome */
/** @typedef {import("./delivery-outbox.js").PeerStatus} PeerStatus */
/** @typedef {import("./delivery-protocol.js").Hint} Hint */
/** @typedef {import("./pair-topics.js").Publication} Publication */
/** @typedef {import("./room.js").Sendable} Sendable */
/** @typedef {import("./pair-types.js").Link} Link */
/** @typedef {import("./pair-types.js").Handlers} Handlers */
/** @typedef {import("./pair-types.js").PairExtras} PairExtras */
/** @typedef {import("./pair-types.js").PairConfiguration} PairConfiguration */
/** @typedef {import("./pair-types.js").Schedule} Schedule */
/** @typedef {import("./pair-types.js").Sent} Sent */

/**
 * Bytes of bulk after which an acknowledgement is sent at once. The timers of a page in the background are late by a
 * second, in which a sender with little under way would wait.
 */
const bulkAckBytes = 32_768;
/** How often a flush looks whether the transport has sent everything. */
const flushInterval = 0.05;

/** @type {Sent} */
const cancelled = { type: "cancelled" };
/** @type {Outcome} */
const full = { type: "full" };

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
    /** @type {Map<string, () => void>} Cancels a timer of the delivery. */
    #timers = new Map();
    /**
     * Those that wait for credit.
     * @type {Record<Channel, WaitingLine>}
     */
    #lines;
    /** Those that wait for a flush. */
    #flushes = new WaitingLine();
    /** @type {(() => void) | undefined} */
    #cancelFlushTimer;
    #held;
    /** Bytes of bulk that have come since the last acknowledgement of its own. */
    #bulkBytes = 0;

    /**
     * @param {object} options
     * @param {string} options.ownSession
     * @param {string} options.peerSession
     * @param {string} [options.participant] the id of the other side
     * @param {readonly string[]} options.capabilities of the other side
     * @param {PairConfiguration} options.configuration
     * @param {NumberedStreams} [options.streams] from a `DeliveryMemory`; to store there when the pair has ended
     * @param {PairExtras} [options.extras] undefined: there are only messages
     * @param {number} [options.requestBase] after it the ids of requests begin; never the same for two pairs of a room
     * @param {() => number} options.now
     * @param {Schedule} options.schedule
     * @param {Link} options.link
     * @param {Handlers} options.handlers
     */
    constructor(options) {
        const { configuration, extras } = options;
        const capabilities = options.capabilities.filter((name) => extras || name != exchangeCapability);
        this.participant = options.participant ?? options.peerSession;
        this.streams = options.streams ?? new NumberedStreams(options.ownSession, options.peerSession);
        this.level = levelOf(capabilities);
        /** The present time, in whole nanoseconds. */
        this.now = () => plus(options.now(), 0);
        this.#schedule = options.schedule;
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
        this.#lines = forEachChannel(() => new WaitingLine());
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

    /**
     * Sends a message. Waits while the buffer of its channel is full; messages of one channel never overtake each
     * other.
     * Its bytes must not change before that. `mayDrop`: it does not wait for a participant whose connection is broken.
     * @param {Sendable} payload
     * @param {{ channel?: Channel, isText?: boolean, mayDrop?: boolean, signal?: AbortSignal }} [options]
     * @returns {Promise<Sent>}
     */
    send(payload, options = {}) {
        const { channel = "reliable", mayDrop = false, signal } = options;
        if (signal?.aborted) return Promise.resolve(cancelled);
        const outcome = this.trySend(payload, options);
        if (outcome.type != "full") return Promise.resolve(outcome);
        const isText = options.isText ?? typeof payload == "string";
        return this.#lines[channel].wait("send", () => {
            if (!this.#outbox.hasCredit(channel, mayDrop)) return undefined;
            return notFull(this.#accept(payload, isText, channel, mayDrop));
        }, cancelled, signal, () => this.dropped(mayDrop));
    }

    /**
     * Sends a message without waiting. `full`: nothing was taken.
     * @param {Sendable} payload @param {{ channel?: Channel, isText?: boolean, mayDrop?: boolean }} options
     * @returns {Outcome}
     */
    trySend(payload, { channel = "reliable", isText = typeof payload == "string", mayDrop = false } = {}) {
        // Those that wait come first.
        const mustWait = !this.#lines[channel].isEmpty && this.#lines[channel].has("send");
        return mustWait ? this.dropped(mayDrop) ?? full : this.#accept(payload, isText, channel, mayDrop);
    }

    /** @param {Sendable} payload @param {boolean} isText @param {Channel} channel @param {boolean} mayDrop */
    #accept(payload, isText, channel, mayDrop) {
        return this.#accepted(this.#outbox.accept(borrowedBytes(payload), isText, channel, mayDrop), channel);
    }

    /**
     * Sends one message of topics, requests or streams, without waiting. See `DeliveryOutbox.acceptExchange`.
     * @param {Uint8Array} head @param {Uint8Array} body @param {Channel} channel @param {boolean} [isUrgent]
     * @param {boolean} [isCounted] @param {boolean} [mayDrop]
     */
    sendExchange(head, body, channel, isUrgent, isCounted, mayDrop) {
        return this.#accepted(this.#outbox.acceptExchange(head, body, channel, isUrgent, isCounted, mayDrop), channel);
    }

    /**
     * Sends a whole message that is small, and of which there are only so many: the buffer takes it above its limit.
     * @param {Uint8Array} message @param {Channel} channel
     */
    sendWhole(message, channel) { return this.sendExchange(noBytes, message, channel, true).type; }

    /** @param {Outcome} outcome @param {Channel} channel */
    #accepted(outcome, channel) {
        if (outcome.type == "accepted") this.#drain(channel);
        else if (outcome.type == "dropped" && keepsNothing(channel)) this.#handlers.lossyDropped?.(1);
        return outcome;
    }

    /**
     * Attempts again, in order, when the reliable channel may have room or the state of the pair has changed.
     * @template Result
     * @param {string | undefined} key @param {() => Result | undefined} attempt @param {Result} aborted
     * @param {AbortSignal} [signal] @param {() => Result | undefined} [giveUp]
     */
    waitForCredit(key, attempt, aborted, signal, giveUp) {
        return this.#lines.reliable.wait(key, attempt, aborted, signal, giveUp);
    }

    /**
     * Whether a call with this key waits for credit.
     * @param {string} key
     */
    isWaiting(key) { return this.#lines.reliable.has(key); }

    /** Attempts the calls again that wait for credit of the reliable channel. */
    retry() { this.#lines.reliable.run(); }

    /**
     * Counts a message as given up that was never accepted, where that may be and the connection is broken.
     * @param {boolean} mayDrop
     * @returns {{ type: "dropped" } | undefined}
     */
    dropped(mayDrop) {
        if (!mayDrop || !this.#outbox.isDroppable) return undefined;
        this.#outbox.giveUpMessage();
        return { type: "dropped" };
    }

    /** Bytes of the frames into which streams are cut now. */
    get bulkFrameLength() { return this.#outbox.bulkFrameLength; }

    /**
     * Returns when what was accepted before the call has arrived. False: the participant has gone, or the signal was
     * aborted. On channels without the delivery protocol the transport has sent it.
     * @param {{ signal?: AbortSignal }} options
     * @returns {Promise<boolean>}
     */
    flush({ signal } = {}) {
        const targets = this.#outbox.lastSequences;
        const attempt = () => {
            if (!this.#outbox.isReleased(targets)) return undefined;
            if (this.isGone) return false;
            const isPending = this.#isAttached && this.#delivery.unacknowledgedChannels(this.#buffered).length > 0;
            if (!isPending) return true;
            this.#cancelFlushTimer ??= this.#schedule(flushInterval, () => {
                this.#cancelFlushTimer = undefined;
                this.#flushes.run();
            });
            return undefined;
        };
        const result = attempt();
        return result == undefined ? this.#flushes.wait(undefined, attempt, false, signal) : Promise.resolve(result);
    }

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
        for (const cancel of this.#timers.values()) cancel();
        this.#timers.clear();
        const dropped = this.#outbox.connectionEnded();
        if (dropped > 0) this.#handlers.lossyDropped?.(dropped);
        this.#changed();
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
        this.#changed();
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
        this.#cancelFlushTimer?.();
        if (this.exchange) this.streams.exchange = this.exchange.close();
        if (this.byteStreams) this.streams.record = this.byteStreams.close();
        this.#changed();
        if (lost > 0) this.#handlers.undelivered?.(lost);
        return lost;
    }

    /** Attempts again what waits. */
    #changed() {
        for (const line of Object.values(this.#lines)) line.run();
        this.#flushes.run();
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
        this.#flushes.run();
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
                    this.#changed();
                    break;
                case "sendResume":
                    this.#transmit(String(action.value1), encodeResume(action.value0));
                    break;
                case "drain":
                    this.#drain(action.value);
                    break;
                case "scheduleTimer":
                    this.#startTimer(action.value, action.after);
                    break;
                case "cancelTimer":
                    this.#timers.get(timerKey(action.value))?.();
                    this.#timers.delete(timerKey(action.value));
            }
        }
    }

    /** @param {TimerID} timer @param {number} after */
    #startTimer(timer, after) {
        const key = timerKey(timer);
        this.#timers.get(key)?.();
        this.#timers.set(key, this.#schedule(after, () => {
            this.#timers.delete(key);
            this.#timerFired(timer);
        }));
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

    /**
     * Returns why the channel did not take it.
     * @param {string} label @param {Uint8Array | string} data
     */
    #transmit(label, data) {
        try {
            return this.#link.send(label, data);
        } catch (error) {
            if (error instanceof TypeError) return "messageTooLarge";
            return /** @type {any} */ (error)?.name == "OperationError" ? "wouldBlock" : "closed";
        }
    }

    /** @param {Channel} channel */
    #drain(channel) {
        const id = this.#isAttached ? this.#delivery.writable(channel) : undefined;
        if (id == undefined) return;
        const label = String(id);
        const limit = waterMarks(label).high;
        let buffered = -1;
        /** @type {number | undefined} */
        let firstTaken;
        sending: while (true) {
            const batch = this.#delivery.nextFrames(channel, this.#outbox);
            for (let index = 0; index < batch.count; index += 1) {
                const sequence = batch.first + index;
                const bytes = batch.frame(index);
                if (buffered < 0 || buffered > limit) buffered = this.#link.bufferedAmount(label);
                if (batch.hasHeaders) this.#delivery.stamp(bytes, channel);
                const code = buffered > limit ? "wouldBlock"
                    : this.#transmit(label, batch.isText(index) ? decodedText(bytes) ?? "" : bytes);
                if (!code) {
                    buffered += bytes.length;
                    this.#delivery.frameTaken(sequence, bytes.length, channel);
                    firstTaken ??= sequence;
                    continue;
                }
                const refusal = this.#delivery.frameRefused(sequence, code, channel);
                if (refusal.type == "drop") {
                    if (keepsNothing(channel)) this.#handlers.lossyDropped?.(1);
                    else this.#outbox.giveUpMessage();
                    continue;
                }
                if (refusal.type == "close") this.#fail(channel, refusal.value);
                break sending;
            }
            if (batch.count < FrameBatch.capacity) break;
        }
        if (channel == "bulk" && firstTaken != undefined) this.#outbox.bulkTaken(firstTaken, this.now());
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
        this.#outbox.release(sequence, channel, this.now());
        this.#flushes.run();
        if (channel == "bulk") {
            if (this.#outbox.hasCredit(channel, false)) this.byteStreams?.bulkHasCredit();
        } else if (!this.#lines[channel].isEmpty && this.#outbox.hasCredit(channel, false)) {
            this.#lines[channel].run();
        }
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
        const code = this.#transmit(String(id), encodeHint(hint));
        if (code) this.#delivery.refused(code, "reliable");
    }

    /** @param {Channel} channel */
    #sendAck(channel) {
        const frame = this.#isAttached ? this.#delivery.acknowledgementFrame(channel) : undefined;
        if (!frame) return;
        const code = this.#transmit(String(frame.id), frame.bytes);
        if (channel == "bulk") this.#bulkBytes = 0;
        if (code) this.#delivery.refused(code, channel);
        else this.#delivery.acknowledgementTaken(channel);
    }
}

/** @param {TimerID} timer */
const timerKey = (timer) => (timer.type == "watch" ? timer.type : `${timer.type} ${timer.value}`);

/** @param {Outcome} outcome @returns {Exclude<Outcome, { type: "full" }> | undefined} */
const notFull = (outcome) => (outcome.type == "full" ? undefined : outcome);
