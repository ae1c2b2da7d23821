//# allFunctionsCalledOnLoad
import { ICEServerMachine, earliest } from "./ice-server-machine.js";
import { Refusals } from "./refusals.js";
import { RoomRoster } from "./room-roster.js";
import { equal, keysChanged } from "./values.js";
/**
 * @typedef {import("./values.js").Case} Case
 * @typedef {import("./room.js").RoomParticipant} Participant
 * @typedef {import("./room.js").RoomMembership} RoomMembership
 * @typedef {{ version: number, values: Record<string, string> }} RoomAttributes
 *
 * @typedef {{
 *     membership: RoomMembership, sessionToken: string, roster: RoomRoster, host?: string, mayReplayUnsaid: boolean,
 *     knownTerm: number, attributes: RoomAttributes, serverVersion: number,
 * }} Stay `roster`: the others. `host`: as the newest `joined` or `hostChanged` has it. `mayReplayUnsaid`: the server
 *     does not say what is older than the roster. `knownTerm`: of the latest host that was told; a server that has lost
 *     its state may for a while not know of it. `attributes`: the newest that are known. `serverVersion`: the highest
 *     version of the attributes that the server has sent.
 */

/**
 * The membership of this participant: its identity, the roster, the ICE servers, and the consequences of refusals.
 *
 * Methods add to `actions` and return it. Actions: `joined(value)`, `peerJoined(value)`, `peerReturned(value)`,
 * `peerMissed(value)`, `peerLeft(value, reason)`, `peerChanged(value0, value1, hasRejoined)`,
 * `attributesChanged(value, changes)`, `updateRoom(value)`, `updateRefused`, `hostChanged(value, term)`,
 * `signal(value)`, `iceServersChanged(value, ttl)`, `refreshICEServers`, `requestICEServers`,
 * `iceServersFailed(value)`, `iceServersUnusable(value)`, `askServer`, `scheduleTimer(at)`.
 */
export class RoomSessionMachine {
    #configuration;
    #metadata;
    #ice;
    /** False: the session token was not accepted, and the next join is as a new participant. */
    #presentsSession = true;
    #refusals = new Refusals();

    /** @param {import("./configuration.js").MachineConfiguration} configuration */
    constructor(configuration) {
        this.#configuration = configuration;
        /**
         * Undefined before the first join.
         * @type {Stay | undefined}
         */
        this.stay = undefined;
        this.#metadata = configuration.metadata;
        this.#ice = new ICEServerMachine(configuration);
    }

    get iceServers() { return this.#ice.servers; }
    /** When the latest of them came. */
    get iceServersAt() { return this.#ice.changedAt; }
    get membership() { return this.stay?.membership; }
    /** Everybody else, in the order of their ids. */
    get participants() { return this.stay?.roster.participants ?? []; }
    /** The newest attributes of the room that are known. */
    get attributes() { return this.stay?.attributes.values ?? {}; }

    /**
     * @param {string | undefined} token
     * @param {number} received
     * @param {boolean} mustRejoin
     * @param {number} attempt
     */
    hello(token, received, mustRejoin, attempt) {
        const { room, role, waitsForRoom, name, capabilities } = this.#configuration;
        const resume = this.stay && this.#presentsSession
            ? { sessionToken: this.stay.sessionToken, received, mustRejoin, attempt } : undefined;
        return {
            version: 1, minimumVersion: 1, room, role, waitsForRoom, name, metadata: this.#metadata, token, resume,
            capabilities,
        };
    }

    /** @param {Record<string, string>} metadata */
    updateMetadata(metadata) { this.#metadata = metadata; }

    // MARK: Joining

    /**
     * @param {any} joined
     * @param {number} now
     * @param {Case[]} actions
     */
    joined(joined, now, actions = []) {
        this.#presentsSession = true;
        this.#refusals.joined();
        const { participant, session, epoch, isHost, hostTerm } = joined;
        const host = isHost
            ? participant : joined.roster.find((/** @type {Participant} */ other) => other.isHost)?.id;
        const before = this.stay;
        /** @type {RoomMembership["kind"]} */
        const kind = !before ? "first" : joined.isResumed ? "resumed" : "rejoined";
        const membership = { participant, session, epoch, isHost, hostTerm, kind };
        /** @type {Stay} */
        const stay = {
            roster: new RoomRoster(), knownTerm: 0, attributes: { version: 0, values: {} },
            ...before, membership, sessionToken: joined.sessionToken, host,
            mayReplayUnsaid: joined.isResumed && joined.sent === undefined, serverVersion: joined.attributes.version,
        };
        this.stay = stay;
        const patience = Math.min(Math.max(joined.grace, 0), this.#configuration.recovery.budgets.absence);
        const isSomebodyNew = before !== undefined
            && (before.membership.session != session || before.membership.participant != participant);
        if (isSomebodyNew) stay.knownTerm = 0;
        stay.roster.joined(participant, patience, isSomebodyNew, actions);
        actions.push({ type: "joined", value: membership });
        if (before && hostTerm > stay.knownTerm && host !== undefined) {
            actions.push({ type: "hostChanged", value: host, term: hostTerm });
        }
        stay.knownTerm = Math.max(stay.knownTerm, hostTerm);
        this.#actOnICE(this.#ice.received(joined.iceServers, now), actions);
        stay.roster.reconcile(joined.roster, kind == "rejoined", now, actions);
        // A server that has lost its state knows less than we do.
        if (kind != "rejoined" || joined.attributes.version >= stay.attributes.version) {
            this.#adopt(joined.attributes, stay, actions);
        }
        this.#restoreAttributes(stay, actions);
        return this.#scheduleTimer(actions);
    }

    // MARK: Messages

    /**
     * Takes a message other than `joined` and `error`. `isReplayed`: the roster knew better already.
     * @param {Case} message
     * @param {boolean} isReplayed
     * @param {number} now
     * @param {Case[]} actions
     */
    received(message, isReplayed, now, actions = []) {
        const { stay } = this;
        if (!stay) return actions;
        const { type } = message;
        if (isReplayed && type != "signal" && type != "iceServers") return actions;
        switch (type) {
        case "peerJoined": case "peerChanged": {
            const participant = { ...message.value };
            const known = stay.roster.get(participant.id);
            if (stay.mayReplayUnsaid && known && !stay.roster.isMissed(participant.id)
                && known.session == participant.session && known.epoch > participant.epoch) {
                return actions;
            }
            if (stay.host !== undefined) participant.isHost = participant.id == stay.host;
            if (participant.isHost) stay.host = participant.id;
            stay.roster.admit(participant, actions);
            break;
        }
        case "peerLeft": {
            const { value0: id, value1: session, reason } = message;
            if (!stay.roster.left(id, session, reason, actions)) return actions;
            if (stay.host == id) stay.host = undefined;
            break;
        }
        case "hostChanged": this.#hostChanged(message.value, message.term, message.sessionToken, stay, actions); break;
        case "roomChanged":
            stay.serverVersion = message.value.version;
            if (message.value.version >= stay.attributes.version) this.#adopt(message.value, stay, actions);
            break;
        case "signal":
            if (stay.roster.get(message.value.peer)?.session != message.value.session) return actions;
            actions.push(message);
            break;
        case "iceServers": this.#actOnICE(this.#ice.received(message.value, now), actions); break;
        default: return actions;
        }
        return this.#scheduleTimer(actions);
    }

    /**
     * @param {string} id
     * @param {number} term
     * @param {string} sessionToken
     * @param {Stay} stay
     * @param {Case[]} actions
     */
    #hostChanged(id, term, sessionToken, stay, actions) {
        stay.sessionToken = sessionToken;
        if (term <= stay.membership.hostTerm) return;
        const isHost = id == stay.membership.participant;
        const isKnown = term <= stay.knownTerm && stay.membership.isHost == isHost && stay.roster.agreesThatHostIs(id);
        stay.knownTerm = Math.max(stay.knownTerm, term);
        stay.membership = { ...stay.membership, hostTerm: term, isHost };
        stay.host = id;
        stay.roster.hostChanged(id);
        if (!isKnown) actions.push({ type: "hostChanged", value: id, term });
        this.#restoreAttributes(stay, actions);
    }

    // MARK: The room's attributes

    /**
     * The application sets the attributes.
     * @param {Record<string, string>} values
     * @param {Case[]} actions
     */
    updateAttributes(values, actions = []) {
        const { stay } = this;
        if (!stay?.membership.isHost) {
            actions.push({ type: "updateRefused" });
        } else if (!equal(values, stay.attributes.values)) {
            this.#adopt({ version: stay.attributes.version + 1, values }, stay, actions);
            this.#restoreAttributes(stay, actions);
        }
        return actions;
    }

    /**
     * @param {RoomAttributes} attributes
     * @param {Stay} stay
     * @param {Case[]} actions
     */
    #adopt(attributes, stay, actions) {
        const changes = keysChanged(attributes.values, stay.attributes.values);
        stay.attributes = attributes;
        if (changes.length) actions.push({ type: "attributesChanged", value: attributes.values, changes });
    }

    /**
     * The host tells a server that does not know the newest attributes.
     * @param {Stay} stay
     * @param {Case[]} actions
     */
    #restoreAttributes(stay, actions) {
        if (!stay.membership.isHost || stay.serverVersion >= stay.attributes.version) return;
        stay.serverVersion = stay.attributes.version;
        actions.push({ type: "updateRoom", value: stay.attributes });
    }

    // MARK: Time

    /**
     * This machine has slept for so long: credentials have aged, and nobody is given up before there was time for news.
     * @param {number} sleep
     * @param {number} now
     * @param {Case[]} actions
     */
    woke(sleep, now, actions = []) {
        this.#ice.woke(sleep);
        this.stay?.roster.woke(now);
        return this.#scheduleTimer(actions);
    }

    /**
     * A participant says over its peer connection that it leaves permanently. That outweighs the server's roster.
     * @param {string} id
     * @param {Case[]} actions
     */
    peerLeaving(id, actions = []) {
        const { stay } = this;
        if (stay?.roster.leaving(id, actions) && stay.host == id) stay.host = undefined;
        return actions;
    }

    /**
     * @param {boolean} isConnected Signaling is. Without it, nobody is given up.
     * @param {boolean} isCatchingUp Recent messages of the server may still be unread, and a participant that would be
     *     given up may be back.
     * @param {(id: string) => boolean} isAlive Whether a participant's peer connection works. A participant that talks
     *     to us is not given up, whatever the server does not say.
     * @param {number} now
     * @param {Case[]} actions
     */
    timerFired(isConnected, isCatchingUp, isAlive, now, actions = []) {
        this.#actOnICE(this.#ice.timePassed(isConnected, now), actions);
        const { stay } = this;
        if (!stay || !isConnected) {
            // Nobody is given up meanwhile.
            const at = this.#ice.nextDeadline(false);
            if (at !== undefined) actions.push({ type: "scheduleTimer", at });
            return actions;
        }
        stay.roster.timerFired(isCatchingUp, isAlive, this.#configuration.recovery.timerTolerance, now, actions);
        return this.#scheduleTimer(actions);
    }

    /**
     * At once for what is overdue: `timerFired` knows what can be done now.
     * @param {Case[]} actions
     */
    #scheduleTimer(actions) {
        const at = earliest(this.#ice.nextDeadline(!!this.stay), ...this.stay?.roster.deadlines ?? []);
        if (at !== undefined) actions.push({ type: "scheduleTimer", at });
        return actions;
    }

    // MARK: ICE servers

    /**
     * The room is about to be reached.
     * @param {number} now
     * @param {Case[]} actions
     */
    attempted(now, actions = []) {
        return this.#actOnICE(this.#ice.attempted(now), actions);
    }

    /**
     * The application's provider has answered.
     * @param {import("./room.js").ICEServer[]} servers
     * @param {number | undefined} ttl
     * @param {number} now
     * @param {Case[]} actions
     */
    iceServersProvided(servers, ttl, now, actions = []) {
        this.#actOnICE(this.#ice.provided(servers, ttl, now), actions);
        return this.#scheduleTimer(actions);
    }

    /**
     * @param {import("./values.js").SignalingFailure} failure
     * @param {number} now
     * @param {Case[]} actions
     */
    iceServersFailed(failure, now, actions = []) {
        this.#actOnICE(this.#ice.providerFailed(failure, now), actions);
        return this.#scheduleTimer(actions);
    }

    /**
     * Turns the decisions of the ICE servers' machine into actions of this one.
     * @param {Case[]} decisions
     * @param {Case[]} actions
     */
    #actOnICE(decisions, actions) {
        for (const decision of decisions) actions.push({ ...decision, type: iceActions[decision.type] });
        return actions;
    }

    // MARK: Refusals

    /**
     * Decides about an error of the server. `isGreeting`: it answers the `hello`.
     * @param {import("./values.js").ProtocolError} error
     * @param {boolean} isGreeting
     * @param {number} now
     */
    judge(error, isGreeting, now) {
        return this.#refusals.judge(error, isGreeting, !this.stay, this.#configuration.waitsForRoom, now);
    }

    /**
     * There is no other credential. A server that lost its key cannot know the session token: one more attempt is made
     * without it. False: that was tried before.
     */
    forgetSession() {
        if (!this.stay || !this.#presentsSession) return false;
        this.#presentsSession = false;
        return true;
    }
}

/** @type {Record<string, string>} */
const iceActions = {
    changed: "iceServersChanged", refreshFromServer: "refreshICEServers", requestFromProvider: "requestICEServers",
    providerFailed: "iceServersFailed", unusable: "iceServersUnusable",
};
