//# allFunctionsCalledOnLoad
import { withDeadline } from "./abort-signal.js";
import { RoomError } from "./errors.js";
import { PageEvents } from "./page-events.js";
import { validate } from "./room-configuration.js";
import { RoomConnection, browserEnvironment } from "./room-connection.js";
import { peerNotFound, reportOn } from "./send-report.js";
/**
 * @typedef {import("./pair.js").Pair} Pair
 * @typedef {import("./room.js").HostRole} Role
 * @typedef {import("./room.js").RoomChannel} RoomChannel
 * @typedef {import("./room.js").RoomConfiguration} RoomConfiguration
 * @typedef {import("./room.js").Sendable} Sendable
 */

/** The roles by name. */
export const HostRole = /** @type {const} */ ({ host: "host", guest: "guest", awaited: "awaited", ifFirst: "ifFirst" });

// MARK: - The runtime

/** The source of rooms. */
export class MessageRuntime {
    #configuration;
    #environment;
    #isStopping = false;
    /** @type {Set<{ room: MessageRoom, connection: RoomConnection }>} */
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
     * @param {(runtime: any) => Result | Promise<Result>} body
     */
    static async withRunning(configuration, body) {
        const runtime = new this(configuration);
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
            () => this.#rooms.delete(entry), this.#environment, this.extras);
        const entry = { room: this.makeRoom(name, connection), connection };
        this.#rooms.add(entry);
        connection.start();
        return entry;
    }

    /**
     * What rooms have beside messages.
     * @type {import("./room-connection.js").Extras | undefined}
     */
    get extras() { return undefined; }

    /**
     * @param {string} name
     * @param {RoomConnection} connection
     */
    makeRoom(name, connection) { return new MessageRoom(name, connection); }

    /** Leaves the rooms that are still connected. Idempotent. */
    async stop() {
        this.#isStopping = true;
        await Promise.all([...this.#rooms].map(({ room }) => room.leave({ within: 1 })));
        this.#pageEvents.stop();
    }
}

// MARK: - The room

/** The keys of what a room is made of. */
export const engine = Symbol("engine");
export const receivers = Symbol("receivers");

/** A room that this page is in, with its messages. */
export class MessageRoom {

    /**
     * @param {string} name
     * @param {RoomConnection} connection
     */
    constructor(name, connection) {
        this.name = name;
        this[engine] = connection;
    }

    // MARK: State

    get selfID() { return this.snapshot.selfID; }
    get participants() { return this.snapshot.members.map(({ participant }) => participant); }
    get isHost() { return this.snapshot.isHost; }
    get attributes() { return this.snapshot.attributes; }
    get signalingStatus() { return this.snapshot.signaling; }
    get endReason() { return this.snapshot.endReason; }
    get snapshot() { return this[engine].feed.present; }
    snapshots() { return this[engine].feed.snapshots(); }
    events() { return this[engine].feed.subscribe(); }

    // MARK: Messages

    /** @param {{ on?: RoomChannel }} options */
    messages({ on = "reliable" } = {}) { return this[engine].inboxes[on].messages(); }

    /** @param {{ on?: RoomChannel }} options */
    messageBatches({ on = "reliable" } = {}) { return this[engine].inboxes[on].batches(); }

    /** @param {(message: import("./room.js").RoomMessage) => void} handler */
    onMessage(handler) { this[engine].setHandler(handler); }

    clearMessageHandler() { this[engine].setHandler(undefined); }

    /**
     * Returns the pairs with one participant, with several, or with everybody who is in the room now. Waits for the
     * join.
     * @param {string | string[] | undefined} to
     * @param {AbortSignal} [signal]
     * @returns {Promise<Pair[]>}
     */
    async [receivers](to, signal) {
        if (!this[engine].isJoined) await this[engine].waitUntilJoined({ signal });
        if (to === undefined) return this[engine].peers.pairs;
        return [to].flat().map((id) => this.#pair(id));
    }

    /** @param {string} participant */
    #pair(participant) {
        const pair = this[engine].peers.pair(participant);
        if (!pair) throw peerNotFound(participant);
        return pair;
    }

    /**
     * Sends to everybody in the room, or to one participant.
     * @param {Sendable} message
     * @param {{ to?: string, channel?: RoomChannel, isText?: boolean, signal?: AbortSignal }} options
     */
    async send(message, { to, channel = "reliable", isText, signal } = {}) {
        const pairs = await this[receivers](to, signal);
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
        if (!this[engine].isJoined) {
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
        const waiting = new Set(this[engine].peers.pairs);
        await withDeadline(this[engine].schedule, within, signal, (signal) =>
            Promise.all([...waiting].map(async (pair) => {
                if (await pair.flush({ signal }) || pair.isGone) waiting.delete(pair);
            })));
        if (signal?.aborted) throw new RoomError("cancelled", "the flush was cancelled");
        if (!waiting.size) return;
        const names = [...waiting].map(({ participant }) => participant).slice(0, 8).join(", ");
        throw new RoomError(
            "timed_out", `no acknowledgement from ${names} within ${within} s`, { isRetryable: true });
    }

    // MARK: Control

    /**
     * Leaves the room. Idempotent.
     * @param {{ within?: number }} options
     */
    async leave({ within = 5 } = {}) {
        await this.flush({ within }).catch(() => {});
        this[engine].leave();
    }

    reconnectNow() { this[engine].handle({ type: "reconnectRequested" }); }

    /** @param {{ to?: string }} options */
    restartPaths({ to } = {}) { this[engine].handle({ type: "restartRequested", value: to }); }

    /** @param {{ metadata?: Record<string, string>, attributes?: Record<string, string> }} values */
    update({ metadata, attributes }) {
        if (metadata) this[engine].handle({ type: "metadataUpdated", value: { ...metadata } });
        if (attributes) this[engine].handle({ type: "attributesUpdated", value: { ...attributes } });
    }

    /**
     * @param {string} participant
     * @param {{ reason?: string }} options
     */
    kick(participant, { reason = "" } = {}) {
        this[engine].handle({ type: "kickRequested", value: participant, reason });
    }

    /** @param {{ reason?: string }} options */
    close({ reason = "" } = {}) { this[engine].handle({ type: "closeRequested", reason }); }

    /** @param {{ of: string }} options */
    async security({ of }) {
        const fingerprints = this[engine].peers.peer(of)?.fingerprints;
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
        const peers = [...this[engine].peers.peers];
        return new Map(await Promise.all(peers.map(async ([id, peer]) =>
            /** @type {const} */ ([id, await peer.statistics]))));
    }
}
