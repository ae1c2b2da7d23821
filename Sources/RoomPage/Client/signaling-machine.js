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
 * @typedef {(connection: AdmittedConnection, streams: SignalingStreams) => Case[]} Decision
 */

/** SignalingClose.normal and .goingAway. */
const normalClose = { code: 1000, reason: "" }, goingAwayClose = { code: 1001, reason: "" };

/** @param {number} at */
const attemptTimer = (at) => ({ type: "scheduleTimer", value: { type: "attempt" }, at });

const cancelAttempt = { type: "cancelTimer", value: { type: "attempt" } };

/**
 * Keeps one signaling connection: attempts, backoff and credentials, and a status that claims no more than the evidence
 * shows. An open connection decides for itself (`AdmittedConnection`). Knows nothing of rooms: it asks for the `hello`,
 * and passes on the messages of the server.
 *
 * Methods return actions: `openTransport(value)`, `abortTransport(value)`, `closeTransport(value0, value1)`,
 * `send(value0, value1)`, `requestCredential(forced)`, `scheduleTimer(value, at)`, `cancelTimer(value)`,
 * `changeStatus(value)`, `requestHello(token, received, mustRejoin, attempt)` (answered at once by `sendHello`),
 * `deliver(value, isReplayed)`, `overflow(dropped)`. Timers: `attempt`, `connection(value)`.
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
    /** @type {Case} */
    status = { type: "disconnected" };
    // Of the present call.
    /** @type {Case[]} */
    #actions = [];
    #now = 0;
    /** @type {RandomSource} */
    #random = { next: () => 0n };

    /** @param {import("./configuration.js").MachineConfiguration} configuration */
    constructor({ signaling, token, hasCredentialProvider }) {
        this.#configuration = signaling;
        this.#backoff = new Backoff(signaling.backoff);
        this.#credential = new SignalingCredential(token, hasCredentialProvider, signaling.credentialMargin);
        this.#streams = new SignalingStreams(signaling.queueLimit, signaling.queueByteLimit);
    }

    get #hasBeenConnected() { return this.#streams.hasBegun; }
    /** Whether what the server has said lately may still be unread: this page did not run for a while. */
    get isCatchingUp() { return this.isConnected && this.#state.connection.isCatchingUp; }
    get isConnected() { return this.#state.type == "connected"; }
    get isClosed() { return this.#state.type == "closed"; }
    /** Messages that wait for the server's acknowledgement or for a connection. */
    get queuedMessages() { return this.#streams.queuedMessages; }

    /**
     * Lets `body` decide, unless everything is over, and returns what follows from it.
     * @param {number} now @param {RandomSource | undefined} random @param {() => void} body
     */
    #run(now, random, body) {
        this.#now = now;
        if (random) this.#random = random;
        if (!this.isClosed) body();
        const actions = this.#actions;
        this.#actions = [];
        return actions;
    }

    /** @param {...Case} actions */
    #act(...actions) { this.#actions.push(...actions); }

    // MARK: Attempts

    /** @param {number} now */
    start(now) {
        return this.#run(now, undefined, () => {
            if (this.#state.type != "idle") return;
            this.#attempt = 1;
            this.#beginAttempt();
        });
    }

    /** Fetches a credential if one is needed, then opens a transport. */
    #beginAttempt() {
        this.#changeStatus({ type: "connecting", attempt: this.#attempt, cause: this.#cause });
        if (!this.#credential.mustBeFetched(this.#now)) return this.#open();
        this.#credential.requested();
        const forced = this.#credential.isForcing;
        // A participant that was in the room shows a session token: a provider that is slow or broken must not keep it
        // outside.
        const until = this.#hasBeenConnected && !forced
            ? plus(this.#now, this.#configuration.credentialPatience) : undefined;
        this.#state = { type: "fetching", until };
        this.#act(until === undefined ? cancelAttempt : attemptTimer(until), { type: "requestCredential", forced });
    }

    #open() {
        const generation = this.#generation += 1;
        const deadline = plus(this.#now, this.#configuration.attemptTimeout);
        this.#state = { type: "opening", generation, startedAt: this.#now, deadline };
        this.#act({ type: "openTransport", value: generation }, attemptTimer(deadline));
    }

    /** @param {string | undefined} token @param {number | undefined} expiresAt @param {number} now */
    credentialReady(token, expiresAt, now) {
        return this.#run(now, undefined, () => {
            this.#credential.arrived(token, expiresAt, now);
            // One that is about to expire already is used nevertheless: the provider has no better one. It is asked
            // again before the next attempt.
            if (this.#state.type == "fetching") this.#open();
        });
    }

    /** @param {SignalingFailure} failure @param {number} now @param {RandomSource} random */
    credentialFailed(failure, now, random) {
        return this.#run(now, random, () => {
            if (this.#state.type != "fetching") return;
            if (!failure.isRetryable) this.#close({ type: "credentialFailed", value: failure });
            else if (this.#state.until !== undefined) this.#open();
            else this.#retry(failure);
        });
    }

    /** @param {number} generation @param {number} now */
    transportConnected(generation, now) {
        // A transport that was opened too late must not stay open.
        if (this.isClosed) return [{ type: "abortTransport", value: generation }];
        return this.#run(now, undefined, () => {
            if (!this.#isOpening(generation)) {
                // Late success of an attempt that was given up.
                if (generation != this.#currentGeneration) this.#act({ type: "abortTransport", value: generation });
                return;
            }
            const deadline = plus(now, this.#configuration.helloTimeout);
            this.#state = { type: "greeting", generation, startedAt: now, deadline };
            this.#act(attemptTimer(deadline), {
                type: "requestHello", token: this.#credential.token, received: this.#streams.received,
                mustRejoin: this.#streams.mustRejoin, attempt: generation,
            });
        });
    }

    /** @param {number} generation */
    #isOpening(generation) { return this.#state.type == "opening" && this.#state.generation == generation; }

    /**
     * Sends the `hello` that was asked for.
     * @param {object} hello
     */
    sendHello(hello) {
        return this.#run(this.#now, undefined, () => {
            if (this.#state.type == "greeting") this.#sendAlone({ type: "hello", value: hello });
        });
    }

    /** @param {number} generation @param {SignalingFailure} failure @param {number} now @param {RandomSource} random */
    transportFailed(generation, failure, now, random) {
        return this.#run(now, random, () => {
            if (!this.#isOpening(generation)) return;
            // For a participant that was let in before, a 403 is not final: it may be of something on the way (a proxy,
            // a portal).
            const isRefusal = failure.status == 401 || (failure.status == 403 && !this.#hasBeenConnected);
            const isFinal = isRefusal ? !this.#refreshCredential(failure)
                : !failure.isRetryable && !this.#hasBeenConnected;
            if (isFinal) this.#close({ type: "refused", value: failure });
            else if (!isRefusal) this.#retry(failure);
        });
    }

    /**
     * @param {number} generation @param {SignalingFailure | undefined} failure @param {number} now
     * @param {RandomSource} random
     */
    transportClosed(generation, failure, now, random) {
        return this.#run(now, random, () => {
            if (generation == this.#currentGeneration) {
                this.#retry(failure ?? signalingFailure("the server closed the connection"));
            }
        });
    }

    // MARK: Ends

    /**
     * Ends the connection or attempt, and waits for the next one. The transport is gone, or was aborted.
     * @param {SignalingFailure} failure
     */
    #retry(failure) {
        this.#leaveConnected();
        this.#cause = failure;
        this.#changeStatus({ type: "disconnected", cause: failure });
        let delay = this.#backoff.nextDelay(this.#now, this.#random);
        if (delay === undefined) return this.#close({ type: "gaveUp", value: failure });
        this.#attempt += 1;
        const window = failure.retryAfter;
        if (window) {
            const earliest = clamp(window.lowerBound, 0, 3600);
            const latest = Math.min(Math.max(window.upperBound, earliest), 3600);
            delay = plus(earliest, duration(this.#random, minus(latest, earliest)));
        }
        const until = plus(this.#now, delay);
        this.#state = { type: "waiting", until };
        this.#changeStatus({ type: "connecting", attempt: this.#attempt, nextAttemptAt: until, cause: failure });
        this.#act(attemptTimer(until));
    }

    /** @param {SignalingFailure} failure @param {number} now @param {RandomSource} random */
    abortAndRetry(failure, now, random) { return this.#run(now, random, () => this.#abortAndRetry(failure)); }

    /**
     * As `#retry`, for a transport that may still be open: it is ended without a close handshake.
     * @param {SignalingFailure} failure
     */
    #abortAndRetry(failure) {
        this.#abort();
        this.#retry(failure);
    }

    /**
     * Asks the provider for a new credential and tries again: at once, and behind a backoff when that was done not long
     * ago. Undefined, and nothing done, when another one would not help.
     * @param {SignalingFailure} failure @param {number} now @param {RandomSource} random
     */
    refreshCredential(failure, now, random) {
        let isOfUse = false;
        const actions = this.#run(now, random, () => { isOfUse = this.#refreshCredential(failure); });
        return isOfUse ? actions : undefined;
    }

    /** @param {SignalingFailure} failure */
    #refreshCredential(failure) {
        const renewal = this.#credential.refused(failure.code == "token_expired", this.#now);
        if (renewal == "useless") return false;
        this.#abort();
        if (renewal == "later") this.#retry(failure);
        else this.#attemptAgain(failure);
        return true;
    }

    /** Drops the place in both streams: the next `hello` asks for a rejoin. */
    requireRejoin() { this.#streams.requireRejoin(); }

    /**
     * Comes back over a new connection, for what only a `joined` brings.
     * @param {number} now
     */
    reconnectInOrder(now) {
        return this.#run(now, undefined, () => {
            if (!this.isConnected) return;
            this.#closeTransport(normalClose);
            this.#attemptAgain(undefined);
        });
    }

    leave() {
        return this.#run(this.#now, undefined, () => {
            // While greeting, it comes behind the `hello`, which the server may take.
            if (this.isConnected || this.#state.type == "greeting") this.#sendAlone({ type: "leave" });
            this.#close({ type: "left" });
        });
    }

    /** @param {Case} reason */
    close(reason) { return this.#run(this.#now, undefined, () => this.#close(reason)); }

    /** @param {Case} reason */
    #close(reason) {
        if (this.#state.type == "opening") this.#abort(); else this.#closeTransport(normalClose);
        this.#leaveConnected();
        this.#act(cancelAttempt);
        this.#state = { type: "closed" };
        this.#changeStatus({ type: "closed", value: reason });
    }

    // MARK: Messages

    /**
     * Sends a message to the server, now or as soon as there is a connection. It is numbered, and kept until
     * acknowledged.
     * @param {Case} message @param {number} now @param {RandomSource} random
     */
    send(message, now, random) {
        return this.#run(now, random, () => {
            const dropped = this.#streams.append(message);
            if (dropped === undefined) {
                return this.#withConnection((connection, streams) => connection.send(streams.takeUnsent(), streams));
            }
            this.#act({ type: "overflow", dropped });
            if (this.isConnected) this.#abortAndRetry(signalingFailure("the server acknowledges nothing"));
        });
    }

    /**
     * Takes back what was not sent yet.
     * @param {(signal: any) => boolean} isSuperseded
     */
    removeUnsentSignals(isSuperseded) { this.#streams.removeUnsentSignals(isSuperseded); }

    /** @param {Envelope} envelope @param {number} generation @param {number} now @param {RandomSource} random */
    received(envelope, generation, now, random) {
        return this.#run(now, random, () => {
            if (generation != this.#currentGeneration) return;
            this.#checkLateness();
            if (this.#state.type == "greeting") return this.#receivedGreeting(envelope.message);
            this.#withConnection((connection, streams) => connection.received(envelope, streams, now));
        });
    }

    /**
     * @param {import("./values.js").ProtocolError} error @param {number} generation @param {number} now
     * @param {RandomSource} random
     */
    receivedMalformed(error, generation, now, random) {
        return this.#run(now, random, () => {
            if (generation != this.#currentGeneration) return;
            if (error.code == "version_mismatch") {
                this.#act({ type: "deliver", value: { type: "error", value: error }, isReplayed: false });
            } else if (!error.isFatal && this.isConnected) {
                this.#withConnection((connection, streams) =>
                    connection.receivedUnusable(error.sequence, streams, now));
            } else {
                // What it said is lost, and its number with it.
                this.#streams.requireRejoin();
                this.#abortAndRetry(refusalFailure(error));
            }
        });
    }

    /** @param {Case} message */
    #receivedGreeting(message) {
        if (this.#state.waiting !== undefined) this.#wait(this.#state.waiting);
        switch (message.type) {
        case "waiting":
            this.#wait(plus(message.pingInterval, message.pingDeadline));
            this.#cause = signalingFailure(
                "the room does not exist yet: waiting for its host", { cause: "waitingForRoom" });
            return this.#changeStatus({ type: "connecting", attempt: this.#attempt, cause: this.#cause });
        case "joined": return this.#enter(message.value);
        case "error": return this.#act({ type: "deliver", value: message, isReplayed: false });
        case "goingAway": return this.#leaveInOrder(message.retryAfter);
        case "ping": return this.#sendAlone({ type: "pong", id: message.id });
        }
    }

    /**
     * The room does not exist yet: the server says something before `patience` is over, or is gone.
     * @param {number} patience
     */
    #wait(patience) {
        const deadline = plus(this.#now, patience);
        this.#state = { ...this.#state, waiting: patience, startedAt: this.#now, deadline };
        this.#act(attemptTimer(deadline));
    }

    /** @param {any} joined */
    #enter(joined) {
        const unsent = this.#streams.begin(joined);
        if (!unsent) {
            return this.#abortAndRetry(signalingFailure("the server resumed at another place of the stream"));
        }
        this.#credential.accepted();
        this.#cause = undefined;
        this.#act(cancelAttempt);
        /** @type {Case[]} */
        const timers = [];
        const connection =
            new AdmittedConnection(this.#state.generation, joined, this.#configuration, this.#now, timers);
        this.#state = { type: "connected", connection };
        this.#withConnection(() => timers);
        this.#changeStatus({ type: "connected" });
        this.#withConnection((connection, streams) => connection.send(unsent, streams));
        this.#act({ type: "deliver", value: { type: "joined", value: joined }, isReplayed: false });
    }

    /**
     * The server ends in order: both sides know what the other has, so the connection is left at once.
     * @param {SignalingFailure["retryAfter"]} window
     */
    #leaveInOrder(window) {
        this.#closeTransport(goingAwayClose);
        this.#retry(signalingFailure("the server is going away", { retryAfter: window, cause: "serverGoingAway" }));
    }

    // MARK: Time

    /** @param {Case} timer @param {number} now @param {RandomSource} random */
    timerFired(timer, now, random) {
        return this.#run(now, random, () => {
            if (timer.type == "connection") {
                return this.#withConnection((connection, streams) => connection.timerFired(timer.value, streams, now));
            }
            const { type, deadline = this.#state.until } = this.#state;
            if (deadline === undefined) return;
            if (now < deadline) return this.#act(attemptTimer(deadline));
            switch (type) {
            // What the provider says later is for the next attempt, or for the hello of this one.
            case "fetching": return this.#open();
            case "waiting": return this.#beginAttempt();
            case "opening": return this.#abortAndRetry(signalingFailure("connecting took too long"));
            default: return this.#abortAndRetry(signalingFailure("the server did not answer the hello"));
            }
        });
    }

    /**
     * Probes an open connection, or makes the next attempt at once.
     * @param {number} now @param {RandomSource} random
     */
    probeOrRetry(now, random) { return this.#run(now, random, () => this.#probeOrRetry()); }

    #probeOrRetry() {
        switch (this.#state.type) {
        case "waiting": return this.#beginAttempt();
        case "opening": case "greeting":
            // An attempt that has been under way for a while may be bound to a network that is no more.
            if (minus(this.#now, this.#state.startedAt) > 0.5) this.#abortAndBegin();
            return;
        default: this.#withConnection((connection, streams) => connection.probe(streams, this.#now));
        }
    }

    #abortAndBegin() {
        this.#abort();
        this.#beginAttempt();
    }

    /**
     * Before anything else: whether this page did not run for a while (frozen, starved) without having slept.
     * @param {number} now @param {RandomSource} random
     */
    checkLateness(now, random) { return this.#run(now, random, () => this.#checkLateness()); }

    #checkLateness() {
        this.#withConnection((connection, streams) => connection.checkLateness(streams, this.#now));
    }

    /**
     * This machine has slept for `sleep`. An open connection is asked for a sign of life, and has its time for it; an
     * attempt that was under way is made anew; a credential has aged.
     * @param {number} sleep @param {number} now @param {RandomSource} random
     */
    woke(sleep, now, random) {
        return this.#run(now, random, () => {
            this.#credential.woke(sleep);
            switch (this.#state.type) {
            case "waiting": return this.#beginAttempt();
            case "opening": case "greeting": return this.#abortAndBegin();
            default: this.#catchUp();
            }
        });
    }

    /**
     * Asks an open connection for an answer, which comes behind all messages that the server has sent before.
     * @param {number} now @param {RandomSource} random
     */
    catchUp(now, random) { return this.#run(now, random, () => this.#catchUp()); }

    #catchUp() { this.#withConnection((connection, streams) => connection.catchUp(streams, this.#now)); }

    /**
     * As `probeOrRetry`. `isLost`: the connection leaves from an address that this machine does not have any more. It
     * would be silent for ever.
     * @param {boolean} isLost @param {number} now @param {RandomSource} random
     */
    networkChanged(isLost, now, random) {
        return this.#run(now, random, () => {
            if (!isLost || !this.isConnected) return this.#probeOrRetry();
            this.#abort();
            this.#leaveConnected();
            const cause = signalingFailure("the connection's local address is gone", { cause: "networkChanged" });
            this.#changeStatus({ type: "disconnected", cause });
            this.#attemptAgain(cause, true);
        });
    }

    /**
     * Another participant has just reached the server: the next attempt is made now. At most once a second, so that no
     * participant can dictate the pace.
     * @param {number} now @param {RandomSource} random
     */
    serverIsBack(now, random) { return this.#takeHint(["waiting", "opening"].includes(this.#state.type), now, random); }

    /**
     * Another participant receives nothing from this side, and this side receives its messages: what this side sends
     * may get lost, to the server too. At most once a second.
     * @param {number} now @param {RandomSource} random
     */
    unheard(now, random) { return this.#takeHint(this.isConnected, now, random); }

    /** @param {boolean} isOfUse @param {number} now @param {RandomSource} random */
    #takeHint(isOfUse, now, random) {
        return this.#run(now, random, () => {
            if (!isOfUse || (this.#lastHintAt !== undefined && minus(now, this.#lastHintAt) < 1)) return;
            this.#lastHintAt = now;
            this.#probeOrRetry();
        });
    }

    // MARK: Small parts

    /**
     * The generation of the transport that is opening or open.
     * @returns {number | undefined}
     */
    get #currentGeneration() { return this.isConnected ? this.#state.connection.generation : this.#state.generation; }

    /** Ends what is opening or open without a close handshake. */
    #abort() {
        const value = this.#currentGeneration;
        if (value !== undefined) this.#act({ type: "abortTransport", value });
    }

    /**
     * Ends what is opening or open in order.
     * @param {{ code: number, reason: string }} value1
     */
    #closeTransport(value1) {
        const value0 = this.#currentGeneration;
        if (value0 !== undefined) this.#act({ type: "closeTransport", value0, value1 });
    }

    /**
     * Sends a message that has no number.
     * @param {Case} message
     */
    #sendAlone(message) { this.#act({ type: "send", value0: { message }, value1: this.#currentGeneration }); }

    /**
     * Makes the next attempt at once.
     * @param {SignalingFailure | undefined} cause
     */
    #attemptAgain(cause, hasLeft = false) {
        if (!hasLeft) this.#leaveConnected();
        this.#cause = cause;
        this.#attempt += 1;
        this.#beginAttempt();
    }

    #leaveConnected() {
        if (!this.isConnected) return;
        this.#act(...connectionTimers.map((value) => ({ type: "cancelTimer", value: { type: "connection", value } })));
    }

    /**
     * Lets the connection decide, where there is one, and carries out what it has decided.
     * @param {Decision} body
     */
    #withConnection(body) {
        if (!this.isConnected) return;
        const { connection } = this.#state;
        for (const decision of body(connection, this.#streams)) {
            const { type, value } = decision;
            switch (type) {
            case "send": this.#act({ type, value0: value, value1: connection.generation }); break;
            case "scheduleTimer": this.#act({ ...decision, value: { type: "connection", value } }); break;
            case "deliver": this.#act(decision); break;
            case "reportStable":
                this.#backoff.stabilized();
                this.#attempt = 0;
                break;
            case "leave": this.#leaveInOrder(value); break;
            case "abort": this.#abortAndRetry(value);
            }
        }
    }

    /** @param {Case} status */
    #changeStatus(status) {
        if (equal(status, this.status)) return;
        this.status = status;
        this.#act({ type: "changeStatus", value: status });
    }
}
