//# allFunctionsCalledOnLoad
import { RoomError } from "./errors.js";
import { Mailbox, sequence } from "./waiting.js";
/**
 * @typedef {import("./values.js").Case} Case
 * @typedef {import("./room.js").RoomEvent} RoomEvent
 * @typedef {import("./room.js").RoomSnapshot} RoomSnapshot
 * @typedef {import("./room.js").RoomMember} RoomMember
 * @typedef {import("./room.js").EndReason} EndReason
 */

/** The most events that are kept for one consumer. */
const limit = 4096;

/**
 * The names that the values of cases have in the public API, by event, status and reason.
 * @type {Record<string, Record<string, string>>}
 */
const eventNames = {
    signaling: { value: "status" }, joined: { value: "membership" }, peerJoined: { value: "participant" },
    peerLeft: { value: "participant" }, peerChanged: { value0: "participant", value1: "changes" },
    attributesChanged: { value: "attributes" }, hostChanged: { value: "host" },
    peer: { value0: "participant", value1: "status" }, stalled: { value0: "participant", value1: "stall" },
    resolved: { value0: "participant", value1: "stall" }, incident: { value: "incident" },
    undelivered: { value: "participant" }, error: { value: "error" }, left: { value: "reason" },
};
/** @type {Record<string, Record<string, string>>} */
const statusNames = { closed: { value: "reason" }, connected: { value: "path" }, recovering: { value: "rung" } };

/**
 * @param {Case} value
 * @param {Record<string, string>} [names]
 * @returns {any}
 */
const renamed = (value, names = {}) =>
    Object.fromEntries(Object.entries(value).map(([key, member]) => [names[key] ?? key, member]));

/**
 * Returns an end reason of the machines as the public API has it.
 * @param {Case} reason
 * @returns {EndReason}
 */
export const publicEndReason = (reason) => renamed(reason, { value: "failure" });

/**
 * Returns a status of the machines as the public API has it.
 * @param {Case} status
 */
function publicStatus(status) {
    const result = renamed(status, statusNames[status.type]);
    return status.type == "closed" ? { ...result, reason: publicEndReason(status.value) } : result;
}

/**
 * Returns an event of the machines as the public API has it.
 * @param {Case} event
 * @returns {RoomEvent}
 */
export function publicEvent(event) {
    const result = renamed(event, eventNames[event.type]);
    if (result.status) result.status = publicStatus(result.status);
    if (event.type == "left") result.reason = publicEndReason(event.value);
    if (event.type == "error") {
        const { code, message, ...details } = event.value;
        result.error = new RoomError(code, message, details);
    }
    return result;
}

/**
 * Returns the reason as an error; undefined when this participant has left by itself.
 * @param {EndReason} reason
 */
export function errorOfEndReason(reason) {
    /**
     * @param {string} message
     * @param {string | undefined} protocolCode
     */
    const refused = (message, protocolCode) => new RoomError("refused", message, { protocolCode });
    switch (reason.type) {
    case "left": return undefined;
    case "kicked": return refused(reason.message, "kicked");
    case "roomClosed": return refused(reason.message, "room_closed");
    case "replaced": return refused("another connection has taken over this session", "replaced");
    case "staleEpoch": return refused(reason.message, "stale_epoch");
    case "credentialFailed": return refused(reason.failure.description, "unauthorized");
    default: {
        const { description, code, status } = reason.failure;
        return refused(description, code ?? (status === undefined ? undefined : `status_${status}`));
    }
    }
}

/**
 * Returns the state after an event.
 * @param {RoomSnapshot} state
 * @param {RoomEvent} event
 * @returns {RoomSnapshot}
 */
function applied(state, event) {
    /**
     * @param {string} id
     * @param {Partial<RoomMember>} values
     */
    const changed = (id, values) =>
        ({ ...state, members: state.members.map((member) => member.id == id ? { ...member, ...values } : member) });
    /** @param {string} id */
    const others = (id) => state.members.filter((member) => member.id != id);
    switch (event.type) {
    case "signaling": return { ...state, signaling: event.status };
    case "joined": return { ...state, membership: event.membership };
    case "peerJoined": {
        const { participant } = event;
        const members = [...others(participant.id), { id: participant.id, participant, status: waiting }];
        return { ...state, members: members.sort((left, right) => left.id < right.id ? -1 : 1) };
    }
    case "peerLeft": return { ...state, members: others(event.participant.id) };
    case "peerChanged": return changed(event.participant.id, { participant: event.participant });
    case "attributesChanged": return { ...state, attributes: event.attributes };
    case "hostChanged": {
        const { host, term } = event;
        const { membership } = state;
        return {
            ...state,
            membership: membership && { ...membership, isHost: host == membership.participant, hostTerm: term },
            members: state.members.map((member) =>
                ({ ...member, participant: { ...member.participant, isHost: member.id == host } })),
        };
    }
    case "peer": return changed(event.participant, { status: event.status });
    case "stalled": return changed(event.participant, { stall: event.stall });
    case "resolved": return changed(event.participant, { stall: undefined });
    case "left": return { ...state, endReason: event.reason };
    default: return state;
    }
}

/** @type {{ type: "waiting" }} */
const waiting = { type: "waiting" };

/**
 * Returns the events that lead a new consumer to a state.
 * @param {RoomSnapshot} state
 * @returns {RoomEvent[]}
 */
function eventsTo({ signaling, membership, attributes, members, endReason }) {
    /** @type {RoomEvent[]} */
    const events = [{ type: "signaling", status: signaling }];
    if (membership) events.push({ type: "joined", membership });
    const changes = Object.keys(attributes).sort();
    if (changes.length) events.push({ type: "attributesChanged", attributes, changes });
    for (const { participant } of members) events.push({ type: "peerJoined", participant });
    for (const { id, status, stall } of members) {
        if (status.type != "waiting") events.push({ type: "peer", participant: id, status });
        if (stall) events.push({ type: "stalled", participant: id, stall });
    }
    if (endReason) events.push({ type: "left", reason: endReason });
    return events;
}

/** The kinds of which an older event, of the same participant, is not worth reading any more. */
const replacing = ["signaling", "peer", "stalled"];

/**
 * The position of one consumer of events.
 * @extends {Mailbox<RoomEvent>}
 */
class EventQueue extends Mailbox {
    #onReturn;

    /** @param {(queue: EventQueue) => void} onReturn */
    constructor(onReturn) {
        super(limit);
        this.#onReturn = onReturn;
    }

    /** @param {RoomEvent} event */
    keep(event) {
        const { type, participant } = /** @type {any} */ (event);
        // A full queue is searched only for what the event can replace.
        let index = replacing.includes(type) ? this.values.length - 1 : -1;
        /** @param {any} older */
        const isOlder = (older) => older.type == type && older.participant == participant;
        while (index >= 0 && !isOlder(this.values[index])) index -= 1;
        if (index >= 0) this.values.splice(index, 1);
        super.keep(event);
    }

    return() {
        this.#onReturn(this);
        return super.return();
    }
}

/** The events of a room and the state that they lead to, for any number of consumers. */
export class EventFeed {
    /** @type {Set<EventQueue>} */
    #queues = new Set();
    /**
     * Gets every event from the beginning, until the first consumer takes it.
     * @type {EventQueue | undefined}
     */
    #first;
    /** @type {(() => void)[]} */
    #waiters = [];
    /** Counts the changes of `present`. */
    #version = 1;

    /** @param {string} room */
    constructor(room) {
        /** @type {RoomSnapshot} */
        this.present = {
            room, signaling: { type: "disconnected" }, attributes: {}, members: [], isHost: false,
        };
        this.#first = new EventQueue((queue) => this.#queues.delete(queue));
        this.#queues.add(this.#first);
    }

    /** @param {RoomEvent} event */
    emit(event) {
        const state = applied(this.present, event);
        if (state != this.present) {
            const { membership, members } = state;
            const isHost = membership?.isHost ?? false;
            const selfID = membership?.participant;
            const host = isHost ? selfID : members.find(({ participant }) => participant.isHost)?.id;
            this.present = { ...state, isHost, selfID, host };
            this.#version += 1;
        }
        for (const queue of this.#queues) {
            queue.push(event);
            if (event.type == "left") queue.finish();
        }
        if (event.type == "left") this.#queues.clear();
        for (const wake of this.#waiters.splice(0)) wake();
    }

    /**
     * The first consumer gets everything from the beginning, each further one the present state first.
     * @returns {AsyncIterableIterator<RoomEvent>}
     */
    subscribe() {
        const first = this.#first;
        this.#first = undefined;
        if (first) return first;
        const queue = new EventQueue((queue) => this.#queues.delete(queue));
        for (const event of eventsTo(this.present)) queue.push(event);
        if (this.present.endReason) queue.finish(); else this.#queues.add(queue);
        return queue;
    }

    /**
     * The present state, then the newest whenever it has changed.
     * @returns {AsyncIterableIterator<RoomSnapshot>}
     */
    snapshots() {
        let version = 0;
        return sequence(
            () => {
                if (version == this.#version) return undefined;
                version = this.#version;
                return this.present;
            },
            () => !!this.present.endReason, (wake) => this.#waiters.push(wake));
    }
}
