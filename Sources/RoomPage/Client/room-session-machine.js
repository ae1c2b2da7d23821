import { ICEServerMachine, earliest } from "./ice-server-machine.js";
import { Refusals } from "./refusals.js";
import { minus, plus } from "./time.js";
import { equal, keysChanged } from "./values.js";
/**
 * @typedef {import("./values.js").Case} Case
 * @typedef {import("./room.js").RoomParticipant} Participant
 * @typedef {import("./room.js").RoomMembership} RoomMembership
 * @typedef {{ version: number, values: Record<string, string> }} RoomAttributes
 *
 * @typedef {{
 *     participant: Participant, missedUntil?: number, hadGrace?: boolean, askedAt?: number,
 * }} Member `missedUntil`: when it is given up, if it does not come back. `hadGrace`: the time has once come far too
 *     late. `askedAt`: when its time was up, and the server was asked for the last news.
 *
 * @typedef {{
 *     membership: RoomMembership, sessionToken: string, patience: number, host?: string, mayReplayUnsaid: boolean,
 *     members: Map<string, Member>, endedSessions: string[], knownTerm: number, attributes: RoomAttributes,
 *     serverVersion: number,
 * }} Stay `patience`: how long missed participants are waited for. `host`: as the newest `joined` or `hostChanged` has
 *     it. `mayReplayUnsaid`: the server does not say what is older than the roster. `endedSessions`: the latest
 *     sessions that said over their peer connections that they end. `knownTerm`: of the latest host that was told; a
 *     server that has lost its state may for a while not know of it. `attributes`: the newest that are known.
 *     `serverVersion`: the highest version of the attributes that the server has sent.
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
    /** @param {import("./configuration.js").MachineConfiguration} configuration */
    constructor(configuration) {
        this.configuration = configuration;
        /**
         * Undefined before the first join.
         * @type {Stay | undefined}
         */
        this.stay = undefined;
        this.metadata = configuration.metadata;
        this.ice = new ICEServerMachine(configuration);
        /** False: the session token was not accepted, and the next join is as a new participant. */
        this.presentsSession = true;
        this.refusals = new Refusals();
    }

    get iceServers() { return this.ice.servers; }
    /** When the latest of them came. */
    get iceServersAt() { return this.ice.changedAt; }
    get membership() { return this.stay?.membership; }
    /** Everybody else, in the order of their ids. */
    get participants() { return this.sortedMembers.map(({ participant }) => participant); }
    /** The newest attributes of the room that are known. */
    get attributes() { return this.stay?.attributes.values ?? {}; }

    get sortedMembers() {
        return [...this.stay?.members.values() ?? []].sort((left, right) =>
            left.participant.id < right.participant.id ? -1 : 1);
    }

    /**
     * @param {string | undefined} token
     * @param {number} received
     * @param {boolean} mustRejoin
     * @param {number} attempt
     */
    hello(token, received, mustRejoin, attempt) {
        const { room, role, waitsForRoom, name, capabilities } = this.configuration;
        const resume = this.stay && this.presentsSession
            ? { sessionToken: this.stay.sessionToken, received, mustRejoin, attempt } : undefined;
        return {
            version: 1, minimumVersion: 1, room, role, waitsForRoom, name, metadata: this.metadata, token, resume,
            capabilities,
        };
    }

    /** @param {Record<string, string>} metadata */
    updateMetadata(metadata) { this.metadata = metadata; }

    // MARK: Joining

    /**
     * @param {any} joined
     * @param {number} now
     * @param {Case[]} actions
     */
    joined(joined, now, actions = []) {
        this.presentsSession = true;
        this.refusals.joined();
        const { participant, session, epoch, isHost, hostTerm } = joined;
        const host = isHost
            ? participant : joined.roster.find((/** @type {Participant} */ other) => other.isHost)?.id;
        const before = this.stay;
        /** @type {RoomMembership["kind"]} */
        const kind = !before ? "first" : joined.isResumed ? "resumed" : "rejoined";
        const membership = { participant, session, epoch, isHost, hostTerm, kind };
        /** @type {Stay} */
        const stay = {
            members: new Map(), endedSessions: [], knownTerm: 0, attributes: { version: 0, values: {} },
            ...before, membership, sessionToken: joined.sessionToken, host,
            mayReplayUnsaid: joined.isResumed && joined.sent === undefined, serverVersion: joined.attributes.version,
            patience: Math.min(Math.max(joined.grace, 0), this.configuration.recovery.budgets.absence),
        };
        this.stay = stay;
        if (before && (before.membership.session != session || before.membership.participant != participant)) {
            // Somebody new, to everybody else too.
            for (const member of this.sortedMembers) actions.push(peerLeft(member.participant));
            stay.members.clear();
            stay.knownTerm = 0;
        }
        actions.push({ type: "joined", value: membership });
        if (before && hostTerm > stay.knownTerm && host !== undefined) {
            actions.push({ type: "hostChanged", value: host, term: hostTerm });
        }
        stay.knownTerm = Math.max(stay.knownTerm, hostTerm);
        this.actOnICE(this.ice.received(joined.iceServers, now), actions);
        this.reconcile(joined.roster, stay, now, actions);
        // A server that has lost its state knows less than we do.
        if (kind != "rejoined" || joined.attributes.version >= stay.attributes.version) {
            this.adopt(joined.attributes, stay, actions);
        }
        this.restoreAttributes(stay, actions);
        return this.scheduleTimer(actions);
    }

    /**
     * @param {Participant[]} roster
     * @param {Stay} stay
     * @param {number} now
     * @param {Case[]} actions
     */
    reconcile(roster, stay, now, actions) {
        const present = new Map(roster.map((participant) => [participant.id, participant]));
        present.delete(stay.membership.participant);
        for (const member of this.sortedMembers) {
            const { id } = member.participant;
            if (present.has(id)) continue;
            const isMissed = member.missedUntil !== undefined;
            if (stay.membership.kind != "rejoined" && !isMissed) {
                stay.members.delete(id);
                actions.push(peerLeft(member.participant));
                continue;
            }
            // A server that lost its state knows only those who are back already. Who was missed before could perhaps
            // not come back while we could not.
            member.missedUntil = plus(now, stay.patience);
            if (!isMissed) actions.push({ type: "peerMissed", value: id });
        }
        for (const id of [...present.keys()].sort()) {
            this.admit(/** @type {Participant} */ (present.get(id)), stay, actions);
        }
    }

    /**
     * The participant is in the room.
     * @param {Participant} participant
     * @param {Stay} stay
     * @param {Case[]} actions
     */
    admit(participant, stay, actions) {
        const { id, session, name } = participant;
        if (id == stay.membership.participant || stay.endedSessions.includes(session)) return;
        const member = stay.members.get(id);
        if (member?.participant.session != session) {
            if (member) {
                stay.members.delete(id);
                actions.push(peerLeft(member.participant));
            }
            // Names are unique in a room: a missed participant cannot come back under one that is taken.
            for (const ghost of this.sortedMembers) {
                if (ghost.missedUntil === undefined || ghost.participant.name != name) continue;
                stay.members.delete(ghost.participant.id);
                actions.push(peerLeft(ghost.participant));
            }
            stay.members.set(id, { participant });
            actions.push({ type: "peerJoined", value: participant });
            return;
        }
        const former = member.participant;
        const hasRejoined = participant.epoch > former.epoch;
        stay.members.set(id, { participant });
        if (!equal(former, participant)) {
            actions.push({
                type: "peerChanged", value0: participant,
                value1: {
                    metadata: keysChanged(participant.metadata, former.metadata),
                    isHostRole: former.isHost != participant.isHost, hasRejoined,
                },
                hasRejoined: hasRejoined && member.missedUntil === undefined,
            });
        }
        if (member.missedUntil !== undefined) actions.push({ type: "peerReturned", value: participant });
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
            const known = stay.members.get(participant.id);
            if (stay.mayReplayUnsaid && known && known.missedUntil === undefined
                && known.participant.session == participant.session && known.participant.epoch > participant.epoch) {
                return actions;
            }
            if (stay.host !== undefined) participant.isHost = participant.id == stay.host;
            if (participant.isHost) stay.host = participant.id;
            this.admit(participant, stay, actions);
            break;
        }
        case "peerLeft": {
            const { value0: id, value1: session, reason } = message;
            const member = stay.members.get(id);
            if (member?.participant.session != session) return actions;
            stay.members.delete(id);
            if (stay.host == id) stay.host = undefined;
            actions.push(peerLeft(/** @type {Member} */ (member).participant, reason));
            break;
        }
        case "hostChanged": this.hostChanged(message.value, message.term, message.sessionToken, stay, actions); break;
        case "roomChanged":
            stay.serverVersion = message.value.version;
            if (message.value.version >= stay.attributes.version) this.adopt(message.value, stay, actions);
            break;
        case "signal":
            if (stay.members.get(message.value.peer)?.participant.session != message.value.session) return actions;
            actions.push(message);
            break;
        case "iceServers": this.actOnICE(this.ice.received(message.value, now), actions); break;
        default: return actions;
        }
        return this.scheduleTimer(actions);
    }

    /**
     * @param {string} id
     * @param {number} term
     * @param {string} sessionToken
     * @param {Stay} stay
     * @param {Case[]} actions
     */
    hostChanged(id, term, sessionToken, stay, actions) {
        stay.sessionToken = sessionToken;
        if (term <= stay.membership.hostTerm) return;
        const isHost = id == stay.membership.participant;
        const members = [...stay.members.values()];
        const isKnown = term <= stay.knownTerm && stay.membership.isHost == isHost
            && members.every(({ participant }) => participant.isHost == (participant.id == id));
        stay.knownTerm = Math.max(stay.knownTerm, term);
        stay.membership = { ...stay.membership, hostTerm: term, isHost };
        stay.host = id;
        for (const member of members) {
            member.participant = { ...member.participant, isHost: member.participant.id == id };
        }
        if (!isKnown) actions.push({ type: "hostChanged", value: id, term });
        this.restoreAttributes(stay, actions);
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
            this.adopt({ version: stay.attributes.version + 1, values }, stay, actions);
            this.restoreAttributes(stay, actions);
        }
        return actions;
    }

    /**
     * @param {RoomAttributes} attributes
     * @param {Stay} stay
     * @param {Case[]} actions
     */
    adopt(attributes, stay, actions) {
        const changes = keysChanged(attributes.values, stay.attributes.values);
        stay.attributes = attributes;
        if (changes.length) actions.push({ type: "attributesChanged", value: attributes.values, changes });
    }

    /**
     * The host tells a server that does not know the newest attributes.
     * @param {Stay} stay
     * @param {Case[]} actions
     */
    restoreAttributes(stay, actions) {
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
        this.ice.woke(sleep);
        for (const member of this.sortedMembers) {
            if (member.missedUntil !== undefined && this.stay) member.missedUntil = plus(now, this.stay.patience);
        }
        return this.scheduleTimer(actions);
    }

    /**
     * A participant says over its peer connection that it leaves permanently. That outweighs the server's roster.
     * @param {string} id
     * @param {Case[]} actions
     */
    peerLeaving(id, actions = []) {
        const { stay } = this;
        const member = stay?.members.get(id);
        if (!stay || !member) return actions;
        stay.members.delete(id);
        stay.endedSessions.push(member.participant.session);
        if (stay.endedSessions.length > 64) stay.endedSessions.shift();
        if (stay.host == id) stay.host = undefined;
        actions.push(peerLeft(member.participant));
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
        this.actOnICE(this.ice.timePassed(isConnected, now), actions);
        const { stay } = this;
        if (!stay || !isConnected) {
            // Nobody is given up meanwhile.
            const at = this.ice.nextDeadline(false);
            if (at !== undefined) actions.push({ type: "scheduleTimer", at });
            return actions;
        }
        let isAsking = false;
        for (const member of this.sortedMembers) {
            const until = member.missedUntil;
            const { id } = member.participant;
            if (until === undefined || until > now) continue;
            if (minus(now, until) > this.configuration.recovery.timerTolerance && !member.hadGrace) {
                // This page did not run, or its clock jumped: news may be waiting behind the timer.
                member.hadGrace = true;
                member.missedUntil = plus(now, stay.patience);
            } else if (isCatchingUp || isAlive(id)) {
                member.missedUntil = plus(now, 1);
            } else if (member.askedAt === undefined || minus(now, member.askedAt) >= 5) {
                // Its return may be news that has not come, over a connection that hears nothing any more.
                member.askedAt = now;
                member.missedUntil = plus(now, 1);
                if (!isAsking) actions.push({ type: "askServer" });
                isAsking = true;
            } else {
                stay.members.delete(id);
                actions.push(peerLeft(member.participant, "timedOut"));
            }
        }
        return this.scheduleTimer(actions);
    }

    /**
     * At once for what is overdue: `timerFired` knows what can be done now.
     * @param {Case[]} actions
     */
    scheduleTimer(actions) {
        const at = earliest(
            this.ice.nextDeadline(!!this.stay), ...this.sortedMembers.map((member) => member.missedUntil));
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
        return this.actOnICE(this.ice.attempted(now), actions);
    }

    /**
     * The application's provider has answered.
     * @param {import("./room.js").ICEServer[]} servers
     * @param {number | undefined} ttl
     * @param {number} now
     * @param {Case[]} actions
     */
    iceServersProvided(servers, ttl, now, actions = []) {
        this.actOnICE(this.ice.provided(servers, ttl, now), actions);
        return this.scheduleTimer(actions);
    }

    /**
     * @param {import("./values.js").SignalingFailure} failure
     * @param {number} now
     * @param {Case[]} actions
     */
    iceServersFailed(failure, now, actions = []) {
        this.actOnICE(this.ice.providerFailed(failure, now), actions);
        return this.scheduleTimer(actions);
    }

    /**
     * Turns the decisions of the ICE servers' machine into actions of this one.
     * @param {Case[]} decisions
     * @param {Case[]} actions
     */
    actOnICE(decisions, actions) {
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
        return this.refusals.judge(error, isGreeting, !this.stay, this.configuration.waitsForRoom, now);
    }

    /**
     * There is no other credential. A server that lost its key cannot know the session token: one more attempt is made
     * without it. False: that was tried before.
     */
    forgetSession() {
        if (!this.stay || !this.presentsSession) return false;
        this.presentsSession = false;
        return true;
    }
}

/** @type {Record<string, string>} */
const iceActions = {
    changed: "iceServersChanged", refreshFromServer: "refreshICEServers", requestFromProvider: "requestICEServers",
    providerFailed: "iceServersFailed", unusable: "iceServersUnusable",
};

/**
 * @param {Participant} value
 * @param {string} reason
 */
const peerLeft = (value, reason = "left") => ({ type: "peerLeft", value, reason });
