//# allFunctionsCalledOnLoad
import { OfferPace } from "./offer-pace.js";

/** @typedef {import("./peer-types.js").PeerAction} PeerAction */
/** @typedef {import("./peer-machine.js").PeerMachine} PeerMachine */
/** @typedef {import("./peer-types.js").Participant} Participant */
/** @typedef {import("./peer-types.js").PeerFact} PeerFact */
/** @typedef {import("./peer-types.js").PeerFailure} PeerFailure */
/** @typedef {import("./peer-types.js").Random} Random */
/** @typedef {import("./peer-types.js").RecoveryConfiguration} RecoveryConfiguration */
/** @typedef {import("./peer-types.js").Signal} Signal */

/**
 * `scheduleOffersTimer`: `offersTimerFired` has something to do. `reportShortage`: this machine is out of something
 * that a connection needs.
 * @typedef {{ type: "peer", value0: string, value1: PeerAction } | { type: "scheduleOffersTimer", at: number }
 *   | { type: "reportShortage", value0: string, value1: PeerFailure }} PeersAction
 */

/** The machines of all other participants: whose turn it is to connect, and when the offer of which one is answered. */
export class PeersMachine {
    #configuration;
    /** @type {Map<string, PeerMachine>} */
    #peers = new Map();
    /** The turn of a participant to connect may have come. */
    #mayHaveIdlePeers = false;
    /**
     * Participants that the last rejoin did not find; they may come back.
     * @type {Set<string>}
     */
    missing = new Set();
    #pace;
    /**
     * Participants of which a shortage was reported.
     * @type {Set<string>}
     */
    #shortages = new Set();

    /** @param {RecoveryConfiguration} configuration */
    constructor(configuration) {
        this.#configuration = configuration;
        this.#pace = new OfferPace(configuration);
    }

    get participants() {
        return new Set(this.#peers.keys());
    }

    /** @param {string} participant */
    status(participant) {
        return this.#peers.get(participant)?.status;
    }

    /** @param {string} participant */
    isConnected(participant) {
        return this.#peers.get(participant)?.isConnected ?? false;
    }

    /** @param {string} participant */
    isRecovering(participant) {
        return this.#peers.get(participant)?.isRecovering ?? false;
    }

    /**
     * Whether the connection to the participant is this one.
     * @param {string} connection @param {string} participant
     */
    isCurrent(connection, participant) {
        return this.#peers.get(participant)?.connection === connection;
    }

    // Who is there

    /**
     * The participant has come. `peer`: a new machine for it.
     * @param {PeerMachine} peer @param {number} now @param {Random} random
     */
    joined(peer, now, random) {
        this.#mayHaveIdlePeers = true;
        this.#peers.set(peer.participant.id, peer);
        return this.withPeer(peer.participant.id, (peer) => peer.appeared(now, random));
    }

    /** @param {string} participant @param {number} now @param {Random} random */
    returned(participant, now, random) {
        this.missing.delete(participant);
        return this.withPeer(participant, (peer) => peer.rejoined("peerRejoined", now, random));
    }

    /**
     * A rejoin did not find the participant.
     * @param {string} participant @param {number} now @param {Random} random
     */
    missed(participant, now, random) {
        this.missing.add(participant);
        return this.withPeer(participant, (peer) => peer.setReachable(false, now, random));
    }

    /** @param {string} participant @param {number} now @param {Random} random */
    left(participant, now, random) {
        const actions = this.withPeer(participant, (peer) => peer.end(now, random));
        this.#pace.forget(participant);
        this.#shortages.delete(participant);
        this.#peers.delete(participant);
        this.missing.delete(participant);
        return actions;
    }

    /** @param {Participant} participant @param {boolean} hasRejoined @param {number} now @param {Random} random */
    changed(participant, hasRejoined, now, random) {
        return this.withPeer(participant.id, (peer) => {
            peer.changed(participant);
            return hasRejoined ? peer.rejoined("peerRejoined", now, random) : [];
        });
    }

    /**
     * This participant has come into the room, for the first time or again. `known`: those that were there before.
     * @param {Set<string>} known @param {boolean} isResumed @param {number} now @param {Random} random
     */
    roomJoined(known, isResumed, now, random) {
        return this.each((peer, participant) => {
            // Above all those that the server does not know: they have not come back yet.
            const actions = peer.sendHint("serverIsBack");
            if (!known.has(participant) || this.missing.has(participant)) return actions;
            return [
                ...actions,
                ...(isResumed ? peer.setReachable(true, now, random) : peer.rejoined("rejoined", now, random)),
            ];
        });
    }

    /**
     * This participant's stay in the room has ended. `isLeaving`: by its own wish.
     * @param {boolean} isLeaving @param {number} now @param {Random} random
     */
    ended(isLeaving, now, random) {
        // The server may not be there to say so, or the message to it may be lost.
        return this.each((peer) => [...(isLeaving ? peer.sendHint("leaving") : []), ...peer.end(now, random)]);
    }

    /**
     * Answerers wait for their offers at once; offerers take turns.
     * @param {number} now @param {Random} random
     */
    begin(now, random) {
        if (!this.#mayHaveIdlePeers) return [];
        this.#mayHaveIdlePeers = false;
        let connecting = [...this.#peers.values()].filter((peer) => peer.isConnectingFirst).length;
        return this.each((peer) => {
            if (!peer.isIdle) return [];
            if (peer.isOfferer) {
                if (connecting >= this.#configuration.maximumConnecting) {
                    this.#mayHaveIdlePeers = true;
                    return [];
                }
                connecting += 1;
            }
            return peer.begin(now, random);
        });
    }

    removeAll() {
        this.#peers.clear();
    }

    // Signals

    /**
     * Takes a signal. An offer may have to wait for its turn; its candidates, which come behind it, wait in the machine
     * of its peer.
     * @param {Signal} signal @param {number} now @param {Random} random
     */
    received(signal, now, random) {
        const { peer, body } = signal;
        const isOffer = body.type === "description" && body.value.kind === "offer";
        if (isOffer && this.#peers.get(peer)?.willAnswer(signal) && !this.#pace.admits(signal, now))
            return this.#scheduleOffers();
        return this.withPeer(peer, (machine) => machine.received(signal, now, random));
    }

    /** @param {number} now @param {Random} random */
    offersTimerFired(now, random) {
        /** @type {PeersAction[]} */
        const actions = [];
        for (let offer; (offer = this.#pace.next(now)); ) {
            const signal = offer;
            actions.push(...this.withPeer(signal.peer, (peer) => peer.received(signal, now, random)));
        }
        return [...actions, ...this.#scheduleOffers()];
    }

    /** @returns {PeersAction[]} */
    #scheduleOffers() {
        const at = this.#pace.nextDeadline;
        return at === undefined ? [] : [{ type: "scheduleOffersTimer", at }];
    }

    // Connections

    /**
     * @param {PeerFact} fact @param {string} participant @param {string} connection @param {number} now
     * @param {Random} random
     */
    handle(fact, participant, connection, now, random) {
        if (!this.isCurrent(connection, participant)) return [];
        const actions = this.withPeer(participant, (peer) => peer.handle(fact, connection, now, random));
        switch (fact.type) {
            case "notPrepared": case "gatheringFailed":
                // Once, until a path was found after all.
                if (!this.#shortages.has(participant))
                    actions.push({ type: "reportShortage", value0: participant, value1: fact.value });
                this.#shortages.add(participant);
                break;
            case "pathChanged": this.#shortages.delete(participant);
        }
        return actions;
    }

    /**
     * The application asks for a new path, to one participant or to all.
     * @param {string | undefined} participant @param {number} now @param {Random} random
     */
    restart(participant, now, random) {
        this.#shortages.clear();
        /** @param {PeerMachine} peer */
        const restart = (peer) => peer.restart(now, random);
        return participant === undefined ? this.each(restart) : this.withPeer(participant, restart);
    }

    /**
     * Lets the machine of one participant decide.
     * @param {string} participant @param {(peer: PeerMachine, participant: string) => PeerAction[]} body
     */
    withPeer(participant, body) {
        const peer = this.#peers.get(participant);
        const actions = peer ? body(peer, participant) : [];
        return actions.map(
            (value1) => /** @type {PeersAction} */ ({ type: "peer", value0: participant, value1 }));
    }

    /**
     * Lets the machines of all participants decide, in the order of their ids.
     * @param {(peer: PeerMachine, participant: string) => PeerAction[]} body
     */
    each(body) {
        return [...this.#peers.keys()].sort().flatMap((participant) => this.withPeer(participant, body));
    }
}
