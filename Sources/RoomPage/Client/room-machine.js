//# allFunctionsCalledOnLoad
import { Agenda } from "./agenda.js";
import { iceServersError } from "./ice-server-selection.js";
import { hasLost } from "./network-change.js";
import { PeerMachine } from "./peer-machine.js";
import { PeersMachine } from "./peers-machine.js";
import { SignalingMachine } from "./signaling-machine.js";
import { signalingReaction } from "./signaling-reaction.js";
import { SignalingRecovery } from "./signaling-recovery.js";
import { RoomSessionMachine } from "./room-session-machine.js";
import { supersedes } from "./signaling-streams.js";
import { equal, refusalFailure } from "./values.js";
/**
 * @typedef {import("./values.js").Case} Case
 * @typedef {import("./values.js").ProtocolError} ProtocolError
 * @typedef {import("./random.js").RandomSource} RandomSource
 * @typedef {import("./room-machine-interface.js").RoomFact} RoomFact
 * @typedef {import("./room-machine-interface.js").RoomAction} RoomAction
 */

/**
 * Every decision of one participant's stay in a room: signaling, session, negotiation and recovery of all peers, put
 * together. Facts and the time go in, actions come out, to be performed in their order.
 */
export class RoomMachine {
    /** @type {Agenda<() => void>} */
    #agenda = new Agenda();
    #configuration;
    #signaling;
    #session;
    #peers;
    #recovery = new SignalingRecovery();
    /** @type {Case | undefined} */
    #endReason;
    /** @type {string[] | undefined} */
    #addresses;
    // Of the present call.
    /** @type {RoomAction[]} */
    #actions = [];
    #now = 0;
    /** @type {RandomSource} */
    #random = { next: () => 0n };

    /**
     * @param {import("./configuration.js").MachineConfiguration} configuration
     * @param {string[]} [addresses] Of this machine, now. Browsers do not know them.
     */
    constructor(configuration, addresses) {
        this.#configuration = configuration;
        this.#addresses = addresses;
        this.#signaling = new SignalingMachine(configuration);
        this.#session = new RoomSessionMachine(configuration);
        this.#peers = new PeersMachine(configuration.recovery);
    }

    /** The room has ended; nothing will come of any further fact. */
    get isEnded() { return !!this.#endReason; }
    get signalingStatus() { return this.#signaling.status; }
    /** Undefined before the first join. */
    get membership() { return this.#session.membership; }
    /** The others, in the order of their ids. */
    get participants() { return this.#session.participants; }
    /** The room's attributes, as far as they are known. */
    get attributes() { return this.#session.attributes; }
    /** Messages that wait for the server's acknowledgement or for a connection. */
    get queuedMessages() { return this.#signaling.queuedMessages; }
    /** With which this participant can return to its session; a secret. Undefined before the first join. */
    get sessionToken() { return this.#session.stay?.sessionToken; }
    /** @param {string} participant */
    peerStatus(participant) { return this.#peers.status(participant); }

    // MARK: Facts

    /**
     * Takes in a fact and returns what is to be done, in order.
     * @param {RoomFact} event @param {number} now @param {RandomSource} random
     */
    handle(event, now, random) {
        /** @type {RoomAction[]} */
        const actions = this.#actions = [];
        if (this.isEnded) {
            // A connection that was opened too late must not stay open.
            if (event.type == "transportConnected") this.#act({ type: "abortTransport", value: event.value });
            return actions;
        }
        this.#now = now;
        this.#random = random;
        const wasConnected = this.#signaling.isConnected;
        this.#apply(event);
        this.#drain();
        if (wasConnected && !this.#signaling.isConnected && !this.isEnded) {
            this.#eachPeer((peer) => peer.setReachable(false, now, random));
        }
        if (this.#signaling.isConnected) this.#addPeers(this.#peers.begin(now, random));
        this.#drain();
        return actions;
    }

    /** @param {RoomFact} event */
    #apply(event) {
        const [now, random, signaling, session] = [this.#now, this.#random, this.#signaling, this.#session];
        switch (event.type) {
        case "started":
            this.#addSession(session.attempted(now));
            return this.#addSignaling(signaling.start(now));
        case "leaveRequested": return this.#addSignaling(signaling.leave());
        case "reconnectRequested":
            this.#addSignaling(signaling.probeOrRetry(now, random));
            return this.#eachPeer((peer) => peer.checkPath("reconnectRequested", now, random));
        case "networkChanged": return this.#networkChanged(event.value);
        case "woke":
            this.#addSignaling(signaling.woke(event.after, now, random));
            this.#drain();
            this.#addSession(session.woke(event.after, now));
            return this.#eachPeer((peer) => peer.woke(event.after, now, random));
        case "metadataUpdated":
            session.updateMetadata(event.value);
            // Before the first join, `hello` carries it.
            return this.membership && this.#send({ type: "update", metadata: event.value });
        case "attributesUpdated": return this.#addSession(session.updateAttributes(event.value));
        case "kickRequested":
            if (!this.participants.some(({ id }) => id == event.value)) {
                return this.#emitError("The room has no other participant with this id.", "peer_not_found");
            }
            return this.#send({ type: "kick", value: event.value, reason: event.reason });
        case "closeRequested": return this.#send({ type: "closeRoom", reason: event.reason });
        case "restartRequested": return this.#addPeers(this.#peers.restart(event.value, now, random));
        case "timerFired": return this.#timerFired(event.value);
        case "transportConnected": return this.#addSignaling(signaling.transportConnected(event.value, now));
        case "receivedMalformed":
            this.#emitError(
                `the room server sent something unreadable: ${event.value0.message}`, event.value0.code, true);
        // Falls through.
        case "transportFailed": case "transportClosed": case "received":
            return this.#addSignaling(signaling[event.type](event.value0, event.value1, now, random));
        case "credentialReady":
            return this.#addSignaling(signaling.credentialReady(event.token, event.expiresAt, now));
        case "credentialFailed": return this.#addSignaling(signaling.credentialFailed(event.value, now, random));
        case "iceServersProvided":
            return this.#addSession(session.iceServersProvided(event.value, event.ttl, now));
        case "iceServersFailed": return this.#addSession(session.iceServersFailed(event.value, now));
        case "peer": return this.#applyPeer(event.value2, event.value0, event.value1);
        }
    }

    /** @param {any} fact @param {string} participant @param {string} connection */
    #applyPeer(fact, participant, connection) {
        const [now, random, signaling] = [this.#now, this.#random, this.#signaling];
        if (fact.type == "serverIsBack") return this.#addSignaling(signaling.serverIsBack(now, random));
        // True also when the connection is closed already: it was its last message.
        if (fact.type == "leaving") return this.#addSession(this.#session.peerLeaving(participant));
        if (!this.#peers.isCurrent(connection, participant)) return;
        const wasRecovering = this.#peers.isRecovering(participant);
        this.#addPeers(this.#peers.handle(fact, participant, connection, now, random));
        this.#drain();
        const reaction = signalingReaction(fact, wasRecovering);
        if (reaction == (signaling.isConnected ? "probe" : "retry")) {
            this.#addSignaling(signaling.probeOrRetry(now, random));
        } else if (reaction == "checkWhetherHeard") {
            this.#addSignaling(signaling.unheard(now, random));
        }
    }

    /** @param {import("./network-change.js").NetworkChange} change */
    #networkChanged(change) {
        const [now, random] = [this.#now, this.#random];
        this.#addSignaling(this.#signaling.networkChanged(hasLost(change, change.signalingAddress), now, random));
        const isOther = change.addresses !== undefined && !equal(change.addresses, this.#addresses);
        this.#addresses = change.addresses ?? this.#addresses;
        this.#eachPeer((peer) => peer.networkChanged(change, isOther, now, random));
    }

    /** @param {Case} timer */
    #timerFired(timer) {
        const [now, random, signaling, peers] = [this.#now, this.#random, this.#signaling, this.#peers];
        this.#addSignaling(signaling.checkLateness(now, random));
        switch (timer.type) {
        case "signaling": return this.#addSignaling(signaling.timerFired(timer.value, now, random));
        case "session":
            return this.#addSession(this.#session.timerFired(
                signaling.isConnected, signaling.isCatchingUp, (id) => peers.isConnected(id), now));
        case "peer":
            return this.#addPeers(peers.withPeer(timer.value0, (peer) =>
                peer.timerFired(timer.value1, signaling.isConnected, now, random)));
        case "offers": return this.#addPeers(peers.offersTimerFired(now, random));
        }
    }

    // MARK: The parts

    /** @param {Case[]} actions */
    #addSignaling(actions) { this.#agenda.add(...actions.map((action) => () => this.#performSignaling(action))); }

    /** @param {Case[]} actions */
    #addSession(actions) { this.#agenda.add(...actions.map((action) => () => this.#performSession(action))); }

    /** @param {Case[]} actions */
    #addPeers(actions) { this.#agenda.add(...actions.map((action) => () => this.#performPeers(action))); }

    /** @param {(peer: PeerMachine, participant: string) => any[]} body */
    #eachPeer(body) { this.#addPeers(this.#peers.each(body)); }

    /** @param {RoomAction} action */
    #act(action) { this.#actions.push(action); }

    /** @param {Case} value */
    #emit(value) { this.#act({ type: "emit", value }); }

    /** @param {string} message @param {string} protocolCode */
    #emitError(message, protocolCode, isRetryable = false, code = "refused") {
        this.#emit({ type: "error", value: { code, message, protocolCode, isRetryable } });
    }

    /** @param {Case} message */
    #send(message) { this.#addSignaling(this.#signaling.send(message, this.#now, this.#random)); }

    /** Carries out what the parts have decided, and what follows from it. */
    #drain() { for (let step; (step = this.#agenda.next());) step(); }

    // MARK: Signaling

    /** @param {Case} action */
    #performSignaling(action) {
        switch (action.type) {
        case "openTransport":
            this.#recovery.attempted(this.#now);
            this.#addSession(this.#session.attempted(this.#now));
            return this.#agenda.add(() => this.#act(action));
        case "scheduleTimer": case "cancelTimer":
            return this.#act({ ...action, value: { type: "signaling", value: action.value } });
        case "changeStatus":
            this.#emit({ type: "signaling", value: action.value });
            return this.#statusChanged(action.value);
        case "requestHello":
            this.#recovery.connected(this.#now);
            return this.#addSignaling(this.#signaling.sendHello(this.#session.hello(
                action.token, action.received, action.mustRejoin, action.attempt)));
        case "deliver": return this.#receive(action.value, action.isReplayed);
        case "overflow":
            return this.#emitError(
                `${action.dropped} messages to the room server did not fit into the queue; the room is rejoined`,
                "queue_overflow", true);
        default: this.#act(action);
        }
    }

    /** @param {Case} status */
    #statusChanged(status) {
        if (status.type == "closed") {
            const incident = this.#recovery.ended(this.#now);
            if (incident) this.#emit({ type: "incident", value: incident });
            this.#end(status.value);
        } else if (status.type != "connected" && this.membership) {
            this.#recovery.lost(status.cause, this.#now);
        }
    }

    /** @param {Case} message @param {boolean} isReplayed */
    #receive(message, isReplayed) {
        if (message.type == "joined") {
            const known = this.#peers.participants;
            this.#addSession(this.#session.joined(message.value, this.#now));
            this.#agenda.add(() => this.#reviewPeers(known, message.value.isResumed));
        } else if (message.type == "error") {
            this.#refused(message.value);
        } else {
            this.#addSession(this.#session.received(message, isReplayed, this.#now));
        }
    }

    /**
     * The room is joined, and the session has compared the rosters. `known`: the participants that were there before.
     * @param {Set<string>} known @param {boolean} isResumed
     */
    #reviewPeers(known, isResumed) {
        const now = this.#now;
        this.#addPeers(this.#peers.roomJoined(known, isResumed, now, this.#random));
        const incident = this.#recovery.reconnected(isResumed, now);
        if (incident) this.#agenda.add(() => this.#emit({ type: "incident", value: incident }));
    }

    /** @param {ProtocolError} error */
    #refused(error) {
        const [now, random, signaling] = [this.#now, this.#random, this.#signaling];
        const failure = refusalFailure(error);
        const verdict = this.#session.judge(error, !signaling.isConnected, now);
        switch (verdict.type) {
        case "report":
            // A signal to a participant that has just left.
            if (error.code == "peer_not_found") return;
            return this.#agenda.add(() => this.#emitError(error.message, error.code, error.isRetryable));
        case "refreshCredential": {
            const actions = signaling.refreshCredential(failure, now, random);
            if (actions) return this.#addSignaling(actions);
            if (!this.#session.forgetSession()) {
                return this.#addSignaling(signaling.close({ type: "refused", value: failure }));
            }
        }
        // Falls through: without the session, a rejoin.
        case "rejoin": signaling.requireRejoin();
        // Falls through.
        case "tryAgain": return this.#addSignaling(signaling.abortAndRetry(failure, now, random));
        case "end": return this.#addSignaling(signaling.close(verdict.value));
        }
    }

    /** @param {Case} reason */
    #end(reason) {
        this.#endReason = reason;
        this.#addPeers(this.#peers.ended(reason.type == "left", this.#now, this.#random));
        this.#agenda.add(() => {
            this.#peers.removeAll();
            this.#act({ type: "cancelTimer", value: { type: "session" } });
            this.#emit({ type: "left", value: reason });
        });
    }

    // MARK: Session

    /** @param {Case} action */
    #performSession(action) {
        const [now, random, peers] = [this.#now, this.#random, this.#peers];
        switch (action.type) {
        case "joined": case "hostChanged": case "attributesChanged": return this.#emit(action);
        case "peerJoined": return this.#join(action.value);
        case "peerReturned": return this.#addPeers(peers.returned(action.value.id, now, random));
        case "peerMissed": return this.#addPeers(peers.missed(action.value, now, random));
        case "peerLeft":
            this.#addPeers(peers.left(action.value.id, now, random));
            this.#signaling.removeUnsentSignals((signal) => signal.peer == action.value.id);
            return this.#agenda.add(() => this.#emit(action));
        case "peerChanged": {
            const { type, value0, value1, hasRejoined } = action;
            this.#emit({ type, value0, value1 });
            return this.#addPeers(peers.changed(value0, hasRejoined, now, random));
        }
        case "updateRoom": return this.#send(action);
        case "updateRefused":
            return this.#emitError("Only the room's host sets its attributes.", "not_host");
        case "signal": return this.#addPeers(peers.received(action.value, now, random));
        case "iceServersChanged":
            return this.#eachPeer((peer) => peer.iceServersChanged(action.value, action.ttl, now, random));
        case "requestICEServers": return this.#act(action);
        case "iceServersFailed":
            return this.#emitError(
                `${action.value.description}; the room goes on with the ICE servers that it has.`,
                "ice_provider_failed", true);
        case "iceServersUnusable": return this.#emit({ type: "error", value: iceServersError(action.value) });
        case "askServer": return this.#addSignaling(this.#signaling.catchUp(now, random));
        case "refreshICEServers": return this.#addSignaling(this.#signaling.reconnectInOrder(now));
        case "scheduleTimer": return this.#act({ ...action, value: { type: "session" } });
        }
    }

    /** @param {import("./room.js").RoomParticipant} participant */
    #join(participant) {
        const us = this.membership?.participant;
        if (us === undefined) return;
        this.#emit({ type: "peerJoined", value: participant });
        const { iceServers, iceServersAt } = this.#session;
        const peer = new PeerMachine(participant, us, this.#configuration.recovery, iceServers, iceServersAt);
        this.#addPeers(this.#peers.joined(peer, this.#now, this.#random));
    }

    // MARK: Peers

    /** @param {Case} action */
    #performPeers(action) {
        switch (action.type) {
        case "peer": return this.#performPeer(action.value0, action.value1);
        case "scheduleOffersTimer":
            return this.#act({ type: "scheduleTimer", value: { type: "offers" }, at: action.at });
        case "reportShortage":
            return this.#emitError(
                `no new path to ${action.value0}: ${action.value1.description}`, "resource_exhausted", true,
                "unavailable");
        }
    }

    /** @param {string} value0 @param {Case} action */
    #performPeer(value0, action) {
        switch (action.type) {
        case "command":
            return this.#act({ type: "peer", value0, value1: action.value0, value2: action.value1 });
        case "signal":
            this.#signaling.removeUnsentSignals((signal) => supersedes(action.value, signal));
            return this.#send(action);
        case "scheduleTimer": case "cancelTimer":
            return this.#act({ ...action, value: { type: "peer", value0, value1: action.value } });
        case "changeStatus": return this.#emit({ type: "peer", value0, value1: action.value });
        case "report": return this.#emit({ type: "incident", value: action.value });
        case "reportStall": return this.#emit({ type: "stalled", value0, value1: action.value });
        case "resolveStall": return this.#emit({ type: "resolved", value0, value1: action.value });
        }
    }
}
