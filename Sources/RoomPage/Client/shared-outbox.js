//# allFunctionsCalledOnLoad
// @ts-check
import { borrowedBytes, noBytes } from "./bytes.js";
import { forEachChannel, keepsNothing } from "./delivery-channel.js";
import { WaitingLine } from "./waiting.js";

/** @typedef {import("./delivery-channel.js").Channel} Channel */
/** @typedef {import("./delivery-outbox.js").DeliveryOutbox} DeliveryOutbox */
/** @typedef {import("./delivery-outbox.js").Outcome} Outcome */
/** @typedef {import("./pair-types.js").Sent} Sent */
/** @typedef {import("./room.js").Sendable} Sendable */

/** How often a flush looks whether the transport has sent everything. */
const flushInterval = 0.05;

/** @type {Sent} */
const cancelled = { type: "cancelled" };
/** @type {Outcome} */
const full = { type: "full" };

/** @param {Outcome} outcome @returns {Exclude<Outcome, { type: "full" }> | undefined} */
const notFull = (outcome) => (outcome.type == "full" ? undefined : outcome);

/**
 * The messages to one participant's session, which the application adds and the connection takes, and the calls that
 * wait for something about them.
 */
export class SharedOutbox {
    #outbox;
    #schedule;
    #handlers;
    #onAccepted;
    #isPending;
    /** Those that wait for credit. */
    #lines = forEachChannel(() => new WaitingLine());
    /** Those that wait for a flush. */
    #flushes = new WaitingLine();
    /** @type {(() => void) | undefined} */
    #cancelFlushTimer;

    /**
     * `onAccepted`: a message waits to be sent. `isPending`: the transport has messages that its other side does not
     * have yet.
     * @param {DeliveryOutbox} outbox @param {import("./pair-types.js").Schedule} schedule
     * @param {import("./pair-types.js").Handlers} handlers @param {(channel: Channel) => void} onAccepted
     * @param {() => boolean} isPending
     */
    constructor(outbox, schedule, handlers, onAccepted, isPending) {
        this.#outbox = outbox;
        this.#schedule = schedule;
        this.#handlers = handlers;
        this.#onAccepted = onAccepted;
        this.#isPending = isPending;
    }

    /** Bytes of the frames into which streams are cut now. */
    get bulkFrameLength() { return this.#outbox.bulkFrameLength; }

    // Adding

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
        if (outcome.type == "accepted") this.#onAccepted(channel);
        else if (outcome.type == "dropped" && keepsNothing(channel)) this.#handlers.lossyDropped?.(1);
        return outcome;
    }

    // Waiting

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
            if (this.#outbox.isGone) return false;
            if (!this.#isPending()) return true;
            this.#cancelFlushTimer ??= this.#schedule(flushInterval, () => {
                this.#cancelFlushTimer = undefined;
                this.runFlushes();
            });
            return undefined;
        };
        const result = attempt();
        return result == undefined ? this.#flushes.wait(undefined, attempt, false, signal) : Promise.resolve(result);
    }

    // Attempting again what waits

    /** The transport may have sent everything. */
    runFlushes() { this.#flushes.run(); }

    /**
     * Frees what is done with. Returns whether there is room.
     * @param {number} sequence @param {Channel} channel @param {number} now
     */
    release(sequence, channel, now) {
        this.#outbox.release(sequence, channel, now);
        this.runFlushes();
        const line = this.#lines[channel];
        const hasCredit = (channel == "bulk" || !line.isEmpty) && this.#outbox.hasCredit(channel, false);
        if (hasCredit) line.run();
        return hasCredit;
    }

    /** The state of the pair has changed. */
    changed() {
        for (const line of Object.values(this.#lines)) line.run();
        this.runFlushes();
    }

    /** The session of the participant has ended. */
    ended() {
        this.#cancelFlushTimer?.();
        this.changed();
    }
}
