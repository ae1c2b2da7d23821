//# allFunctionsCalledOnLoad
import { minus, plus } from "./time.js";
import { equal, keysChanged } from "./values.js";
/**
 * @typedef {import("./values.js").Case} Case
 * @typedef {import("./room.js").RoomParticipant} Participant
 *
 * @typedef {{
 *     participant: Participant, missedUntil?: number, hadGrace?: boolean, askedAt?: number,
 * }} Member `missedUntil`: when it is given up, if it does not come back. `hadGrace`: the time has once come far too
 *     late. `askedAt`: when its time was up, and the server was asked for the last news.
 */

const maximumEndedSessions = 64;

/**
 * The others in the room as far as this participant knows: those who are there, and those who are missed after a
 * rejoin.
 *
 * Methods add to `actions`: `peerJoined(value)`, `peerReturned(value)`, `peerMissed(value)`, `peerLeft(value, reason)`,
 * `peerChanged(value0, value1, hasRejoined)`, `askServer`.
 */
export class RoomRoster {
    /** @type {Map<string, Member>} */
    #members = new Map();
    /**
     * The latest sessions that said over their peer connections that they end. The server may not know it yet.
     * @type {string[]}
     */
    #endedSessions = [];
    #us = "";
    /** How long missed participants are waited for. */
    #patience = 0;

    get #sortedMembers() {
        return [...this.#members.values()].sort((left, right) =>
            left.participant.id < right.participant.id ? -1 : 1);
    }

    /** In the order of their ids. */
    get participants() { return this.#sortedMembers.map(({ participant }) => participant); }

    /** When something is to be decided about missed participants. */
    get deadlines() { return this.#sortedMembers.map((member) => member.missedUntil); }

    /** @param {string} id */
    get(id) { return this.#members.get(id)?.participant; }

    /** @param {string} id */
    isMissed(id) { return this.#members.get(id)?.missedUntil !== undefined; }

    /**
     * Whether these participants show `host` as the host, where it is one of them, and nobody else.
     * @param {string} host
     */
    agreesThatHostIs(host) {
        return this.participants.every(({ id, isHost }) => isHost == (id == host));
    }

    /** @param {string} host */
    hostChanged(host) {
        for (const member of this.#members.values()) {
            member.participant = { ...member.participant, isHost: member.participant.id == host };
        }
    }

    // MARK: Joining

    /**
     * The room is joined, or joined again. `isSomebodyNew`: as another participant, to everybody else too.
     * @param {string} us
     * @param {number} patience
     * @param {boolean} isSomebodyNew
     * @param {Case[]} actions
     */
    joined(us, patience, isSomebodyNew, actions) {
        this.#us = us;
        this.#patience = patience;
        if (!isSomebodyNew) return;
        for (const member of this.#sortedMembers) this.#remove(member, "left", actions);
    }

    /**
     * Compares with the server's roster. `isRejoin`: the server may have lost its state.
     * @param {Participant[]} roster
     * @param {boolean} isRejoin
     * @param {number} now
     * @param {Case[]} actions
     */
    reconcile(roster, isRejoin, now, actions) {
        const present = new Map(roster.map((participant) => [participant.id, participant]));
        present.delete(this.#us);
        for (const member of this.#sortedMembers) {
            const { id } = member.participant;
            if (present.has(id)) continue;
            const isMissed = member.missedUntil !== undefined;
            if (!isRejoin && !isMissed) {
                this.#remove(member, "left", actions);
                continue;
            }
            // A server that lost its state knows only those who are back already. Who was missed before could perhaps
            // not come back while we could not.
            member.missedUntil = plus(now, this.#patience);
            if (!isMissed) actions.push({ type: "peerMissed", value: id });
        }
        for (const id of [...present.keys()].sort()) {
            this.admit(/** @type {Participant} */ (present.get(id)), actions);
        }
    }

    /**
     * The participant is in the room.
     * @param {Participant} participant
     * @param {Case[]} actions
     */
    admit(participant, actions) {
        const { id, session, name } = participant;
        if (id == this.#us || this.#endedSessions.includes(session)) return;
        const member = this.#members.get(id);
        if (member?.participant.session != session) {
            if (member) this.#remove(member, "left", actions);
            // Names are unique in a room: a missed participant cannot come back under one that is taken.
            for (const ghost of this.#sortedMembers) {
                if (ghost.missedUntil === undefined || ghost.participant.name != name) continue;
                this.#remove(ghost, "left", actions);
            }
            this.#members.set(id, { participant });
            actions.push({ type: "peerJoined", value: participant });
            return;
        }
        const former = member.participant;
        const hasRejoined = participant.epoch > former.epoch;
        this.#members.set(id, { participant });
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

    // MARK: Leaving

    /**
     * The server says that the participant has left. False: it is not there.
     * @param {string} id
     * @param {string} session
     * @param {string} reason
     * @param {Case[]} actions
     */
    left(id, session, reason, actions) {
        const member = this.#members.get(id);
        if (member?.participant.session != session) return false;
        this.#remove(member, reason, actions);
        return true;
    }

    /**
     * A participant says over its peer connection that it leaves permanently. That outweighs the server's roster.
     * False: it is not there.
     * @param {string} id
     * @param {Case[]} actions
     */
    leaving(id, actions) {
        const member = this.#members.get(id);
        if (!member) return false;
        this.#endedSessions.push(member.participant.session);
        if (this.#endedSessions.length > maximumEndedSessions) this.#endedSessions.shift();
        this.#remove(member, "left", actions);
        return true;
    }

    /**
     * @param {Member} member
     * @param {string} reason
     * @param {Case[]} actions
     */
    #remove({ participant }, reason, actions) {
        this.#members.delete(participant.id);
        actions.push({ type: "peerLeft", value: participant, reason });
    }

    // MARK: Time

    /**
     * This machine has slept: nobody is given up before there was time for news.
     * @param {number} now
     */
    woke(now) {
        for (const member of this.#members.values()) {
            if (member.missedUntil !== undefined) member.missedUntil = plus(now, this.#patience);
        }
    }

    /**
     * Gives up the missed participants whose time is up. `tolerance`: how late a timer may be. The others: as of
     * `RoomSessionMachine.timerFired`.
     * @param {boolean} isCatchingUp
     * @param {(id: string) => boolean} isAlive
     * @param {number} tolerance
     * @param {number} now
     * @param {Case[]} actions
     */
    timerFired(isCatchingUp, isAlive, tolerance, now, actions) {
        let isAsking = false;
        for (const member of this.#sortedMembers) {
            const until = member.missedUntil;
            if (until === undefined || until > now) continue;
            if (minus(now, until) > tolerance && !member.hadGrace) {
                // This page did not run, or its clock jumped: news may be waiting behind the timer.
                member.hadGrace = true;
                member.missedUntil = plus(now, this.#patience);
            } else if (isCatchingUp || isAlive(member.participant.id)) {
                member.missedUntil = plus(now, 1);
            } else if (member.askedAt === undefined || minus(now, member.askedAt) >= 5) {
                // Its return may be news that has not come, over a connection that hears nothing any more.
                member.askedAt = now;
                member.missedUntil = plus(now, 1);
                if (!isAsking) actions.push({ type: "askServer" });
                isAsking = true;
            } else {
                this.#remove(member, "timedOut", actions);
            }
        }
    }
}
