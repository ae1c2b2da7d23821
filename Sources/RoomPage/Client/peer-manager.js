//# allFunctionsCalledOnLoad
import { BrowserPeer } from "./browser-peer.js";
import { DeliveryMemory } from "./delivery-memory.js";
import { Pair } from "./pair.js";
/**
 * @typedef {import("./values.js").Case} Case
 * @typedef {import("./room.js").RoomParticipant} Participant
 * @typedef {import("./pair-types.js").Handlers} Handlers
 *
 * @typedef {{ id: string, peer: BrowserPeer }} Connection `id`: of the peer connection.
 * @typedef {{ participant: Participant, pair?: Pair, connection?: Connection }} Entry
 *
 * @typedef {object} ManagerOptions
 * @property {{
 *     sendLimit: number, maximumMessageSize: number, stall: number,
 * }} limits
 * @property {"all" | "relay"} icePolicy
 * @property {() => boolean} canSignal Whether the room server is reached.
 * @property {() => number} now
 * @property {import("./pair-types.js").Schedule} schedule
 * @property {(configuration: RTCConfiguration) => RTCPeerConnection} [createConnection]
 * @property {import("./pair-types.js").PairExtras} [extras]
 * @property {(event: Case) => void} report Takes a fact of the room's machine.
 * @property {(event: Case) => void} emit Takes an event of the room.
 * @property {(pair: Pair) => Pick<Handlers, "message" | "topic" | "request" | "stream">} handlers
 */

/** Seconds in which a last word can go out before its connection is closed. */
const farewell = 0.2;

/** Has the browser load what all connections of a page use: Chromium takes milliseconds for the first one. */
export function prepareConnections() {
    try {
        new RTCPeerConnection().close();
    } catch {
        // It is reported when a connection is needed.
    }
}

/**
 * Makes, feeds and closes peer connections as the room's machine says. It owns the pairs, which outlive the
 * connections.
 */
export class PeerManager {
    /**
     * Everybody else in the room.
     * @type {Map<string, Entry>}
     */
    #entries = new Map();
    #memory = new DeliveryMemory();
    /** @type {string | undefined} */
    #ownSession;
    #pairCount = 0;
    #options;
    #isLeaving = false;

    /** @param {ManagerOptions} options */
    constructor(options) { this.#options = options; }

    /** The pairs in the order of their participants' ids. */
    get pairs() {
        return [...this.#entries.keys()].sort().flatMap((id) => this.pair(id) ?? []);
    }

    /** @param {string} participant */
    pair(participant) { return this.#entries.get(participant)?.pair; }

    /** @param {string} participant */
    peer(participant) { return this.#entries.get(participant)?.connection?.peer; }

    /** The connections by participant. */
    get peers() {
        /** @type {Map<string, BrowserPeer>} */
        const peers = new Map();
        for (const [id, { connection }] of this.#entries) if (connection) peers.set(id, connection.peer);
        return peers;
    }

    // MARK: Who is there

    /**
     * Takes up an event of the room before the application does.
     * @param {Case} event
     */
    apply(event) {
        switch (event.type) {
        case "joined":
            // With another session than before, delivery starts afresh with everybody.
            if (this.#ownSession == event.value.session) return;
            this.#ownSession = event.value.session;
            for (const entry of this.#entries.values()) this.#makePair(entry);
            break;
        case "peerJoined": {
            const participant = event.value;
            /** @type {Entry} */
            const entry = this.#entries.get(participant.id) ?? { participant };
            const isSame = entry.participant.session == participant.session && entry.pair;
            entry.participant = participant;
            this.#entries.set(participant.id, entry);
            if (!isSame) this.#makePair(entry);
            break;
        }
        case "peerChanged": {
            const entry = this.#entries.get(event.value0.id);
            if (entry) entry.participant = event.value0;
            break;
        }
        case "peerLeft": {
            const entry = this.#entries.get(event.value.id);
            if (entry) this.#dropPair(entry);
            this.#entries.delete(event.value.id);
            break;
        }
        case "peer": this.pair(event.value0)?.statusChanged(event.value1); break;
        }
    }

    /** @param {Entry} entry */
    #makePair(entry) {
        this.#dropPair(entry);
        if (this.#ownSession === undefined) return;
        const { now, schedule, limits, report, emit, handlers, extras } = this.#options;
        const { id, session, capabilities } = entry.participant;
        /**
         * Not from inside a call of the pair: who leaves has its connection closed.
         * @param {Case} fact
         */
        const tell = (fact) => {
            const connection = entry.connection?.id;
            Promise.resolve().then(() => {
                if (entry.pair == pair && connection !== undefined) {
                    report({ type: "peer", value0: id, value1: connection, value2: fact });
                }
            });
        };
        /** @returns {BrowserPeer} */
        const peer = () => {
            if (!entry.connection) throw new Error("there is no connection");
            return entry.connection.peer;
        };
        const pair = new Pair({
            ownSession: this.#ownSession, peerSession: session, participant: id, capabilities,
            configuration: limits, streams: this.#memory.take(this.#ownSession, session),
            requestBase: this.#pairCount++ * 2 ** 32, now, schedule, extras,
            link: {
                send: (label, data) => peer().send(label, data),
                bufferedAmount: (label) => entry.connection?.peer.bufferedAmount(label) ?? 0,
                maximumMessageSize: () => peer().maximumMessageSize(),
                openChannel: (parameters) => peer().openChannel(parameters),
                closeChannel: (label) => entry.connection?.peer.closeChannel(label),
            },
            handlers: {
                message: (message) => own.message(message),
                topic: (arrival) => own.topic?.(arrival) ?? false,
                request: (request) => /** @type {any} */ (own.request)(request),
                stream: (stream) => own.stream?.(stream),
                hint: (type) => tell({ type }),
                broken: (reason) => entry.connection?.peer.fail(reason),
                dataArrived: () => tell({ type: "dataArrived" }),
                acknowledgement: (isMissing) => tell({ type: isMissing ? "unacknowledged" : "acknowledged" }),
                undelivered: (count) => emit({ type: "undelivered", value: id, count }),
            },
        });
        const own = handlers(pair);
        entry.pair = pair;
    }

    /** @param {Entry} entry */
    #dropPair(entry) {
        const { pair } = entry;
        if (!pair) return;
        pair.ended();
        this.#memory.store(pair.streams);
        entry.pair = undefined;
    }

    // MARK: The machine's commands

    /**
     * @param {string} participant
     * @param {string} id
     * @param {any} command
     */
    perform(participant, id, command) {
        const entry = this.#entries.get(participant);
        if (!entry) return;
        if (command.type == "create") return this.#create(entry, id, command);
        const { connection } = entry;
        if (connection?.id != id) return;
        if (command.type == "close") {
            entry.connection = undefined;
            this.#close(connection, entry.pair);
        } else {
            if (command.type == "sendHint" && command.value == "leaving") this.#isLeaving = true;
            connection.peer.perform(command);
        }
    }

    /**
     * @param {Entry} entry
     * @param {string} id
     * @param {any} command
     */
    #create(entry, id, command) {
        const { now, schedule, icePolicy, canSignal, createConnection, report } = this.#options;
        const { pair, connection: former, participant } = entry;
        entry.connection = undefined;
        former?.peer.close();
        if (!pair) return;
        const { isOfferer, iceServers } = command;
        const peer = new BrowserPeer({
            iceServers, icePolicy, delivery: pair, canSignal, now, schedule, create: createConnection,
            report: (fact) => {
                if (fact.type == "closed" && entry.connection?.peer == peer) entry.connection = undefined;
                report({ type: "peer", value0: participant.id, value1: id, value2: fact });
            },
        });
        entry.connection = { id, peer };
        pair.attached(isOfferer);
    }

    /**
     * @param {Connection} connection
     * @param {Pair | undefined} pair
     */
    #close({ peer }, pair) {
        if (!this.#isLeaving) return peer.close();
        // What was said last is still on its way.
        pair?.detached();
        this.#options.schedule(farewell, () => peer.close());
    }

    /** Closes everything. */
    closeAll() {
        for (const entry of this.#entries.values()) {
            const { connection, pair } = entry;
            entry.connection = undefined;
            this.#dropPair(entry);
            if (connection) this.#close(connection, pair);
        }
        this.#entries.clear();
    }
}
