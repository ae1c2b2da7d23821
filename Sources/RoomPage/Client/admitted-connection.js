//# allFunctionsCalledOnLoad
import { Liveness } from "./liveness.js";
import { plus } from "./time.js";
import { signalingFailure } from "./values.js";
/**
 * @typedef {import("./values.js").Case} Case
 * @typedef {import("./signaling-streams.js").SignalingStreams} SignalingStreams
 * @typedef {import("./signaling-streams.js").Envelope} Envelope
 */

/** The timers of an admitted connection. */
export const connectionTimers = ["stability", "liveness", "acknowledgement"];

/**
 * One signaling connection from the server's `joined` on: signs of life, acknowledgements, and the server's messages in
 * their order. The streams outlive it and are lent to it. After `abort` or `leave` it is over.
 *
 * Methods add to `actions` and return it. Actions: `send(value)`, `scheduleTimer(value, at)`,
 * `deliver(value, isReplayed)`, `reportStable`, `leave(value)`, `abort(value)`.
 */
export class AdmittedConnection {
    #configuration;
    /** Numbered messages up to this one are older than the roster of `joined`. */
    #replayedUpTo;
    #liveness;
    /**
     * Undefined when it has been reached.
     * @type {number | undefined}
     */
    #stableAt;
    /** @type {number | undefined} */
    #ackDeadline;

    /**
     * @param {number} generation
     * @param {any} joined
     * @param {typeof import("./configuration.js").signalingConfiguration} configuration
     * @param {number} now
     * @param {Case[]} actions
     */
    constructor(generation, joined, configuration, now, actions = []) {
        this.generation = generation;
        this.#configuration = configuration;
        this.#replayedUpTo = joined.isResumed ? joined.sent ?? 0 : 0;
        this.#liveness = new Liveness(
            joined.pingInterval, joined.pingDeadline, configuration.probeDeadline, configuration.timerTolerance, now);
        this.#stableAt = plus(now, configuration.backoff.stableAfter);
        actions.push(timer("stability", this.#stableAt), timer("liveness", this.#liveness.nextCheck));
    }

    /** Whether what the server has said lately may still be unread: this page did not run for a while. */
    get isCatchingUp() { return this.#liveness.isCatchingUp; }

    /**
     * Sends messages; each carries the acknowledgement of what came.
     * @param {Envelope[]} envelopes
     * @param {SignalingStreams} streams
     * @param {Case[]} actions
     */
    send(envelopes, streams, actions = []) {
        for (const envelope of envelopes) actions.push({ type: "send", value: streams.stamped(envelope) });
        return actions;
    }

    /**
     * @param {Envelope} envelope
     * @param {SignalingStreams} streams
     * @param {number} now
     * @param {Case[]} actions
     */
    received(envelope, streams, now, actions = []) {
        const { ack, sequence, message } = envelope;
        if (ack !== undefined && !this.#acknowledged(ack, streams, actions)) return actions;
        if (!this.#arrived(sequence, streams, now, actions)) return actions;
        switch (message.type) {
        case "ack": this.#acknowledged(message.received, streams, actions); break;
        case "ping": this.send([{ message: { type: "pong", id: message.id } }], streams, actions); break;
        case "pong": this.#liveness.pong(message.id); break;
        case "joined": case "waiting": break;
        case "goingAway": actions.push({ type: "leave", value: message.retryAfter }); break;
        default:
            actions.push({
                type: "deliver", value: message,
                isReplayed: sequence !== undefined && sequence <= this.#replayedUpTo,
            });
        }
        return actions;
    }

    /**
     * A message came that cannot be used: from a newer server, or over a limit of ours. It is counted, so that it is
     * not sent again for ever.
     * @param {number | undefined} sequence
     * @param {SignalingStreams} streams
     * @param {number} now
     * @param {Case[]} actions
     */
    receivedUnusable(sequence, streams, now, actions = []) {
        this.#arrived(sequence, streams, now, actions);
        return actions;
    }

    /**
     * A message is a sign of life, and takes its place in the stream. False: it is not to be acted upon.
     * @param {number | undefined} sequence
     * @param {SignalingStreams} streams
     * @param {number} now
     * @param {Case[]} actions
     */
    #arrived(sequence, streams, now, actions) {
        if (this.#liveness.evidence(now)) actions.push(timer("liveness", this.#liveness.nextCheck));
        if (sequence === undefined) return true;
        const verdict = streams.take(sequence);
        if (verdict == "gap") {
            actions.push(abort("a message of the server is missing"));
            return false;
        }
        this.#acknowledge(streams, now, actions);
        return verdict == "next";
    }

    /**
     * @param {number} sequence
     * @param {SignalingStreams} streams
     * @param {Case[]} actions
     */
    #acknowledged(sequence, streams, actions) {
        if (streams.acknowledged(sequence)) return true;
        actions.push(abort("the server acknowledged what was never sent"));
        return false;
    }

    /**
     * Acknowledges what came: with the next message, after a while, or at once when there is much of it.
     * @param {SignalingStreams} streams
     * @param {number} now
     * @param {Case[]} actions
     */
    #acknowledge(streams, now, actions) {
        if (streams.unacknowledged >= this.#configuration.ackEvery) {
            actions.push({ type: "send", value: streams.takeAcknowledgement() });
        } else if (this.#ackDeadline === undefined) {
            this.#ackDeadline = plus(now, this.#configuration.ackDelay);
            actions.push(timer("acknowledgement", this.#ackDeadline));
        }
    }

    /**
     * @param {string} id
     * @param {SignalingStreams} streams
     * @param {number} now
     * @param {Case[]} actions
     */
    timerFired(id, streams, now, actions = []) {
        if (id == "liveness") return this.#act(this.#liveness.check(now), streams, actions);
        const isStability = id == "stability";
        const deadline = isStability ? this.#stableAt : this.#ackDeadline;
        if (deadline === undefined) return actions;
        if (now < deadline) {
            actions.push(timer(id, deadline));
        } else if (isStability) {
            this.#stableAt = undefined;
            actions.push({ type: "reportStable" });
        } else {
            this.#ackDeadline = undefined;
            if (streams.unacknowledged > 0) actions.push({ type: "send", value: streams.takeAcknowledgement() });
        }
        return actions;
    }

    /**
     * Asks for a sign of life.
     * @param {SignalingStreams} streams
     * @param {number} now
     * @param {Case[]} actions
     */
    probe(streams, now, actions = []) { return this.#act(this.#liveness.probe(now), streams, actions); }

    /**
     * Asks for an answer, which comes behind all news that the server has sent before.
     * @param {SignalingStreams} streams
     * @param {number} now
     * @param {Case[]} actions
     */
    catchUp(streams, now, actions = []) { return this.#act(this.#liveness.woke(now), streams, actions); }

    /**
     * Before anything else: whether this page did not run for a while (frozen, starved) without having slept.
     * @param {SignalingStreams} streams
     * @param {number} now
     * @param {Case[]} actions
     */
    checkLateness(streams, now, actions = []) {
        const verdict = this.#liveness.checkLateness(now);
        return verdict ? this.#act(verdict, streams, actions) : actions;
    }

    /**
     * @param {Case} verdict
     * @param {SignalingStreams} streams
     * @param {Case[]} actions
     */
    #act(verdict, streams, actions) {
        if (verdict.type == "checkAt") {
            actions.push(timer("liveness", verdict.value));
        } else if (verdict.type == "ping") {
            this.send([{ message: { type: "ping", id: verdict.id } }], streams, actions);
            actions.push(timer("liveness", verdict.checkAt));
        } else {
            actions.push(abort("the server has been silent for too long", "silence"));
        }
        return actions;
    }
}

/**
 * @param {string} value
 * @param {number} at
 */
const timer = (value, at) => ({ type: "scheduleTimer", value, at });

/**
 * @param {string} description
 * @param {string} cause
 */
const abort = (description, cause = "connectionLost") =>
    ({ type: "abort", value: signalingFailure(description, { cause }) });
