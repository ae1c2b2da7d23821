//# allFunctionsCalledOnLoad
// @ts-check
import { AcknowledgementWatches } from "./acknowledgement-watches.js";
import { writeU32 } from "./bytes.js";
import { channelsAt, isNumbered, keepsNothing } from "./delivery-channel.js";
import { DeliveryChannels } from "./delivery-channels.js";
import { decodeFrame, encodeAck, maximumBulkMessageLength } from "./delivery-protocol.js";
import { verdictOf, verdicts } from "./delivery-verdict.js";
import { PlainProgress } from "./plain-progress.js";

/** @typedef {import("./delivery-channel.js").Channel} Channel */
/** @typedef {import("./delivery-channels.js").ChannelID} ChannelID */
/** @typedef {import("./delivery-outbox.js").DeliveryOutbox} DeliveryOutbox */
/** @typedef {import("./delivery-types.js").Action} Action */
/** @typedef {import("./delivery-types.js").Verdict} Verdict */
/** @typedef {import("./numbered-stream.js").NumberedStreams} NumberedStreams */

/** @type {Channel[]} */
const watchedChannels = ["reliable", "unordered", "bulk"];

/**
 * The data path to one participant's session: what goes out next on which channel, what becomes of a frame that came,
 * and when to acknowledge. It outlives peer connections.
 *
 * A shell hands it what the connection tells, sends the frames that it names, and tells what became of them. The frames
 * are in a `DeliveryOutbox`.
 */
export class DeliveryLink {
    /** The participant has said that it leaves. */
    isLeaving = false;
    #messageLimit;
    #channels;
    #isAttached = false;
    #plain = new PlainProgress();
    #watches;
    /** The next message, of whatever kind, is news. */
    #expectsFirstMessage = false;
    #isFirstSinceBreak = false;

    /**
     * @param {NumberedStreams} streams from the memory of earlier ones
     * @param {import("./delivery-channel.js").Level} level the protocols that both sides speak
     * @param {number} messageLimit bytes of one message that this side accepts
     * @param {number} [patience] how long data may go unacknowledged until it is told
     */
    constructor(streams, level, messageLimit, patience = 8) {
        this.streams = streams;
        this.streams.began();
        this.level = level;
        this.#messageLimit = messageLimit;
        this.#watches = new AcknowledgementWatches(patience);
        this.#channels = new DeliveryChannels(level);
    }

    /** The numbers of the reliable stream. */
    get machine() { return this.streams.stream("reliable").machine; }
    /** The channel of the reliable stream can carry data, both ways. */
    get isReady() { return this.#channels.isOpen("reliable"); }

    /** @param {Channel} channel */
    id(channel) { return this.#channels.id(channel); }

    /** @param {Channel} channel */
    #isNumbered(channel) { return isNumbered(this.level, channel); }

    // Connections and their channels

    /**
     * A new peer connection took the place of the last one, which was detached. Returns the channels that this side
     * opens.
     * @param {boolean} isOpener
     */
    attached(isOpener) {
        this.#isAttached = true;
        this.#channels.connectionBegan(isOpener);
        return isOpener ? channelsAt(this.level) : [];
    }

    /** The peer connection has ended. What was not acknowledged is kept for the next one; all timers are void. */
    detached() {
        if (!this.#isAttached) return;
        this.#isAttached = false;
        this.#channels.reset();
        this.streams.detached();
        this.#watches.detached();
        this.#plain.detached();
    }

    /**
     * This side has asked the connection for a data channel.
     * @param {Channel} channel @param {ChannelID} id
     */
    opening(channel, id) { this.#channels.opening(channel, id); }

    /**
     * The connection has refused to open a channel.
     * @param {Channel} channel @param {number} now @returns {Action[]}
     */
    openingFailed(channel, now) {
        const after = this.#channels.reopenDelay(channel, now);
        return after == undefined ? []
            : [{ type: "scheduleTimer", value: { type: "reopening", value: channel }, after }];
    }

    /**
     * @param {ChannelID} id @param {import("./delivery-channel.js").ChannelParameters} parameters
     * @returns {Action[]}
     */
    channelOpened(id, parameters) {
        const channel = this.#isAttached ? this.#channels.opened(id, parameters) : undefined;
        return channel ? this.#begin(channel, id) : [];
    }

    /** @param {Channel} channel @param {ChannelID} id @returns {Action[]} */
    #begin(channel, id) {
        /** @type {Action[]} */
        const actions = [
            { type: "cancelTimer", value: { type: "reopening", value: channel } }, { type: "beginSending" },
        ];
        this.#plain.dataChannelChanged(channel);
        // Plain channels remember nothing: what the last one had taken is gone, the rest goes out now.
        if (this.#isNumbered(channel)) {
            const machine = this.streams.stream(channel).machine;
            machine.channelLost();
            actions.push({ type: "sendResume", value0: machine.channelOpened(), value1: id });
        }
        actions.push({ type: "drain", value: channel });
        return actions;
    }

    /** @param {ChannelID} id @param {number} now @returns {Action[]} */
    channelClosed(id, now) {
        const closing = this.#channels.closed(id, now);
        switch (closing.type) {
            case "ignored": return [];
            case "replaced": return this.#begin(closing.value, closing.by);
            case "left": return this.#lost(closing.value);
            case "reopen": {
                const { value, after } = closing;
                return [...this.#lost(value), { type: "scheduleTimer", value: { type: "reopening", value }, after }];
            }
        }
    }

    /** @param {Channel} channel @returns {Action[]} */
    #lost(channel) {
        this.#plain.dataChannelChanged(channel);
        if (this.#isNumbered(channel)) this.streams.stream(channel).machine.channelLost();
        return channel == "reliable" ? [{ type: "suspendSending" }] : [];
    }

    /**
     * It is time to open a channel again.
     * @param {Channel} channel @returns {Action[]}
     */
    reopeningTimerFired(channel) {
        const isMissing = this.#isAttached && this.#channels.id(channel) == undefined;
        return isMissing ? [{ type: "openChannel", value: channel }] : [];
    }

    /**
     * A data channel takes frames again. Returns the channel to drain.
     * @param {ChannelID} id
     */
    channelWritable(id) { return this.#channels.writableAgain(id); }

    // Sending

    /**
     * Returns the data channel to send on; undefined while it takes nothing.
     * @param {Channel} channel
     */
    writable(channel) { return this.#channels.writable(channel); }

    /**
     * Returns the next frames to hand to the channel.
     * @param {Channel} channel @param {DeliveryOutbox} outbox
     */
    nextFrames(channel, outbox) {
        if (this.#isNumbered(channel)) {
            const next = this.streams.stream(channel).machine.framesAccepted(outbox.lastSequence(channel));
            return outbox.frames(channel, next);
        }
        const sequence = this.takeReleasable(channel);
        if (sequence != undefined) outbox.release(sequence, channel);
        return outbox.frames(channel, outbox.firstSequence(channel));
    }

    /**
     * Writes into a frame what it says of the other direction.
     * @param {Uint8Array} frame @param {Channel} channel
     */
    stamp(frame, channel) { writeU32(frame, 5, this.streams.stream(channel).machine.received >>> 0); }

    /**
     * The channel has taken the frame `sequence` of so many bytes.
     * @param {number} sequence @param {number} count @param {Channel} channel
     */
    frameTaken(sequence, count, channel) {
        if (this.#isNumbered(channel)) this.streams.stream(channel).machine.frameTransmitted(sequence);
        else this.#plain.taken(sequence, count, channel);
    }

    /**
     * The channel has refused the frame `sequence`.
     * @param {number} sequence @param {string} code @param {Channel} channel
     * @returns {import("./delivery-types.js").Refusal}
     */
    frameRefused(sequence, code, channel) {
        if (code == "wouldBlock") {
            this.#channels.blocked(channel);
            return { type: "wait" };
        }
        if (code == "messageTooLarge" && !this.#isNumbered(channel)) {
            this.#plain.dropped(sequence, channel);
            return { type: "drop" };
        }
        return { type: "close", value: this.#channels.failed(channel) };
    }

    /**
     * Up to which number frames can be released; undefined: none since the last call.
     * @param {Channel} channel
     */
    takeReleasable(channel) {
        if (this.#isNumbered(channel)) return this.streams.stream(channel).takeReleasable();
        return this.#plain.takeReleasable(channel);
    }

    // Receiving

    /**
     * Returns the channel that a data channel carries.
     * @param {ChannelID} id
     */
    channel(id) { return this.#channels.channel(id); }

    /**
     * A whole message of the transport. Afterwards: release what `takeReleasable` names on this channel, then do as the
     * verdict says.
     * @param {Uint8Array} bytes @param {boolean} isText @param {Channel} channel @returns {Verdict}
     */
    received(bytes, isText, channel) {
        if (this.#expectsFirstMessage) {
            this.#expectsFirstMessage = false;
            this.#isFirstSinceBreak = true;
        }
        if (this.#isNumbered(channel)) return this.receivedFrame(bytes, channel);
        if (channel == "topics") return { type: "exchange", value: channel, offset: 0 };
        return { type: "deliver", value: channel, isText, offset: 0 };
    }

    /**
     * A frame of a numbered stream.
     * @param {Uint8Array} bytes @param {Channel} channel @returns {Verdict}
     */
    receivedFrame(bytes, channel) {
        const frame = decodeFrame(bytes);
        if (!frame) return verdicts.violation;
        if (frame.type == "data" && frame.kind == "exchange" && this.level != "exchange") return verdicts.violation;
        if (frame.type == "hint") {
            if (!frame.value) return verdicts.ignored;
            if (frame.value == "leaving") this.isLeaving = true;
            return { type: "hint", value: frame.value };
        }
        const limit = channel == "bulk" ? maximumBulkMessageLength : this.#messageLimit;
        const stream = this.streams.stream(channel);
        return verdictOf(stream.received(frame, bytes, limit), stream, channel);
    }

    /**
     * Returns the bytes of a message that came in parts.
     * @param {Channel} [channel]
     */
    takeAssembled(channel = "reliable") { return this.streams.stream(channel).takeParts(); }

    /**
     * The participant's status has changed: while it recovers, the next message is news. Returns how many messages were
     * given up meanwhile, once it is connected again.
     * @param {import("./delivery-outbox.js").PeerStatus} status @param {DeliveryOutbox} outbox
     */
    statusChanged(status, outbox) {
        outbox.statusChanged(status);
        if (status.type == "recovering") this.#expectsFirstMessage = true;
        return status.type == "connected" ? outbox.takeGivenUpCount() : 0;
    }

    /** Whether the last message was the first since the path broke. Asked for each one. */
    takeIsFirstSinceBreak() {
        const isFirst = this.#isFirstSinceBreak;
        this.#isFirstSinceBreak = false;
        return isFirst;
    }

    // Acknowledging

    /**
     * A data frame was dealt with on a numbered channel.
     * @param {number} count its bytes
     * @param {Channel} channel
     */
    acknowledgementUrgency(count, channel) {
        return this.streams.stream(channel).acknowledgementUrgency(count);
    }

    /** @param {Channel} channel */
    acknowledgementTimerFired(channel) { this.streams.stream(channel).acknowledgementTimerFired(); }

    /**
     * Whether a numbered channel has an acknowledgement that no frame has carried.
     * @param {Channel} channel
     */
    isAcknowledgementOverdue(channel) {
        return this.#isNumbered(channel) && this.streams.stream(channel).isAcknowledgementOverdue;
    }

    /**
     * The acknowledgement that is due on a numbered channel and can be sent, and the data channel for it. Tell by
     * `acknowledgementTaken` or `refused`.
     * @param {Channel} channel
     */
    acknowledgementFrame(channel) {
        const ack = this.streams.stream(channel).machine.ackToSend;
        const id = this.#channels.writable(channel);
        if (ack == undefined || id == undefined) return undefined;
        return { bytes: encodeAck(ack), id };
    }

    /** @param {Channel} channel */
    acknowledgementTaken(channel) { this.streams.stream(channel).machine.ackTransmitted(); }

    /** The channel for a hint; undefined where none can be sent now. */
    get hintChannel() { return this.machine.isOpen ? this.#channels.writable("reliable") : undefined; }

    /**
     * The channel has not taken an acknowledgement or a hint. An acknowledgement is sent when the channel takes frames
     * again, unless a frame carries it before.
     * @param {string} code @param {Channel} channel
     */
    refused(code, channel) { if (code == "wouldBlock") this.#channels.blocked(channel); }

    // Acknowledgements that do not come

    /**
     * Something was sent on the channel. Returns after how long to look; undefined where a look is already planned.
     * @param {Channel} channel @param {(id: ChannelID) => number} buffered
     */
    watch(channel, buffered) {
        // Nobody waits for lossy messages.
        if (this.#watches.isRunning || keepsNothing(channel)) return undefined;
        return this.#watches.begin(this.#acknowledged(buffered));
    }

    /**
     * The watch's timer has fired. See `AcknowledgementWatches`.
     * @param {(id: ChannelID) => number} buffered
     */
    watchTimerFired(buffered) { return this.#watches.timerFired(this.#acknowledged(buffered)); }

    /**
     * How much of each channel's data was acknowledged, in frames or bytes; undefined when nothing is outstanding.
     * @param {(id: ChannelID) => number} buffered
     */
    #acknowledged(buffered) {
        return watchedChannels.map((channel) => {
            const id = this.id(channel);
            if (!this.#channels.isOpen(channel) || id == undefined) return undefined;
            if (this.#isNumbered(channel)) {
                const { machine } = this.streams.stream(channel);
                return machine.unacknowledged > 0 ? machine.acknowledged : undefined;
            }
            const outstanding = buffered(id);
            return outstanding > 0 ? this.#plain.acknowledgedBytes(channel, outstanding) : undefined;
        });
    }

    /**
     * The data channels of plain channels on which something was sent that is not acknowledged.
     * @param {(id: ChannelID) => number} buffered
     */
    unacknowledgedChannels(buffered) {
        return /** @type {Channel[]} */ (["reliable", "unordered"]).flatMap((channel) => {
            const id = this.id(channel);
            return this.#isNumbered(channel) || id == undefined || !(buffered(id) > 0) ? [] : [id];
        });
    }

    // The end

    /**
     * The participant's session has ended, and the connection was detached. Returns how many messages are given up.
     * @param {DeliveryOutbox} outbox
     */
    close(outbox) {
        for (const channel of /** @type {Channel[]} */ (["reliable", "bulk"])) {
            this.streams.stream(channel).machine.framesAccepted(outbox.lastSequence(channel));
        }
        return outbox.close();
    }
}
