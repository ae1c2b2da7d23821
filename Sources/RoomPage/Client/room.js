import { borrowedBytes } from "./bytes.js";
import { RequestError, RequestFailure, RoomError, RoomStreamError } from "./errors.js";
import { receiveBlob, receiveInto, sendBlob } from "./file-streams.js";
import { flawOfURL } from "./ice-server-machine.js";
import { PageEvents } from "./page-events.js";
import { RoomConnection, browserEnvironment } from "./room-connection.js";
import { errorOfEndReason } from "./room-events.js";
import { openStream } from "./room-streams.js";
import { utf8Length } from "./values.js";
/**
 * @typedef {import("./pair.js").Pair} Pair
 * @typedef {import("./room.js").HostRole} Role
 * @typedef {import("./room.js").MissedReason} MissedReason
 * @typedef {import("./room.js").RoomChannel} RoomChannel
 * @typedef {import("./room.js").RoomConfiguration} RoomConfiguration
 * @typedef {import("./room.js").Sendable} Sendable
 * @typedef {import("./room.js").SendReport} SendReport
 */

export { RequestError, RequestFailure, RoomError, RoomStreamError, errorOfEndReason };
export { receiveBlob, receiveInto, sendBlob };

/** The roles by name. */
export const HostRole = /** @type {const} */ ({ host: "host", guest: "guest", awaited: "awaited", ifFirst: "ifFirst" });

const decoder = new TextDecoder("utf-8", { fatal: true });

/** @param {Uint8Array} bytes */
function textOf(bytes) {
    try { return decoder.decode(bytes); } catch { return undefined; }
}

/**
 * The codec of JSON.
 * @type {import("./room.js").MessageCodec<any>}
 */
export const JSONMessageCodec = {
    isText: true,
    encode: (value) => JSON.stringify(value) ?? "null",
    decode: (bytes) => JSON.parse(decoder.decode(bytes)),
};

// MARK: - The runtime

/**
 * Throws a `RoomError` that says what is wrong.
 * @param {RoomConfiguration} configuration
 */
function validate({
    server, sendLimit = 8 << 20, receiveLimit = 8 << 20, maximumMessageSize = 4 << 20, iceServers = [],
}) {
    /** @param {string} message */
    const wrong = (message) => new RoomError("configuration", message);
    let protocol;
    try { ({ protocol } = new URL(server)); } catch { throw wrong(`'${server}' is not a URL`); }
    if (protocol != "ws:" && protocol != "wss:") throw wrong(`'${server}' does not begin with ws:// or wss://`);
    for (const [name, value, least, most] of /** @type {[string, number, number, number][]} */ ([
        ["sendLimit", sendLimit, 65536, 2 ** 30], ["receiveLimit", receiveLimit, 65536, 2 ** 30],
        ["maximumMessageSize", maximumMessageSize, 1024, 2 ** 26],
    ])) {
        if (!(value >= least && value <= most)) {
            throw wrong(`${name} is ${value}; it must be from ${least} to ${most} bytes`);
        }
    }
    if (maximumMessageSize > sendLimit) {
        throw wrong("maximumMessageSize is over sendLimit: such a message could never be sent");
    }
    for (const iceServer of iceServers) {
        for (const url of iceServer.urls) {
            const flaw = flawOfURL(url, iceServer);
            if (flaw) throw wrong(`iceServers: ${flaw}`);
        }
    }
}

/** The source of rooms. */
export class TransportRuntime {
    #configuration;
    #environment;
    #isStopping = false;
    /** @type {Set<{ room: Room, connection: RoomConnection }>} */
    #rooms = new Set();
    #pageEvents;

    /**
     * @param {RoomConfiguration} configuration
     * @param {import("./room-connection.js").Environment & { pageEvents?: import("./page-events.js").PageEnvironment }}
     *     [environment] For tests.
     */
    constructor(configuration, environment = browserEnvironment()) {
        validate(configuration);
        this.#configuration = { ...configuration };
        this.#environment = environment;
        /** @param {(connection: RoomConnection) => void} body */
        const each = (body) => { for (const { connection } of [...this.#rooms]) body(connection); };
        this.#pageEvents = new PageEvents({
            networkChanged: () => each((connection) => connection.handle({ type: "networkChanged", value: {} })),
            woke: (after) => each((connection) => connection.handle({ type: "woke", after })),
            unloaded: () => each((connection) => connection.unloaded()),
        }, environment.pageEvents);
    }

    /**
     * Runs `body` with a runtime, and stops the runtime when `body` has returned or thrown.
     * @template Result
     * @param {RoomConfiguration} configuration
     * @param {(runtime: TransportRuntime) => Result | Promise<Result>} body
     */
    static async withRunning(configuration, body) {
        const runtime = new TransportRuntime(configuration);
        try {
            return await body(runtime);
        } finally {
            await runtime.stop();
        }
    }

    /**
     * Joins a room: the one entry for hosts and guests.
     * @param {{
     *     toRoom: string, as: string, host?: boolean | Role, metadata?: Record<string, string>, signal?: AbortSignal,
     * }} options
     */
    async connect({ toRoom, as, host, metadata, signal }) {
        const { room, connection } = this.#open(toRoom, as, host, metadata);
        try {
            await connection.waitUntilJoined({ within: this.#configuration.joinTimeout ?? 30, signal });
        } catch (error) {
            connection.leave();
            throw error;
        }
        return room;
    }

    /**
     * Joins a room like `connect`, but returns at once.
     * @param {{ room: string, as: string, host?: boolean | Role, metadata?: Record<string, string> }} options
     */
    open({ room, as, host, metadata }) { return this.#open(room, as, host, metadata).room; }

    /**
     * @param {string} name
     * @param {string} participant
     * @param {boolean | Role} host
     * @param {Record<string, string>} metadata
     */
    #open(name, participant, host = false, metadata = {}) {
        if (this.#isStopping) throw new RoomError("left", "the runtime was stopped: no more rooms can be joined");
        /** @type {Role} */
        const role = host === true ? "host" : host || "guest";
        /** @type {RoomConnection} */
        const connection = new RoomConnection(
            { room: name, name: participant, role, metadata: { ...metadata } }, this.#configuration,
            () => this.#rooms.delete(entry), this.#environment);
        const entry = { room: new Room(name, connection), connection };
        this.#rooms.add(entry);
        connection.start();
        return entry;
    }

    /** Leaves the rooms that are still connected. Idempotent. */
    async stop() {
        this.#isStopping = true;
        await Promise.all([...this.#rooms].map(({ room }) => room.leave({ within: 1 })));
        this.#pageEvents.stop();
    }
}

// MARK: - The room

/**
 * @param {string[]} receivers
 * @param {{ participant: string, reason: MissedReason }[]} missed
 * @returns {SendReport}
 */
function sendReport(receivers, missed) {
    const left = new Set(missed.map(({ participant }) => participant));
    const accepted = receivers.filter((id) => !left.has(id));
    return { missed, accepted, acceptedCount: accepted.length, isComplete: !missed.length };
}

/** @param {string} participant */
const peerNotFound = (participant) =>
    new RoomError("peer_not_found", `${participant} is not in the room (any more)`);

/**
 * @param {string} participant
 * @param {number} limit
 */
const tooLarge = (participant, limit) => new RoomError(
    "message_too_large", `a message is over the limit of ${limit} bytes towards ${participant}: split it`);

/** @param {string} name */
const isValidName = (name) => typeof name == "string" && name.length > 0 && utf8Length(name) <= 64;

/**
 * Returns why a message was not accepted for a participant; undefined: it was.
 * @param {any} outcome
 * @param {boolean} isLossy
 * @returns {MissedReason | undefined}
 */
function missedReason(outcome, isLossy) {
    switch (outcome.type) {
    case "accepted": return undefined;
    case "gone": return { type: "left" };
    case "dropped": return { type: isLossy ? "dropped" : "unreachable" };
    default: return outcome;
    }
}

/**
 * Returns the report on a message, or throws the error of one that nobody has got.
 * @param {{ participant: string, outcome: any }[]} results
 * @param {boolean} isLossy
 * @param {string | undefined} to The one receiver.
 */
function reportOn(results, isLossy, to) {
    const missed = results.flatMap(({ participant, outcome }) => {
        const reason = missedReason(outcome, isLossy);
        return reason ? [{ participant, reason }] : [];
    });
    const report = sendReport(results.map(({ participant }) => participant), missed);
    /** @param {MissedReason["type"]} type */
    const find = (type) => missed.find(({ reason }) => reason.type == type);
    /** @param {RoomError} error */
    const fail = (error) => {
        if (to === undefined) error.report = report;
        return error;
    };
    if (find("cancelled")) {
        throw fail(new RoomError("cancelled", "sending was cancelled while a buffer was full"));
    }
    if (to !== undefined && find("left")) throw peerNotFound(to);
    if (report.acceptedCount > 0) return report;
    for (const { participant, reason } of missed) {
        if (reason.type == "tooLarge") throw fail(tooLarge(participant, reason.limit));
        if (reason.type == "tooManyTopics") {
            throw fail(new RoomError("configuration", `it is one topic more than are possible with ${participant}`));
        }
        if (reason.type == "notSupported" && to !== undefined) throw notSupported(to);
    }
    return report;
}

/** @param {string} participant */
const notSupported = (participant) => new RoomError(
    "not_supported", `the program of ${participant} knows no topics, requests and streams: use messages`);

/** A room that this page is in. */
export class Room {
    #connection;

    /**
     * @param {string} name
     * @param {RoomConnection} connection
     */
    constructor(name, connection) {
        this.name = name;
        this.#connection = connection;
    }

    // MARK: State

    get selfID() { return this.snapshot.selfID; }
    get participants() { return this.snapshot.members.map(({ participant }) => participant); }
    get isHost() { return this.snapshot.isHost; }
    get attributes() { return this.snapshot.attributes; }
    get signalingStatus() { return this.snapshot.signaling; }
    get endReason() { return this.snapshot.endReason; }
    get snapshot() { return this.#connection.feed.present; }
    snapshots() { return this.#connection.feed.snapshots(); }
    events() { return this.#connection.feed.subscribe(); }

    // MARK: Messages

    /** @param {{ on?: RoomChannel }} options */
    messages({ on = "reliable" } = {}) { return this.#connection.inboxes[on].messages(); }

    /** @param {{ on?: RoomChannel }} options */
    messageBatches({ on = "reliable" } = {}) { return this.#connection.inboxes[on].batches(); }

    /** @param {(message: import("./room.js").RoomMessage) => void} handler */
    onMessage(handler) { this.#connection.setHandler(handler); }

    clearMessageHandler() { this.#connection.setHandler(undefined); }

    /**
     * Returns the pairs with one participant, with several, or with everybody who is in the room now. Waits for the
     * join.
     * @param {string | string[] | undefined} to
     * @param {AbortSignal} [signal]
     * @returns {Promise<Pair[]>}
     */
    async #pairs(to, signal) {
        if (!this.#connection.isJoined) await this.#connection.waitUntilJoined({ signal });
        if (to === undefined) return this.#connection.peers.pairs;
        return [to].flat().map((id) => this.#pair(id));
    }

    /** @param {string} participant */
    #pair(participant) {
        const pair = this.#connection.peers.pair(participant);
        if (!pair) throw peerNotFound(participant);
        return pair;
    }

    /**
     * Sends to everybody in the room, or to one participant.
     * @param {Sendable} message
     * @param {{ to?: string, channel?: RoomChannel, isText?: boolean, signal?: AbortSignal }} options
     */
    async send(message, { to, channel = "reliable", isText, signal } = {}) {
        const pairs = await this.#pairs(to, signal);
        const results = await Promise.all(pairs.map(async (pair) => ({
            participant: pair.participant,
            outcome: await pair.send(message, { channel, isText, mayDrop: to === undefined, signal }),
        })));
        return reportOn(results, channel == "lossy", to);
    }

    /**
     * Sends to one participant without waiting.
     * @param {Sendable} message
     * @param {{ to: string, channel?: RoomChannel, isText?: boolean }} options
     */
    trySend(message, { to, channel = "reliable", isText }) {
        if (!this.#connection.isJoined) {
            throw new RoomError("would_block", `the room '${this.name}' is not joined yet`, { isRetryable: true });
        }
        const outcome = this.#pair(to).trySend(message, { channel, isText });
        if (outcome.type == "full") {
            throw new RoomError("would_block", `the buffer towards ${to} is full`, { isRetryable: true });
        }
        reportOn([{ participant: to, outcome }], channel == "lossy", to);
    }

    /**
     * Returns when everything accepted before the call has arrived, except at participants that left.
     * @param {{ within?: number, signal?: AbortSignal }} options
     */
    async flush({ within = 30, signal } = {}) {
        const controller = new AbortController();
        const abort = () => controller.abort();
        const cancel = this.#connection.schedule(within, abort);
        signal?.addEventListener("abort", abort);
        if (signal?.aborted) abort();
        const waiting = new Set(this.#connection.peers.pairs);
        await Promise.all([...waiting].map(async (pair) => {
            if (await pair.flush({ signal: controller.signal }) || pair.isGone) waiting.delete(pair);
        }));
        cancel();
        signal?.removeEventListener("abort", abort);
        if (signal?.aborted) throw new RoomError("cancelled", "the flush was cancelled");
        if (!waiting.size) return;
        const names = [...waiting].map(({ participant }) => participant).slice(0, 8).join(", ");
        throw new RoomError(
            "timed_out", `no acknowledgement from ${names} within ${within} s`, { isRetryable: true });
    }

    // MARK: Topics, requests, streams

    /**
     * @param {string} name
     * @param {{ codec?: import("./room.js").MessageCodec<any>, reliability?: "reliable" | "lossy" }} options
     */
    topic(name, { codec, reliability = "reliable" } = {}) {
        return new Topic(name, reliability, codec, this.#connection, (to, signal) => this.#pairs(to, signal));
    }

    /**
     * Asks one participant, and returns its answer.
     * @param {string} method
     * @param {any} body
     * @param {{
     *     to: string, codec?: import("./room.js").MessageCodec<any>, timeout?: number, signal?: AbortSignal,
     * }} options
     */
    async request(method, body, { to, codec, timeout = 30, signal }) {
        /**
         * @param {RequestError["code"]} code
         * @param {string} message
         */
        const failure = (code, message) => new RequestError(code, method, to, message);
        if (!isValidName(method)) throw failure("unknown_method", "the name of a method has 1 to 64 bytes");
        let encoded = body;
        try {
            if (codec) encoded = codec.encode(body);
            borrowedBytes(encoded);
        } catch (error) {
            throw failure("unencodable", `the request cannot be encoded: ${error}`);
        }
        const startedAt = this.#connection.now();
        /** @type {Pair} */
        let pair;
        try {
            // Never somebody else because the host, for one, is not there.
            [pair] = await this.#pairsWithin(to ?? "", timeout, signal);
        } catch (error) {
            const { code, message } = /** @type {RoomError} */ (error);
            /** @type {Record<string, RequestError["code"]>} */
            const codes = { peer_not_found: "peer_gone", timed_out: "timed_out", cancelled: "cancelled" };
            throw failure(codes[code] ?? "left", message);
        }
        const left = Math.max(timeout - (this.#connection.now() - startedAt), 0);
        const answer = await pair.request(
            method, encoded, { timeout: left, isText: codec ? !!codec.isText : undefined, signal });
        try {
            return codec ? codec.decode(answer) : answer;
        } catch (error) {
            throw failure("undecodable", `the answer cannot be decoded: ${error}`);
        }
    }

    /**
     * Waits for the join. A deadline of this call does not end the join of the room.
     * @param {string} to
     * @param {number} within
     * @param {AbortSignal} [signal]
     */
    async #pairsWithin(to, within, signal) {
        const controller = new AbortController();
        const abort = () => controller.abort();
        const cancel = this.#connection.schedule(within, abort);
        signal?.addEventListener("abort", abort);
        if (signal?.aborted) abort();
        try {
            return await this.#pairs(to, controller.signal);
        } catch (error) {
            if (!controller.signal.aborted || signal?.aborted) throw error;
            throw new RoomError("timed_out", `the room '${this.name}' was not joined in time`, { isRetryable: true });
        } finally {
            cancel();
            signal?.removeEventListener("abort", abort);
        }
    }

    /**
     * Handles a method.
     * @param {string} method
     * @param {(value: any, caller: string, signal: AbortSignal) => any} handler
     * @param {{ codec?: import("./room.js").MessageCodec<any> }} options
     */
    handle(method, handler, { codec } = {}) {
        if (!isValidName(method)) throw new RoomError("configuration", "the name of a method has 1 to 64 bytes");
        const remove = this.#connection.exchange.addHandler(method, async ({ from, payload, signal }) => {
            let value = payload;
            try {
                if (codec) value = codec.decode(payload);
            } catch {
                throw new RequestFailure("undecodable", "the request is no value of the type that is handled");
            }
            const answer = await handler(value, from, signal);
            return codec ? { payload: codec.encode(answer), isText: !!codec.isText } : { payload: answer };
        });
        if (!remove) {
            throw new RoomError(
                "configuration", `the method '${method}' has a handler already: remove that one first`);
        }
        return { method, remove };
    }

    /**
     * Opens a stream of bytes to one participant, to several, or to everybody who is in the room now.
     * @param {string} name
     * @param {{
     *     to?: string | string[], length?: number, metadata?: Record<string, string>, signal?: AbortSignal,
     * }} options
     */
    async openStream(name, { to, length, metadata, signal } = {}) {
        const pairs = await this.#pairs(to, signal);
        return openStream(
            to === undefined ? pairs.filter((pair) => pair.hasExchange) : pairs, name, { length, metadata });
    }

    /** A consumer that stops leaves further streams to the next one. */
    async *incomingStreams() {
        const mailbox = this.#connection.incomingStreams;
        for (let next = await mailbox.next(); !next.done; next = await mailbox.next()) yield next.value;
    }

    // MARK: Control

    /**
     * Leaves the room. Idempotent.
     * @param {{ within?: number }} options
     */
    async leave({ within = 5 } = {}) {
        await this.flush({ within }).catch(() => {});
        this.#connection.leave();
    }

    reconnectNow() { this.#connection.handle({ type: "reconnectRequested" }); }

    /** @param {{ to?: string }} options */
    restartPaths({ to } = {}) { this.#connection.handle({ type: "restartRequested", value: to }); }

    /** @param {{ metadata?: Record<string, string>, attributes?: Record<string, string> }} values */
    update({ metadata, attributes }) {
        if (metadata) this.#connection.handle({ type: "metadataUpdated", value: { ...metadata } });
        if (attributes) this.#connection.handle({ type: "attributesUpdated", value: { ...attributes } });
    }

    /**
     * @param {string} participant
     * @param {{ reason?: string }} options
     */
    kick(participant, { reason = "" } = {}) {
        this.#connection.handle({ type: "kickRequested", value: participant, reason });
    }

    /** @param {{ reason?: string }} options */
    close({ reason = "" } = {}) { this.#connection.handle({ type: "closeRequested", reason }); }

    /** @param {{ of: string }} options */
    async security({ of }) {
        const fingerprints = this.#connection.peers.peer(of)?.fingerprints;
        if (!fingerprints || !globalThis.crypto?.subtle) return undefined;
        const { local, remote } = fingerprints;
        const text = ["room verification 1", ...[local, remote].sort(), ""].join("\n");
        const hash = new DataView(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
        const groups = [0, 5, 10, 15, 20, 25].map((offset) => {
            const number = hash.getUint8(offset) * 2 ** 32 + hash.getUint32(offset + 1);
            return `${number % 100000}`.padStart(5, "0");
        });
        return { localFingerprint: local, remoteFingerprint: remote, verificationCode: groups.join(" ") };
    }

    async statistics() {
        const peers = [...this.#connection.peers.peers];
        return new Map(await Promise.all(peers.map(async ([id, peer]) =>
            /** @type {const} */ ([id, await peer.statistics]))));
    }
}

/** A named stream of messages inside a room. */
class Topic {
    #codec;
    #connection;
    #pairs;

    /**
     * @param {string} name
     * @param {"reliable" | "lossy"} reliability
     * @param {import("./room.js").MessageCodec<any> | undefined} codec
     * @param {RoomConnection} connection
     * @param {(to: string | undefined, signal?: AbortSignal) => Promise<Pair[]>} pairs
     */
    constructor(name, reliability, codec, connection, pairs) {
        this.name = name;
        this.reliability = reliability;
        this.#codec = codec;
        this.#connection = connection;
        this.#pairs = pairs;
    }

    /**
     * Publishes to everybody in the room, or to one participant.
     * @param {any} value
     * @param {{ to?: string, signal?: AbortSignal }} options
     */
    async publish(value, { to, signal } = {}) {
        if (!isValidName(this.name)) throw new RoomError("configuration", "the name of a topic has 1 to 64 bytes");
        const codec = this.#codec;
        const publication = {
            topic: this.name, payload: codec ? codec.encode(value) : value, isLossy: this.reliability == "lossy",
            isText: codec ? !!codec.isText : undefined,
        };
        const pairs = await this.#pairs(to, signal);
        const results = await Promise.all(pairs.map(async (pair) => ({
            participant: pair.participant,
            outcome: await pair.publish(publication, { mayDrop: to === undefined, signal }),
        })));
        return reportOn(results, publication.isLossy, to);
    }

    /**
     * Subscribes: the messages that come from now on. Those that the codec cannot decode are skipped.
     * @returns {AsyncIterableIterator<import("./room.js").TopicMessage<any>>}
     */
    messages() {
        const subscription = this.#connection.exchange.subscribe(this.name);
        const codec = this.#codec;
        return {
            async next() {
                while (true) {
                    const { done, value } = await subscription.next();
                    if (done) return { done: true, value: undefined };
                    const { from, isText, payload } = value;
                    try {
                        if (codec) return { done: false, value: { from, isText, value: codec.decode(payload) } };
                    } catch {
                        continue;
                    }
                    return { done: false, value: { from, isText, value: payload, text: textOf(payload) } };
                }
            },
            async return() {
                await subscription.return();
                return { done: true, value: undefined };
            },
            [Symbol.asyncIterator]() { return this; },
        };
    }
}
