//# allFunctionsCalledOnLoad
import { AdmittedConnection } from "./admitted-connection.js";
import { SignalingAttempts } from "./signaling-attempts.js";
import { SignalingStreams } from "./signaling-streams.js";
import { minus } from "./time.js";
import { refusalFailure, signalingFailure } from "./values.js";
/**
 * @typedef {import("./values.js").Case} Case
 * @typedef {import("./values.js").SignalingFailure} SignalingFailure
 * @typedef {import("./random.js").RandomSource} RandomSource
 * @typedef {import("./signaling-streams.js").Envelope} Envelope
 * @typedef {(connection: AdmittedConnection, streams: SignalingStreams) => Case[]} Decision
 */

/**
 * Keeps one signaling connection. Until the server lets this participant in, its attempts decide (`SignalingAttempts`),
 * then the connection does for itself (`AdmittedConnection`). Knows nothing of rooms: it asks for the `hello`, and
 * passes on the messages of the server.
 *
 * Methods return actions: `openTransport(value)`, `abortTransport(value)`, `closeTransport(value0, value1)`,
 * `send(value0, value1)`, `requestCredential(forced)`, `scheduleTimer(value, at)`, `cancelTimer(value)`,
 * `changeStatus(value)`, `requestHello(token, received, mustRejoin, attempt)` (answered at once by `sendHello`),
 * `deliver(value, isReplayed)`, `overflow(dropped)`. Timers: `attempt`, `connection(value)`.
 */
export class SignalingMachine {
    #configuration;
    #streams;
    #attempts;
    /**
     * When a report of another participant about the server was last acted on.
     * @type {number | undefined}
     */
    #lastHintAt;

    /** @param {import("./configuration.js").MachineConfiguration} configuration */
    constructor(configuration) {
        const { signaling } = configuration;
        this.#configuration = signaling;
        this.#streams = new SignalingStreams(signaling.queueLimit, signaling.queueByteLimit);
        this.#attempts = new SignalingAttempts(configuration, this.#streams);
    }

    get status() { return this.#attempts.status; }
    get #state() { return this.#attempts.state; }
    /** Whether what the server has said lately may still be unread: this page did not run for a while. */
    get isCatchingUp() { return this.isConnected && this.#state.connection.isCatchingUp; }
    get isConnected() { return this.#state.type == "connected"; }
    get isClosed() { return this.#attempts.isClosed; }
    /** Messages that wait for the server's acknowledgement or for a connection. */
    get queuedMessages() { return this.#streams.queuedMessages; }

    // MARK: Attempts

    /** @param {number} now */
    start(now) { return this.#attempts.run(now, undefined, (attempts) => attempts.start()); }

    /** @param {string | undefined} token @param {number | undefined} expiresAt @param {number} now */
    credentialReady(token, expiresAt, now) {
        return this.#attempts.run(now, undefined, (attempts) => attempts.credentialReady(token, expiresAt));
    }

    /** @param {SignalingFailure} failure @param {number} now @param {RandomSource} random */
    credentialFailed(failure, now, random) {
        return this.#attempts.run(now, random, (attempts) => attempts.credentialFailed(failure));
    }

    /** @param {number} generation @param {number} now */
    transportConnected(generation, now) {
        // A transport that was opened too late must not stay open.
        if (this.isClosed) return [{ type: "abortTransport", value: generation }];
        return this.#attempts.run(now, undefined, (attempts) => attempts.transportConnected(generation));
    }

    /**
     * Sends the `hello` that was asked for.
     * @param {object} hello
     */
    sendHello(hello) {
        return this.#attempts.run(this.#attempts.now, undefined, (attempts) => {
            if (this.#state.type == "greeting") attempts.sendAlone({ type: "hello", value: hello });
        });
    }

    /** @param {number} generation @param {SignalingFailure} failure @param {number} now @param {RandomSource} random */
    transportFailed(generation, failure, now, random) {
        return this.#attempts.run(now, random, (attempts) => attempts.transportFailed(generation, failure));
    }

    /**
     * @param {number} generation @param {SignalingFailure | undefined} failure @param {number} now
     * @param {RandomSource} random
     */
    transportClosed(generation, failure, now, random) {
        return this.#attempts.run(now, random, (attempts) => {
            if (generation != this.#state.generation) return;
            attempts.retry(failure ?? signalingFailure("the server closed the connection"));
        });
    }

    /**
     * Ends the connection or attempt, and waits for the next one.
     * @param {SignalingFailure} failure @param {number} now @param {RandomSource} random
     */
    abortAndRetry(failure, now, random) {
        return this.#attempts.run(now, random, (attempts) => attempts.abortAndRetry(failure));
    }

    /**
     * Asks the provider for a new credential and tries again. Undefined, and nothing done, when another one would not
     * help.
     * @param {SignalingFailure} failure @param {number} now @param {RandomSource} random
     */
    refreshCredential(failure, now, random) {
        let isOfUse = false;
        const actions = this.#attempts.run(now, random, (attempts) => {
            isOfUse = attempts.refreshCredential(failure);
        });
        return isOfUse ? actions : undefined;
    }

    /** Drops the place in both streams: the next `hello` asks for a rejoin. */
    requireRejoin() { this.#streams.requireRejoin(); }

    /**
     * Comes back over a new connection, for what only a `joined` brings.
     * @param {number} now
     */
    reconnectInOrder(now) {
        return this.#attempts.run(now, undefined, (attempts) => { if (this.isConnected) attempts.reconnectInOrder(); });
    }

    leave() {
        return this.#attempts.run(this.#attempts.now, undefined, (attempts) => {
            // While greeting, it comes behind the `hello`, which the server may take.
            if (this.isConnected || this.#state.type == "greeting") attempts.sendAlone({ type: "leave" });
            attempts.close({ type: "left" });
        });
    }

    /** @param {Case} reason */
    close(reason) { return this.#attempts.run(this.#attempts.now, undefined, (attempts) => attempts.close(reason)); }

    // MARK: Messages

    /**
     * Sends a message to the server, now or as soon as there is a connection. It is numbered, and kept until
     * acknowledged.
     * @param {Case} message @param {number} now @param {RandomSource} random
     */
    send(message, now, random) {
        return this.#attempts.run(now, random, (attempts) => {
            const dropped = this.#streams.append(message);
            if (dropped === undefined) {
                return this.#withConnection((connection, streams) => connection.send(streams.takeUnsent(), streams));
            }
            attempts.act({ type: "overflow", dropped });
            if (this.isConnected) attempts.abortAndRetry(signalingFailure("the server acknowledges nothing"));
        });
    }

    /**
     * Takes back what was not sent yet.
     * @param {(signal: any) => boolean} isSuperseded
     */
    removeUnsentSignals(isSuperseded) { this.#streams.removeUnsentSignals(isSuperseded); }

    /** @param {Envelope} envelope @param {number} generation @param {number} now @param {RandomSource} random */
    received(envelope, generation, now, random) {
        return this.#attempts.run(now, random, (attempts) => {
            if (generation != this.#state.generation) return;
            this.#checkLateness();
            if (this.#state.type != "greeting") {
                return this.#withConnection((connection, streams) => connection.received(envelope, streams, now));
            }
            attempts.receivedGreeting(envelope.message);
            if (envelope.message.type == "joined") this.#enter(envelope.message.value);
        });
    }

    /** @param {any} joined */
    #enter(joined) {
        const attempts = this.#attempts;
        const unsent = this.#streams.begin(joined);
        if (!unsent) {
            return attempts.abortAndRetry(signalingFailure("the server resumed at another place of the stream"));
        }
        /** @type {Case[]} */
        const timers = [];
        attempts.succeeded(new AdmittedConnection(
            this.#state.generation, joined, this.#configuration, attempts.now, timers));
        this.#withConnection(() => timers);
        attempts.changeStatus({ type: "connected" });
        this.#withConnection((connection, streams) => connection.send(unsent, streams));
        attempts.act({ type: "deliver", value: { type: "joined", value: joined }, isReplayed: false });
    }

    /**
     * @param {import("./values.js").ProtocolError} error @param {number} generation @param {number} now
     * @param {RandomSource} random
     */
    receivedMalformed(error, generation, now, random) {
        return this.#attempts.run(now, random, (attempts) => {
            if (generation != this.#state.generation) return;
            if (error.code == "version_mismatch") {
                attempts.act({ type: "deliver", value: { type: "error", value: error }, isReplayed: false });
            } else if (!error.isFatal && this.isConnected) {
                this.#withConnection((connection, streams) =>
                    connection.receivedUnusable(error.sequence, streams, now));
            } else {
                // What it said is lost, and its number with it.
                this.#streams.requireRejoin();
                attempts.abortAndRetry(refusalFailure(error));
            }
        });
    }

    // MARK: Time

    /** @param {Case} timer @param {number} now @param {RandomSource} random */
    timerFired(timer, now, random) {
        return this.#attempts.run(now, random, (attempts) => {
            if (timer.type == "attempt") return attempts.timerFired();
            this.#withConnection((connection, streams) => connection.timerFired(timer.value, streams, now));
        });
    }

    /**
     * Probes an open connection, or makes the next attempt at once.
     * @param {number} now @param {RandomSource} random
     */
    probeOrRetry(now, random) { return this.#attempts.run(now, random, () => this.#probeOrRetry()); }

    #probeOrRetry() {
        if (!this.isConnected) return this.#attempts.hurry();
        this.#withConnection((connection, streams) => connection.probe(streams, this.#attempts.now));
    }

    /**
     * Before anything else: whether this page did not run for a while (frozen, starved) without having slept.
     * @param {number} now @param {RandomSource} random
     */
    checkLateness(now, random) { return this.#attempts.run(now, random, () => this.#checkLateness()); }

    #checkLateness() {
        this.#withConnection((connection, streams) => connection.checkLateness(streams, this.#attempts.now));
    }

    /**
     * This machine has slept for `sleep`. An open connection is asked for a sign of life, and has its time for it; an
     * attempt that was under way is made anew; a credential has aged.
     * @param {number} sleep @param {number} now @param {RandomSource} random
     */
    woke(sleep, now, random) {
        return this.#attempts.run(now, random, (attempts) => {
            attempts.woke(sleep);
            this.#catchUp();
        });
    }

    /**
     * Asks an open connection for an answer, which comes behind all messages that the server has sent before.
     * @param {number} now @param {RandomSource} random
     */
    catchUp(now, random) { return this.#attempts.run(now, random, () => this.#catchUp()); }

    #catchUp() { this.#withConnection((connection, streams) => connection.catchUp(streams, this.#attempts.now)); }

    /**
     * As `probeOrRetry`. `isLost`: the connection leaves from an address that this machine does not have any more. It
     * would be silent for ever.
     * @param {boolean} isLost @param {number} now @param {RandomSource} random
     */
    networkChanged(isLost, now, random) {
        return this.#attempts.run(now, random, (attempts) => {
            if (!isLost || !this.isConnected) return this.#probeOrRetry();
            attempts.abort();
            attempts.again(
                signalingFailure("the connection's local address is gone", { cause: "networkChanged" }), true);
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
        return this.#attempts.run(now, random, () => {
            if (!isOfUse || (this.#lastHintAt !== undefined && minus(now, this.#lastHintAt) < 1)) return;
            this.#lastHintAt = now;
            this.#probeOrRetry();
        });
    }

    // MARK: The connection

    /**
     * Lets the connection decide, where there is one, and carries out what it has decided.
     * @param {Decision} body
     */
    #withConnection(body) {
        if (!this.isConnected) return;
        const attempts = this.#attempts;
        const { connection } = this.#state;
        for (const decision of body(connection, this.#streams)) {
            const { type, value } = decision;
            switch (type) {
            case "send": attempts.act({ type, value0: value, value1: connection.generation }); break;
            case "scheduleTimer": attempts.act({ ...decision, value: { type: "connection", value } }); break;
            case "deliver": attempts.act(decision); break;
            case "reportStable": attempts.stabilized(); break;
            case "leave": attempts.leaveInOrder(value); break;
            case "abort": attempts.abortAndRetry(value);
            }
        }
    }
}
