//# allFunctionsCalledOnLoad
import { AdmittedConnection, connectionTimers } from "./admitted-connection.js";
import { Backoff } from "./backoff.js";
import { duration } from "./random.js";
import { SignalingCredential } from "./signaling-credential.js";
import { SignalingStreams } from "./signaling-streams.js";
import { clamp, minus, plus } from "./time.js";
import { equal, refusalFailure, signalingFailure } from "./values.js";
/**
 * @typedef {import("./values.js").Case} Case
 * @typedef {import("./values.js").SignalingFailure} SignalingFailure
 * @typedef {import("./random.js").RandomSource} RandomSource
 * @typedef {import("./signaling-streams.js").Envelope} Envelope
 */

/** SignalingClose.normal and .goingAway. */
const normalClose = { code: 1000, reason: "" }, goingAwayClose = { code: 1001, reason: "" };

/**
 * Keeps one signaling connection: attempts, backoff and credentials, and a status that claims no more than the evidence
 * shows. An open connection decides for itself (`AdmittedConnection`). Knows nothing of rooms: it asks for the `hello`,
 * and passes on the messages of the server.
 *
 * Methods add to `actions` and return it. Actions: `openTransport(value)`, `abortTransport(value)`,
 * `closeTransport(value0, value1)`, `send(value0, value1)`, `requestCredential(forced)`, `scheduleTimer(value, at)`,
 * `cancelTimer(value)`, `changeStatus(value)`, `requestHello(token, received, mustRejoin, attempt)` (answered at once
 * by `sendHello`), `deliver(value, isReplayed)`, `overflow(dropped)`. Timers: `attempt`, `connection(value)`.
 *
 * States: `idle`, `waiting(until)`, `fetching(until)`, `opening(generation, startedAt, deadline)`,
 * `greeting(generation, startedAt, deadline, waiting)`, `connected(connection)`, `closed`.
 */
export class SignalingMachine {
    #configuration;
    /** @type {Case} */
    #state = { type: "idle" };
    #backoff;
    #credential;
    #streams;
    /** The last generation that was used. */
    #generation = 0;
    /** Attempts of this outage. */
    #attempt = 0;
    /**
     * Why the last attempt or connection ended.
     * @type {SignalingFailure | undefined}
     */
    #cause;
    /**
     * When a report of another participant about the server was last acted on.
     * @type {number | undefined}
     */
    #lastHintAt;

    /** @param {import("./configuration.js").MachineConfiguration} configuration */
    constructor({ signaling, token, hasCredentialProvider }) {
        this.#configuration = signaling;
        this.#backoff = new Backoff(signaling.backoff);
        this.#credential = new SignalingCredential(token, hasCredentialProvider, signaling.credentialMargin);
        this.#streams = new SignalingStreams(signaling.queueLimit, signaling.queueByteLimit);
        /** @type {Case} */
        this.status = { type: "disconnected" };
    }

    get #hasBeenConnected() { return this.#streams.hasBegun; }
    /** Whether what the server has said lately may still be unread: this page did not run for a while. */
    get isCatchingUp() { return this.isConnected && this.#state.connection.isCatchingUp; }
    get isConnected() { return this.#state.type == "connected"; }
    get isClosed() { return this.#state.type == "closed"; }
    /** Messages that wait for the server's acknowledgement or for a connection. */
    get queuedMessages() { return this.#streams.queuedMessages; }

    // MARK: Attempts

    /**
     * @param {number} now
     * @param {Case[]} actions
     */
    start(now, actions = []) {
        if (this.#state.type != "idle") return actions;
        this.#attempt = 1;
        return this.#beginAttempt(now, actions);
    }

    /**
     * Fetches a credential if one is needed, then opens a transport.
     * @param {number} now
     * @param {Case[]} actions
     */
    #beginAttempt(now, actions) {
        this.#changeStatus({ type: "connecting", attempt: this.#attempt, cause: this.#cause }, actions);
        if (!this.#credential.mustBeFetched(now)) return this.#open(now, actions);
        this.#credential.requested();
        const forced = this.#credential.isForcing;
        // A participant that was in the room shows a session token: a provider that is slow or broken must not keep it
        // outside.
        const until = this.#hasBeenConnected && !forced ? plus(now, this.#configuration.credentialPatience) : undefined;
        this.#state = { type: "fetching", until };
        actions.push(until === undefined ? cancelAttempt : attemptTimer(until), { type: "requestCredential", forced });
        return actions;
    }

    /**
     * @param {number} now
     * @param {Case[]} actions
     */
    #open(now, actions) {
        this.#generation += 1;
        const deadline = plus(now, this.#configuration.attemptTimeout);
        this.#state = { type: "opening", generation: this.#generation, startedAt: now, deadline };
        actions.push({ type: "openTransport", value: this.#generation }, attemptTimer(deadline));
        return actions;
    }

    /**
     * @param {string | undefined} token
     * @param {number | undefined} expiresAt
     * @param {number} now
     * @param {Case[]} actions
     */
    credentialReady(token, expiresAt, now, actions = []) {
        if (this.isClosed) return actions;
        this.#credential.arrived(token, expiresAt, now);
        // One that is about to expire already is used nevertheless: the provider has no better one. It is asked again
        // before the next attempt.
        return this.#state.type == "fetching" ? this.#open(now, actions) : actions;
    }

    /**
     * @param {SignalingFailure} failure
     * @param {number} now
     * @param {RandomSource} random
     * @param {Case[]} actions
     */
    credentialFailed(failure, now, random, actions = []) {
        if (this.#state.type != "fetching") return actions;
        if (!failure.isRetryable) return this.close({ type: "credentialFailed", value: failure }, actions);
        return this.#state.until !== undefined ? this.#open(now, actions) : this.#retry(failure, now, random, actions);
    }

    /**
     * @param {number} generation
     * @param {number} now
     * @param {Case[]} actions
     */
    transportConnected(generation, now, actions = []) {
        if (this.#state.type != "opening" || this.#state.generation != generation) {
            // Late success of an attempt that was given up.
            if (generation != this.#currentGeneration) actions.push({ type: "abortTransport", value: generation });
            return actions;
        }
        const deadline = plus(now, this.#configuration.helloTimeout);
        this.#state = { type: "greeting", generation, startedAt: now, deadline };
        actions.push(attemptTimer(deadline), {
            type: "requestHello", token: this.#credential.token, received: this.#streams.received,
            mustRejoin: this.#streams.mustRejoin, attempt: generation,
        });
        return actions;
    }

    /**
     * Sends the `hello` that was asked for.
     * @param {object} hello
     * @param {Case[]} actions
     */
    sendHello(hello, actions = []) {
        if (this.#state.type != "greeting") return actions;
        return this.#sendAlone({ type: "hello", value: hello }, actions);
    }

    /**
     * @param {number} generation
     * @param {SignalingFailure} failure
     * @param {number} now
     * @param {RandomSource} random
     * @param {Case[]} actions
     */
    transportFailed(generation, failure, now, random, actions = []) {
        if (this.#state.type != "opening" || this.#state.generation != generation) return actions;
        // For a participant that was let in before, a 403 is not final: it may be of something on the way (a proxy, a
        // portal).
        if (failure.status == 401 || (failure.status == 403 && !this.#hasBeenConnected)) {
            if (!this.refreshCredential(failure, now, random, actions)) {
                this.close({ type: "refused", value: failure }, actions);
            }
        } else if (failure.isRetryable || this.#hasBeenConnected) {
            this.#retry(failure, now, random, actions);
        } else {
            this.close({ type: "refused", value: failure }, actions);
        }
        return actions;
    }

    /**
     * @param {number} generation
     * @param {SignalingFailure | undefined} failure
     * @param {number} now
     * @param {RandomSource} random
     * @param {Case[]} actions
     */
    transportClosed(generation, failure, now, random, actions = []) {
        if (generation != this.#currentGeneration) return actions;
        return this.#retry(failure ?? signalingFailure("the server closed the connection"), now, random, actions);
    }

    // MARK: Ends

    /**
     * Ends the connection or attempt, and waits for the next one. The transport is gone, or was aborted.
     * @param {SignalingFailure} failure
     * @param {number} now
     * @param {RandomSource} random
     * @param {Case[]} actions
     */
    #retry(failure, now, random, actions = []) {
        if (this.isClosed) return actions;
        this.#leaveConnected(actions);
        this.#cause = failure;
        this.#changeStatus({ type: "disconnected", cause: failure }, actions);
        let delay = this.#backoff.nextDelay(now, random);
        if (delay === undefined) return this.close({ type: "gaveUp", value: failure }, actions);
        this.#attempt += 1;
        const window = failure.retryAfter;
        if (window) {
            const earliest = clamp(window.lowerBound, 0, 3600);
            const latest = Math.min(Math.max(window.upperBound, earliest), 3600);
            delay = plus(earliest, duration(random, minus(latest, earliest)));
        }
        const until = plus(now, delay);
        this.#state = { type: "waiting", until };
        this.#changeStatus(
            { type: "connecting", attempt: this.#attempt, nextAttemptAt: until, cause: failure }, actions);
        actions.push(attemptTimer(until));
        return actions;
    }

    /**
     * As `retry`, for a transport that may still be open: it is ended without a close handshake.
     * @param {SignalingFailure} failure
     * @param {number} now
     * @param {RandomSource} random
     * @param {Case[]} actions
     */
    abortAndRetry(failure, now, random, actions = []) {
        return this.#retry(failure, now, random, this.#abort(actions));
    }

    /**
     * Asks the provider for a new credential and tries again: at once, and behind a backoff when that was done not long
     * ago. False, and nothing done, when another one would not help.
     * @param {SignalingFailure} failure
     * @param {number} now
     * @param {RandomSource} random
     * @param {Case[]} actions
     */
    refreshCredential(failure, now, random, actions = []) {
        if (this.isClosed) return false;
        const renewal = this.#credential.refused(failure.code == "token_expired", now);
        if (renewal == "useless") return false;
        if (renewal == "later") {
            this.abortAndRetry(failure, now, random, actions);
        } else {
            this.#abort(actions);
            this.#attemptAgain(failure, now, actions);
        }
        return true;
    }

    /** Drops the place in both streams: the next `hello` asks for a rejoin. */
    requireRejoin() { this.#streams.requireRejoin(); }

    /**
     * Comes back over a new connection, for what only a `joined` brings.
     * @param {number} now
     * @param {Case[]} actions
     */
    reconnectInOrder(now, actions = []) {
        if (!this.isConnected) return actions;
        this.#closeTransport(normalClose, actions);
        return this.#attemptAgain(undefined, now, actions);
    }

    /** @param {Case[]} actions */
    leave(actions = []) {
        // While greeting, it comes behind the `hello`, which the server may take.
        if (this.isConnected || this.#state.type == "greeting") this.#sendAlone({ type: "leave" }, actions);
        return this.close({ type: "left" }, actions);
    }

    /**
     * @param {Case} reason
     * @param {Case[]} actions
     */
    close(reason, actions = []) {
        if (this.isClosed) return actions;
        if (this.#state.type == "opening") this.#abort(actions); else this.#closeTransport(normalClose, actions);
        this.#leaveConnected(actions);
        actions.push(cancelAttempt);
        this.#state = { type: "closed" };
        this.#changeStatus({ type: "closed", value: reason }, actions);
        return actions;
    }

    // MARK: Messages

    /**
     * Sends a message to the server, now or as soon as there is a connection. It is numbered, and kept until
     * acknowledged.
     * @param {Case} message
     * @param {number} now
     * @param {RandomSource} random
     * @param {Case[]} actions
     */
    send(message, now, random, actions = []) {
        if (this.isClosed) return actions;
        const dropped = this.#streams.append(message);
        if (dropped !== undefined) {
            actions.push({ type: "overflow", dropped });
            if (this.isConnected) {
                this.abortAndRetry(signalingFailure("the server acknowledges nothing"), now, random, actions);
            }
            return actions;
        }
        return this.#withConnection(now, random, actions, (connection, streams) =>
            connection.send(streams.takeUnsent(), streams));
    }

    /**
     * Takes back what was not sent yet.
     * @param {(signal: any) => boolean} isSuperseded
     */
    removeUnsentSignals(isSuperseded) { this.#streams.removeUnsentSignals(isSuperseded); }

    /**
     * @param {Envelope} envelope
     * @param {number} generation
     * @param {number} now
     * @param {RandomSource} random
     * @param {Case[]} actions
     */
    received(envelope, generation, now, random, actions = []) {
        if (generation != this.#currentGeneration) return actions;
        this.checkLateness(now, random, actions);
        if (this.#state.type == "greeting") return this.#receivedGreeting(envelope.message, now, random, actions);
        return this.#withConnection(now, random, actions, (connection, streams) =>
            connection.received(envelope, streams, now));
    }

    /**
     * @param {import("./values.js").ProtocolError} error
     * @param {number} generation
     * @param {number} now
     * @param {RandomSource} random
     * @param {Case[]} actions
     */
    receivedMalformed(error, generation, now, random, actions = []) {
        if (generation != this.#currentGeneration) return actions;
        if (error.code == "version_mismatch") {
            actions.push({ type: "deliver", value: { type: "error", value: error }, isReplayed: false });
        } else if (!error.isFatal && this.isConnected) {
            this.#withConnection(now, random, actions, (connection, streams) =>
                connection.receivedUnusable(error.sequence, streams, now));
        } else {
            // What it said is lost, and its number with it.
            this.#streams.requireRejoin();
            this.abortAndRetry(refusalFailure(error), now, random, actions);
        }
        return actions;
    }

    /**
     * @param {Case} message
     * @param {number} now
     * @param {RandomSource} random
     * @param {Case[]} actions
     */
    #receivedGreeting(message, now, random, actions) {
        if (this.#state.waiting !== undefined) this.#wait(this.#state.waiting, now, actions);
        switch (message.type) {
        case "waiting":
            this.#wait(plus(message.pingInterval, message.pingDeadline), now, actions);
            this.#cause = signalingFailure(
                "the room does not exist yet: waiting for its host", { cause: "waitingForRoom" });
            this.#changeStatus({ type: "connecting", attempt: this.#attempt, cause: this.#cause }, actions);
            break;
        case "joined": this.#enter(message.value, now, random, actions); break;
        case "error": actions.push({ type: "deliver", value: message, isReplayed: false }); break;
        case "goingAway": this.#leaveInOrder(message.retryAfter, now, random, actions); break;
        case "ping": this.#sendAlone({ type: "pong", id: message.id }, actions); break;
        }
        return actions;
    }

    /**
     * The room does not exist yet: the server says something before `patience` is over, or is gone.
     * @param {number} patience
     * @param {number} now
     * @param {Case[]} actions
     */
    #wait(patience, now, actions) {
        const deadline = plus(now, patience);
        this.#state = { ...this.#state, waiting: patience, startedAt: now, deadline };
        actions.push(attemptTimer(deadline));
    }

    /**
     * @param {any} joined
     * @param {number} now
     * @param {RandomSource} random
     * @param {Case[]} actions
     */
    #enter(joined, now, random, actions) {
        const unsent = this.#streams.begin(joined);
        if (!unsent) {
            this.abortAndRetry(
                signalingFailure("the server resumed at another place of the stream"), now, random, actions);
            return;
        }
        this.#credential.accepted();
        this.#cause = undefined;
        actions.push(cancelAttempt);
        /** @type {Case[]} */
        const timers = [];
        const connection =
            new AdmittedConnection(this.#state.generation, joined, this.#configuration, now, timers);
        this.#state = { type: "connected", connection };
        this.#withConnection(now, random, actions, () => timers);
        this.#changeStatus({ type: "connected" }, actions);
        this.#withConnection(now, random, actions, (connection, streams) => connection.send(unsent, streams));
        actions.push({ type: "deliver", value: { type: "joined", value: joined }, isReplayed: false });
    }

    /**
     * The server ends in order: both sides know what the other has, so the connection is left at once.
     * @param {{ lowerBound: number, upperBound: number }} window
     * @param {number} now
     * @param {RandomSource} random
     * @param {Case[]} actions
     */
    #leaveInOrder(window, now, random, actions) {
        this.#closeTransport(goingAwayClose, actions);
        this.#retry(
            signalingFailure("the server is going away", { retryAfter: window, cause: "serverGoingAway" }), now, random,
            actions);
    }

    // MARK: Time

    /**
     * @param {Case} timer
     * @param {number} now
     * @param {RandomSource} random
     * @param {Case[]} actions
     */
    timerFired(timer, now, random, actions = []) {
        if (timer.type == "connection") {
            return this.#withConnection(now, random, actions, (connection, streams) =>
                connection.timerFired(timer.value, streams, now));
        }
        const { type, deadline = this.#state.until } = this.#state;
        if (deadline === undefined) return actions;
        if (now < deadline) {
            actions.push(attemptTimer(deadline));
            return actions;
        }
        switch (type) {
        // What the provider says later is for the next attempt, or for the hello of this one.
        case "fetching": return this.#open(now, actions);
        case "waiting": return this.#beginAttempt(now, actions);
        case "opening":
            return this.abortAndRetry(signalingFailure("connecting took too long"), now, random, actions);
        default:
            return this.abortAndRetry(signalingFailure("the server did not answer the hello"), now, random, actions);
        }
    }

    /**
     * Probes an open connection, or makes the next attempt at once.
     * @param {number} now
     * @param {RandomSource} random
     * @param {Case[]} actions
     */
    probeOrRetry(now, random, actions = []) {
        switch (this.#state.type) {
        case "waiting": return this.#beginAttempt(now, actions);
        case "opening": case "greeting":
            // An attempt that has been under way for a while may be bound to a network that is no more.
            return minus(now, this.#state.startedAt) > 0.5
                ? this.#beginAttempt(now, this.#abort(actions)) : actions;
        default:
            return this.#withConnection(now, random, actions, (connection, streams) => connection.probe(streams, now));
        }
    }

    /**
     * Before anything else: whether this page did not run for a while (frozen, starved) without having slept.
     * @param {number} now
     * @param {RandomSource} random
     * @param {Case[]} actions
     */
    checkLateness(now, random, actions = []) {
        return this.#withConnection(now, random, actions, (connection, streams) =>
            connection.checkLateness(streams, now));
    }

    /**
     * This machine has slept for `sleep`. An open connection is asked for a sign of life, and has its time for it; an
     * attempt that was under way is made anew; a credential has aged.
     * @param {number} sleep
     * @param {number} now
     * @param {RandomSource} random
     * @param {Case[]} actions
     */
    woke(sleep, now, random, actions = []) {
        this.#credential.woke(sleep);
        switch (this.#state.type) {
        case "waiting": return this.#beginAttempt(now, actions);
        case "opening": case "greeting": return this.#beginAttempt(now, this.#abort(actions));
        default: return this.catchUp(now, random, actions);
        }
    }

    /**
     * Asks an open connection for an answer, which comes behind all messages that the server has sent before.
     * @param {number} now
     * @param {RandomSource} random
     * @param {Case[]} actions
     */
    catchUp(now, random, actions = []) {
        return this.#withConnection(now, random, actions, (connection, streams) => connection.catchUp(streams, now));
    }

    /**
     * As `probeOrRetry`. `isLost`: the connection leaves from an address that this machine does not have any more. It
     * would be silent for ever.
     * @param {boolean} isLost
     * @param {number} now
     * @param {RandomSource} random
     * @param {Case[]} actions
     */
    networkChanged(isLost, now, random, actions = []) {
        if (!isLost || !this.isConnected) return this.probeOrRetry(now, random, actions);
        this.#abort(actions);
        this.#leaveConnected(actions);
        const cause = signalingFailure("the connection's local address is gone", { cause: "networkChanged" });
        this.#changeStatus({ type: "disconnected", cause }, actions);
        return this.#attemptAgain(cause, now, actions, true);
    }

    /**
     * Another participant has just reached the server: the next attempt is made now. At most once a second, so that no
     * participant can dictate the pace.
     * @param {number} now
     * @param {RandomSource} random
     * @param {Case[]} actions
     */
    serverIsBack(now, random, actions = []) {
        return this.#takeHint(["waiting", "opening"].includes(this.#state.type), now, random, actions);
    }

    /**
     * Another participant receives nothing from this side, and this side receives its messages: what this side sends
     * may get lost, to the server too. At most once a second.
     * @param {number} now
     * @param {RandomSource} random
     * @param {Case[]} actions
     */
    unheard(now, random, actions = []) { return this.#takeHint(this.isConnected, now, random, actions); }

    /**
     * @param {boolean} isOfUse
     * @param {number} now
     * @param {RandomSource} random
     * @param {Case[]} actions
     */
    #takeHint(isOfUse, now, random, actions) {
        if (!isOfUse || (this.#lastHintAt !== undefined && minus(now, this.#lastHintAt) < 1)) return actions;
        this.#lastHintAt = now;
        return this.probeOrRetry(now, random, actions);
    }

    // MARK: Small parts

    /**
     * The generation of the transport that is opening or open.
     * @returns {number | undefined}
     */
    get #currentGeneration() { return this.isConnected ? this.#state.connection.generation : this.#state.generation; }

    /**
     * Ends what is opening or open without a close handshake.
     * @param {Case[]} actions
     */
    #abort(actions) {
        const value = this.#currentGeneration;
        if (value !== undefined) actions.push({ type: "abortTransport", value });
        return actions;
    }

    /**
     * Ends what is opening or open in order.
     * @param {{ code: number, reason: string }} value1
     * @param {Case[]} actions
     */
    #closeTransport(value1, actions) {
        const value0 = this.#currentGeneration;
        if (value0 !== undefined) actions.push({ type: "closeTransport", value0, value1 });
    }

    /**
     * Sends a message that has no number.
     * @param {Case} message
     * @param {Case[]} actions
     */
    #sendAlone(message, actions) {
        actions.push({ type: "send", value0: { message }, value1: this.#currentGeneration });
        return actions;
    }

    /**
     * Makes the next attempt at once.
     * @param {SignalingFailure | undefined} cause
     * @param {number} now
     * @param {Case[]} actions
     * @param {boolean} hasLeft
     */
    #attemptAgain(cause, now, actions, hasLeft = false) {
        if (!hasLeft) this.#leaveConnected(actions);
        this.#cause = cause;
        this.#attempt += 1;
        return this.#beginAttempt(now, actions);
    }

    /** @param {Case[]} actions */
    #leaveConnected(actions) {
        if (!this.isConnected) return;
        for (const value of connectionTimers) {
            actions.push({ type: "cancelTimer", value: { type: "connection", value } });
        }
    }

    /**
     * Lets the connection decide, where there is one, and carries out what it has decided.
     * @param {number} now
     * @param {RandomSource} random
     * @param {Case[]} actions
     * @param {(connection: AdmittedConnection, streams: SignalingStreams) => Case[]} body
     */
    #withConnection(now, random, actions, body) {
        if (!this.isConnected) return actions;
        const { connection } = this.#state;
        for (const decision of body(connection, this.#streams)) {
            switch (decision.type) {
            case "send":
                actions.push({ type: "send", value0: decision.value, value1: connection.generation });
                break;
            case "scheduleTimer":
                actions.push({
                    type: "scheduleTimer", value: { type: "connection", value: decision.value }, at: decision.at,
                });
                break;
            case "deliver": actions.push(decision); break;
            case "reportStable":
                this.#backoff.stabilized();
                this.#attempt = 0;
                break;
            case "leave": this.#leaveInOrder(decision.value, now, random, actions); break;
            case "abort": this.abortAndRetry(decision.value, now, random, actions); break;
            }
        }
        return actions;
    }

    /**
     * @param {Case} status
     * @param {Case[]} actions
     */
    #changeStatus(status, actions) {
        if (equal(status, this.status)) return;
        this.status = status;
        actions.push({ type: "changeStatus", value: status });
    }
}

/** @param {number} at */
const attemptTimer = (at) => ({ type: "scheduleTimer", value: { type: "attempt" }, at });

const cancelAttempt = { type: "cancelTimer", value: { type: "attempt" } };
