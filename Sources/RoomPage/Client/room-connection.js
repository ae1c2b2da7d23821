//# allFunctionsCalledOnLoad
import { whenAborted } from "./abort-signal.js";
import { BackgroundClock } from "./background-clock.js";
import { systemRandom } from "./random.js";
import { BrowserSignaling } from "./browser-signaling.js";
import { PeerManager, prepareConnections } from "./peer-manager.js";
import {
    machineConfiguration, recoveryBudgets, recoveryConfiguration, signalingConfiguration,
} from "./configuration.js";
import { deliveryCapability, exchangeCapability, messageLimitCapability } from "./delivery-protocol.js";
import { RoomError } from "./errors.js";
import { Inbox } from "./inbox.js";
import { JoinDeadline } from "./join-deadline.js";
import { RoomMachine } from "./room-machine.js";
import { ProviderCalls } from "./provider-calls.js";
import { EventFeed, errorOfEndReason, publicEndReason, publicEvent } from "./room-events.js";
import { Timers } from "./timers.js";
import { signalingFailure } from "./values.js";
import { Mailbox } from "./waiting.js";
/**
 * @typedef {import("./values.js").Case} Case
 * @typedef {import("./pair.js").Pair} Pair
 * @typedef {import("./room.js").RoomChannel} RoomChannel
 * @typedef {import("./room.js").RoomMessage} RoomMessage
 * @typedef {import("./room.js").RoomConfiguration} RoomConfiguration
 * @typedef {import("./room.js").HostRole} HostRole
 * @typedef {{
 *     room: string, name: string, role: HostRole, metadata: Record<string, string>,
 * }} Stay The room, and how this participant is in it.
 *
 * @typedef {Pick<typeof globalThis, "WebSocket" | "fetch" | "setTimeout" | "clearTimeout"> & {
 *     location?: Location, now(): number, random: import("./random.js").RandomSource, prepareConnections?: () => void,
 *     createConnection?: (configuration: RTCConfiguration) => RTCPeerConnection,
 * }} Environment What a room needs of its browser; tests have others. `now`: seconds.
 *
 * @typedef {import("./pair-types.js").PairExtras & {
 *     RoomExchange: typeof import("./room-exchange.js").RoomExchange,
 * }} Extras Topics, requests and streams.
 */

/** One for the page. */
const clock = new BackgroundClock(
    () => globalThis.document?.visibilityState == "hidden", () => new Worker(new URL("./clock.js", import.meta.url)));

/** @returns {Environment} */
export const browserEnvironment = () => ({
    WebSocket: globalThis.WebSocket, fetch: (...values) => fetch(...values),
    setTimeout: /** @type {any} */ ((/** @type {() => void} */ callback, /** @type {number} */ after) =>
        clock.setTimeout(callback, after)),
    clearTimeout: (/** @type {any} */ timer) => clock.clearTimeout(timer), location: globalThis.location,
    now: () => performance.now() / 1000, random: systemRandom, prepareConnections,
});

/** @type {RoomChannel[]} */
const channels = ["reliable", "unordered", "lossy"];

/** The longest delay that timers of browsers take, in seconds. */
const longestDelay = 2 ** 31 / 1000 - 1;

/** Streams that wait until the application takes them. */
const untakenLimit = 256;

/**
 * The engine of one room: performs the actions of its machine. The machine decides; the parts below do the I/O.
 */
export class RoomConnection {
    #environment;
    #configuration;
    #stay;
    #machine;
    #signaling;
    #timers = new Timers((after, callback) => this.schedule(after, callback));
    /** @type {Case[]} */
    #pending = [];
    #isHandling = false;
    /** Whether the provider has given a token. */
    #hasToken = false;
    #tokenCalls;
    #iceServerCalls;
    #hasJoined = false;
    /** @type {RoomError | undefined} */
    #joinError;
    /** @type {(() => void)[]} */
    #joinWaiters = [];
    /** @type {(() => void) | undefined} */
    #cancelJoinTimer;
    /** @type {((message: RoomMessage) => void) | undefined} */
    #handler;
    /** @type {Record<RoomChannel, Set<Pair>>} */
    #paused = { reliable: new Set(), unordered: new Set(), lossy: new Set() };
    #onEnd;

    /**
     * @param {Stay} stay
     * @param {RoomConfiguration} configuration
     * @param {() => void} onEnd
     * @param {Environment} environment
     * @param {Extras} [extras] undefined: there are only messages
     */
    constructor(stay, configuration, onEnd, environment, extras) {
        this.#stay = stay;
        this.#configuration = configuration;
        this.#onEnd = onEnd;
        this.#environment = environment;
        const { now } = environment;
        const { sendLimit = 8 << 20, receiveLimit = 8 << 20, maximumMessageSize = 4 << 20 } = configuration;
        const budgets = { ...recoveryBudgets, ...configuration.recovery };
        const { backoff } = signalingConfiguration;
        this.feed = new EventFeed(stay.room);
        this.exchange = extras && new extras.RoomExchange(now, this.schedule);
        const { exchange } = this;
        /** @type {Mailbox<import("./room.js").RoomIncomingStream>} */
        this.incomingStreams = new Mailbox();
        /** @type {Record<RoomChannel, Inbox>} */
        this.inboxes = /** @type {any} */ (Object.fromEntries(channels.map((channel) =>
            [channel, new Inbox(receiveLimit, () => this.#resume(channel))])));
        this.#tokenCalls = new ProviderCalls("token provider", this.schedule);
        this.#iceServerCalls = new ProviderCalls("ICE server provider", this.schedule);
        this.#signaling = new BrowserSignaling(configuration.server, (event) => this.handle(event), environment);
        this.peers = new PeerManager({
            limits: { sendLimit, maximumMessageSize, stall: budgets.stall },
            icePolicy: configuration.icePolicy ?? "all", now, schedule: this.schedule,
            createConnection: environment.createConnection, extras,
            canSignal: () => this.#machine.signalingStatus.type == "connected",
            report: (event) => this.handle(event), emit: (event) => this.#emit(event),
            handlers: (pair) => this.#holdBack(pair) ?? ({
                message: (message) => this.#deliver(/** @type {RoomMessage} */ (message), pair),
                topic: (arrival) => exchange?.topic(arrival) ?? false,
                request: (request) => /** @type {any} */ (exchange).request(request),
                stream: (stream) => this.incomingStreams.count < untakenLimit
                    ? this.incomingStreams.push(stream) : stream.cancel("the application takes no streams", "busy"),
            }),
        });
        const { role } = stay;
        this.#machine = new RoomMachine(machineConfiguration({
            room: stay.room, role: role == "ifFirst" ? "first" : role == "host" ? "host" : "guest",
            waitsForRoom: role == "awaited", name: stay.name, metadata: stay.metadata,
            capabilities: [
                deliveryCapability, ...extras ? [exchangeCapability] : [], "attributes.v1",
                messageLimitCapability(maximumMessageSize),
            ],
            hasCredentialProvider: !!configuration.token, hasICEServerProvider: !!configuration.iceServerProvider,
            ice: { servers: configuration.iceServers ?? [], policy: configuration.icePolicy ?? "all" },
            signaling: {
                ...signalingConfiguration,
                backoff: { ...backoff, reconnect: { ...backoff.reconnect, ...configuration.reconnect } },
            },
            recovery: { ...recoveryConfiguration, rejoinPolicy: configuration.rejoinPolicy ?? "all", budgets },
        }));
    }

    /**
     * Calls back after so many seconds. Returns how that is cancelled.
     * @type {import("./pair-types.js").Schedule}
     */
    schedule = (after, callback) => {
        const timer = this.#environment.setTimeout(callback, Math.min(after, longestDelay) * 1000);
        return () => this.#environment.clearTimeout(timer);
    };

    /** Seconds. */
    now() { return this.#environment.now(); }

    // MARK: Joining and leaving

    // The server is asked first: it answers meanwhile.
    start() {
        this.handle({ type: "started" });
        this.#environment.prepareConnections?.();
    }

    /** Whether the room is joined. Throws a `RoomError` when it has ended. */
    get isJoined() {
        const reason = this.feed.present.endReason;
        if (reason) {
            const refusal = this.#hasJoined ? undefined : errorOfEndReason(reason);
            throw refusal ?? new RoomError("left", "the room was left: join it again to send");
        }
        return this.#hasJoined;
    }

    /**
     * Returns when the room is joined. `within`: after which the join is given up. Throws a `RoomError`.
     * @param {{ within?: number, signal?: AbortSignal }} options
     */
    async waitUntilJoined({ within, signal } = {}) {
        if (within !== undefined) this.#scheduleJoinTimeout(new JoinDeadline(within, this.now()));
        if (!this.#hasJoined && !this.#joinError && !signal?.aborted) {
            let forget = () => {};
            await new Promise((resolve) => {
                const wake = () => resolve(undefined);
                forget = whenAborted(signal, wake);
                this.#joinWaiters.push(wake);
            });
            forget();
        }
        if (within !== undefined) this.#cancelJoinTimer?.();
        if (this.#joinError) throw this.#joinError;
        if (!this.#hasJoined) throw new RoomError("cancelled", "joining the room was cancelled");
    }

    /** @param {JoinDeadline} deadline */
    #scheduleJoinTimeout(deadline) {
        this.#cancelJoinTimer = this.schedule(Math.max(0, deadline.at - this.now()), () => {
            const { signaling } = this.feed.present;
            if (!deadline.hasPassed(signaling, this.now())) return this.#scheduleJoinTimeout(deadline);
            const cause = "cause" in signaling ? signaling.cause : undefined;
            this.#finishJoin(new RoomError(
                "timed_out", `not in the room within ${deadline.limit} s: ${this.#configuration.server} ${
                    cause ? `(${cause.description})` : "did not answer"}`, { isRetryable: true }));
        });
    }

    /** @param {RoomError} [error] */
    #finishJoin(error) {
        if (this.#hasJoined || this.#joinError) return;
        if (error) this.#joinError = error; else this.#hasJoined = true;
        for (const wake of this.#joinWaiters.splice(0)) wake();
    }

    leave() { this.handle({ type: "leaveRequested" }); }

    /**
     * The page ends. A guest leaves, so that the others see it at once. A host only closes its connection: its name and
     * its role are kept for the grace period, and a page that is loaded again has them back.
     */
    unloaded() {
        if (!this.feed.present.isHost) return this.leave();
        this.#signaling.finish();
    }

    // MARK: The machine

    /**
     * Passes a fact to the machine and performs its actions. Facts that arise meanwhile are queued.
     * @param {Case} event
     */
    handle(event) {
        this.#pending.push(event);
        if (this.#isHandling) return;
        this.#isHandling = true;
        try {
            for (let next; (next = this.#pending.shift());) {
                const { now, random } = this.#environment;
                for (const action of this.#machine.handle(next, now(), random)) this.#perform(action);
                // Together with the roster, which follows the news of the join: a caller that waited can send to the
                // participants that are there.
                if (this.#machine.membership && !this.#hasJoined && !this.#machine.isEnded) {
                    this.exchange?.joined();
                    this.#finishJoin();
                }
            }
        } finally {
            this.#isHandling = false;
        }
    }

    /** @param {Case} action */
    #perform(action) {
        switch (action.type) {
        case "openTransport": return this.#signaling.open(action.value);
        case "abortTransport": return this.#signaling.abort(action.value);
        case "closeTransport": return this.#signaling.close(action.value0, action.value1);
        case "send": return this.#signaling.send(action.value0, action.value1);
        case "requestCredential": return this.#requestToken(action.forced);
        case "requestICEServers": return this.#requestICEServers();
        case "scheduleTimer":
            return this.#timers.set(action.value, Math.max(0, action.at - this.#environment.now()), (value) =>
                this.handle({ type: "timerFired", value }));
        case "cancelTimer": return this.#timers.cancel(action.value);
        case "emit": return this.#emit(action.value);
        case "peer": return this.peers.perform(action.value0, action.value1, action.value2);
        }
    }

    /** @param {boolean} mustBeFresh */
    #requestToken(mustBeFresh) {
        const { token } = this.#configuration;
        if (!token) return this.handle({ type: "credentialReady" });
        const { room, name, role } = this.#stay;
        const reason = mustBeFresh ? "refused" : this.#hasToken ? "expired" : "firstJoin";
        this.#tokenCalls.ask(
            (signal) => token({ room, name, role, reason, mustBeFresh }, signal),
            (credential) => {
                this.#hasToken = true;
                const { value, validFor = undefined } =
                    typeof credential == "string" ? { value: credential } : credential;
                const expiresAt = validFor === undefined ? undefined : this.#environment.now() + validFor;
                this.handle({ type: "credentialReady", token: value, expiresAt });
            },
            (description) => this.handle({ type: "credentialFailed", value: signalingFailure(description) }));
    }

    #requestICEServers() {
        const { iceServerProvider } = this.#configuration;
        if (!iceServerProvider) return;
        const { room, name } = this.#stay;
        this.#iceServerCalls.ask(
            (signal) => iceServerProvider({ room, name }, signal),
            ({ servers, validFor }) => this.handle({ type: "iceServersProvided", value: servers, ttl: validFor }),
            (description) => this.handle({ type: "iceServersFailed", value: signalingFailure(description) }));
    }

    /** @param {Case} event */
    #emit(event) {
        if (event.type == "left") return this.#end(event);
        this.peers.apply(event);
        this.feed.emit(publicEvent(event));
    }

    /** @param {Case} event */
    #end(event) {
        this.#finishJoin(errorOfEndReason(publicEndReason(event.value))
            ?? new RoomError("left", "the room was left before it was joined"));
        this.#timers.cancelAll();
        this.#cancelJoinTimer?.();
        this.#tokenCalls.giveUp();
        this.#iceServerCalls.giveUp();
        // Reports messages that were not delivered.
        this.peers.closeAll();
        this.feed.emit(publicEvent(event));
        for (const channel of channels) this.inboxes[channel].finish();
        this.incomingStreams.finish();
        this.exchange?.end();
        this.#handler = undefined;
        this.#signaling.finish();
        this.#onEnd();
    }

    // MARK: Messages

    /** @param {((message: RoomMessage) => void) | undefined} handler */
    setHandler(handler) {
        this.#handler = handler;
        if (!handler) return;
        for (const channel of channels) {
            // What is held back comes behind these: `#resume`.
            for (const message of this.inboxes[channel].takeNow(() => {})) this.#call(handler, message);
            this.#resume(channel);
        }
    }

    /**
     * A new pair is held back where messages of others wait already: who comes again and again adds nothing.
     * @param {Pair} pair
     * @returns {undefined}
     */
    #holdBack(pair) {
        for (const channel of channels) {
            if (channel == "lossy" || !this.inboxes[channel].isFull) continue;
            for (const other of this.#paused[channel]) if (other.isGone) this.#paused[channel].delete(other);
            pair.setReceiving(false, channel);
            this.#paused[channel].add(pair);
        }
        return undefined;
    }

    /**
     * @param {RoomMessage} message
     * @param {Pair} pair
     */
    #deliver(message, pair) {
        if (this.#handler) return this.#call(this.#handler, message);
        const { channel } = message;
        const inbox = this.inboxes[channel];
        if (channel == "lossy" && inbox.isFull) return;
        if (inbox.append(message) || channel == "lossy") return;
        pair.setReceiving(false, channel);
        this.#paused[channel].add(pair);
    }

    /**
     * An error of the application's handler is the application's: it is reported as an unhandled one.
     * @param {(message: RoomMessage) => void} handler
     * @param {RoomMessage} message
     */
    #call(handler, message) {
        try { handler(message); } catch (error) { Promise.reject(error); }
    }

    /** @param {RoomChannel} channel */
    #resume(channel) {
        const pairs = [...this.#paused[channel]];
        this.#paused[channel].clear();
        for (const pair of pairs) pair.setReceiving(true, channel);
    }
}
