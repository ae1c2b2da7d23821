//# allFunctionsCalledOnLoad
import { connectionTimers } from "./admitted-connection.js";
import { Backoff } from "./backoff.js";
import { duration } from "./random.js";
import { SignalingCredential } from "./signaling-credential.js";
import { clamp, minus, plus } from "./time.js";
import { equal, signalingFailure } from "./values.js";
/**
 * @typedef {import("./values.js").Case} Case
 * @typedef {import("./values.js").SignalingFailure} SignalingFailure
 * @typedef {import("./random.js").RandomSource} RandomSource
 * @typedef {import("./signaling-streams.js").SignalingStreams} SignalingStreams
 */

/** SignalingClose.normal and .goingAway. */
const normalClose = { code: 1000, reason: "" }, goingAwayClose = { code: 1001, reason: "" };

/** @param {number} at */
const attemptTimer = (at) => ({ type: "scheduleTimer", value: { type: "attempt" }, at });

const cancelAttempt = { type: "cancelTimer", value: { type: "attempt" } };

/**
 * The attempts to reach the room server, from the first until its `joined`, and again when a connection has ended: with
 * which credential, after which time, and for how long. The status claims no more than the evidence shows.
 *
 * States: `idle`, `waiting(until)`, `fetching(until)`, `opening(generation, startedAt, deadline)`,
 * `greeting(generation, startedAt, deadline, waiting)`, `connected(generation, connection)`, `closed`.
 */
export class SignalingAttempts {
    #configuration;
    #backoff;
    #credential;
    #streams;
    /** @type {Case} */
    state = { type: "idle" };
    /** The last generation that was used. */
    #generation = 0;
    /** Attempts of this outage. */
    #attempt = 0;
    /**
     * Why the last attempt or connection ended.
     * @type {SignalingFailure | undefined}
     */
    #cause;
    /** @type {Case} */
    status = { type: "disconnected" };
    // Of the present call.
    /** @type {Case[]} */
    #actions = [];
    now = 0;
    /** @type {RandomSource} */
    #random = { next: () => 0n };

    /** @param {import("./configuration.js").MachineConfiguration} configuration @param {SignalingStreams} streams */
    constructor({ signaling, token, hasCredentialProvider }, streams) {
        this.#configuration = signaling;
        this.#backoff = new Backoff(signaling.backoff);
        this.#credential = new SignalingCredential(token, hasCredentialProvider, signaling.credentialMargin);
        this.#streams = streams;
    }

    get isClosed() { return this.state.type == "closed"; }
    get #hasBeenConnected() { return this.#streams.hasBegun; }

    /**
     * Lets `body` decide, unless everything is over, and returns what follows from it.
     * @param {number} now @param {RandomSource | undefined} random @param {(attempts: this) => void} body
     */
    run(now, random, body) {
        this.now = now;
        if (random) this.#random = random;
        if (!this.isClosed) body(this);
        return this.#actions.splice(0);
    }

    /** @param {...Case} actions */
    act(...actions) { this.#actions.push(...actions); }

    // MARK: Attempts

    start() { if (this.state.type == "idle") this.again(undefined); }

    /** Fetches a credential if one is needed, then opens a transport. */
    #begin() {
        this.changeStatus({ type: "connecting", attempt: this.#attempt, cause: this.#cause });
        if (!this.#credential.mustBeFetched(this.now)) return this.#open();
        this.#credential.requested();
        const forced = this.#credential.isForcing;
        // A participant that was in the room shows a session token: a provider that is slow or broken must not keep it
        // outside.
        const until = this.#hasBeenConnected && !forced
            ? plus(this.now, this.#configuration.credentialPatience) : undefined;
        this.state = { type: "fetching", until };
        this.act(until === undefined ? cancelAttempt : attemptTimer(until), { type: "requestCredential", forced });
    }

    #open() {
        const generation = this.#generation += 1;
        const deadline = plus(this.now, this.#configuration.attemptTimeout);
        this.state = { type: "opening", generation, startedAt: this.now, deadline };
        this.act({ type: "openTransport", value: generation }, attemptTimer(deadline));
    }

    /** @param {string | undefined} token @param {number | undefined} expiresAt */
    credentialReady(token, expiresAt) {
        this.#credential.arrived(token, expiresAt, this.now);
        // One that is about to expire already is used nevertheless: the provider has no better one. It is asked again
        // before the next attempt.
        if (this.state.type == "fetching") this.#open();
    }

    /** @param {SignalingFailure} failure */
    credentialFailed(failure) {
        if (this.state.type != "fetching") return;
        if (!failure.isRetryable) this.close({ type: "credentialFailed", value: failure });
        else if (this.state.until !== undefined) this.#open();
        else this.retry(failure);
    }

    /** @param {number} generation */
    transportConnected(generation) {
        if (!this.#isOpening(generation)) {
            // Late success of an attempt that was given up.
            if (generation != this.state.generation) this.act({ type: "abortTransport", value: generation });
            return;
        }
        const deadline = plus(this.now, this.#configuration.helloTimeout);
        this.state = { type: "greeting", generation, startedAt: this.now, deadline };
        this.act(attemptTimer(deadline), {
            type: "requestHello", token: this.#credential.token, received: this.#streams.received,
            mustRejoin: this.#streams.mustRejoin, attempt: generation,
        });
    }

    /** @param {number} generation */
    #isOpening(generation) { return this.state.type == "opening" && this.state.generation == generation; }

    /** @param {number} generation @param {SignalingFailure} failure */
    transportFailed(generation, failure) {
        if (!this.#isOpening(generation)) return;
        // For a participant that was let in before, a 403 is not final: it may be of something on the way (a proxy, a
        // portal).
        const isRefusal = failure.status == 401 || (failure.status == 403 && !this.#hasBeenConnected);
        const isFinal = isRefusal ? !this.refreshCredential(failure) : !failure.isRetryable && !this.#hasBeenConnected;
        if (isFinal) this.close({ type: "refused", value: failure });
        else if (!isRefusal) this.retry(failure);
    }

    /**
     * A message has come before the `joined`, or it is that.
     * @param {Case} message
     */
    receivedGreeting(message) {
        if (this.state.waiting !== undefined) this.#wait(this.state.waiting);
        switch (message.type) {
        case "waiting":
            this.#wait(plus(message.pingInterval, message.pingDeadline));
            this.#cause = signalingFailure(
                "the room does not exist yet: waiting for its host", { cause: "waitingForRoom" });
            return this.changeStatus({ type: "connecting", attempt: this.#attempt, cause: this.#cause });
        case "error": return this.act({ type: "deliver", value: message, isReplayed: false });
        case "goingAway": return this.leaveInOrder(message.retryAfter);
        case "ping": return this.sendAlone({ type: "pong", id: message.id });
        }
    }

    /**
     * The room does not exist yet: the server says something before `patience` is over, or is gone.
     * @param {number} patience
     */
    #wait(patience) {
        const deadline = plus(this.now, patience);
        this.state = { ...this.state, waiting: patience, startedAt: this.now, deadline };
        this.act(attemptTimer(deadline));
    }

    /**
     * The server has let this participant in.
     * @param {import("./admitted-connection.js").AdmittedConnection} connection
     */
    succeeded(connection) {
        this.#credential.accepted();
        this.#cause = undefined;
        this.act(cancelAttempt);
        this.state = { type: "connected", generation: connection.generation, connection };
    }

    /** The connection has held for a while. */
    stabilized() {
        this.#backoff.stabilized();
        this.#attempt = 0;
    }

    // MARK: Ends

    /**
     * Ends the connection or attempt, and waits for the next one. The transport is gone, or was aborted.
     * @param {SignalingFailure} failure
     */
    retry(failure) {
        this.#leave();
        this.#cause = failure;
        this.changeStatus({ type: "disconnected", cause: failure });
        let delay = this.#backoff.nextDelay(this.now, this.#random);
        if (delay === undefined) return this.close({ type: "gaveUp", value: failure });
        this.#attempt += 1;
        const window = failure.retryAfter;
        if (window) {
            const earliest = clamp(window.lowerBound, 0, 3600);
            const latest = Math.min(Math.max(window.upperBound, earliest), 3600);
            delay = plus(earliest, duration(this.#random, minus(latest, earliest)));
        }
        const until = plus(this.now, delay);
        this.state = { type: "waiting", until };
        this.changeStatus({ type: "connecting", attempt: this.#attempt, nextAttemptAt: until, cause: failure });
        this.act(attemptTimer(until));
    }

    /**
     * As `retry`, for a transport that may still be open: it is ended without a close handshake.
     * @param {SignalingFailure} failure
     */
    abortAndRetry(failure) {
        this.abort();
        this.retry(failure);
    }

    #abortAndBegin() {
        this.abort();
        this.#begin();
    }

    /**
     * Makes the next attempt at once. `isNews`: the connection before it has failed.
     * @param {SignalingFailure | undefined} cause
     */
    again(cause, isNews = false) {
        this.#leave();
        this.#cause = cause;
        if (isNews) this.changeStatus({ type: "disconnected", cause });
        this.#attempt += 1;
        this.#begin();
    }

    /** Comes back over a new connection, for what only a `joined` brings. */
    reconnectInOrder() {
        this.#closeTransport(normalClose);
        this.again(undefined);
    }

    /**
     * The server ends in order: both sides know what the other has, so the connection is left at once.
     * @param {SignalingFailure["retryAfter"]} window
     */
    leaveInOrder(window) {
        this.#closeTransport(goingAwayClose);
        this.retry(signalingFailure("the server is going away", { retryAfter: window, cause: "serverGoingAway" }));
    }

    /**
     * Asks the provider for a new credential and tries again: at once, and behind a backoff when that was done not long
     * ago. False, and nothing done, when another one would not help.
     * @param {SignalingFailure} failure
     */
    refreshCredential(failure) {
        const renewal = this.#credential.refused(failure.code == "token_expired", this.now);
        if (renewal == "useless") return false;
        this.abort();
        if (renewal == "later") this.retry(failure);
        else this.again(failure);
        return true;
    }

    /** @param {Case} reason */
    close(reason) {
        if (this.state.type == "opening") this.abort(); else this.#closeTransport(normalClose);
        this.#leave();
        this.act(cancelAttempt);
        this.state = { type: "closed" };
        this.changeStatus({ type: "closed", value: reason });
    }

    // MARK: Time

    timerFired() {
        const { type, deadline = this.state.until } = this.state;
        if (deadline === undefined) return;
        if (this.now < deadline) return this.act(attemptTimer(deadline));
        switch (type) {
        // What the provider says later is for the next attempt, or for the hello of this one.
        case "fetching": return this.#open();
        case "waiting": return this.#begin();
        case "opening": return this.abortAndRetry(signalingFailure("connecting took too long"));
        default: return this.abortAndRetry(signalingFailure("the server did not answer the hello"));
        }
    }

    /** Makes the next attempt at once. One that has been under way for a while may be bound to a lost network. */
    hurry() {
        if (this.state.type == "waiting") this.#begin();
        else if (minus(this.now, this.state.startedAt) > 0.5) this.#abortAndBegin();
    }

    /**
     * This machine has slept for `sleep`: an attempt that was under way is made anew; the credential has aged.
     * @param {number} sleep
     */
    woke(sleep) {
        this.#credential.woke(sleep);
        switch (this.state.type) {
        case "waiting": return this.#begin();
        case "opening": case "greeting": return this.#abortAndBegin();
        }
    }

    // MARK: The transport that is opening or open

    /** Ends it without a close handshake. */
    abort() {
        const value = this.state.generation;
        if (value !== undefined) this.act({ type: "abortTransport", value });
    }

    /**
     * Ends it in order.
     * @param {{ code: number, reason: string }} value1
     */
    #closeTransport(value1) {
        const value0 = this.state.generation;
        if (value0 !== undefined) this.act({ type: "closeTransport", value0, value1 });
    }

    /**
     * Sends a message that has no number.
     * @param {Case} message
     */
    sendAlone(message) { this.act({ type: "send", value0: { message }, value1: this.state.generation }); }

    #leave() {
        if (this.state.type != "connected") return;
        this.act(...connectionTimers.map((value) => ({ type: "cancelTimer", value: { type: "connection", value } })));
    }

    /** @param {Case} status */
    changeStatus(status) {
        if (equal(status, this.status)) return;
        this.status = status;
        this.act({ type: "changeStatus", value: status });
    }
}
