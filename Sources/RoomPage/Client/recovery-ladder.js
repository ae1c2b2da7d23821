//# allFunctionsCalledOnLoad
import { duration } from "./random.js";
import { RebuildPace } from "./rebuild-pace.js";
import { RecoveryPolicy } from "./recovery-policy.js";
import { RecoveryRecord } from "./recovery-record.js";
import { deadlineOf, statusOf } from "./recovery-state.js";
import { RestartAttempts } from "./restart-attempts.js";
import { minus, plus } from "./time.js";
import { equal } from "./values.js";

/** @typedef {import("./peer-types.js").Cause} Cause */
/** @typedef {import("./peer-types.js").PeerConnectionState} PeerConnectionState */
/** @typedef {import("./peer-types.js").PeerFailure} PeerFailure */
/** @typedef {import("./peer-types.js").PeerLiveness} PeerLiveness */
/** @typedef {import("./peer-types.js").PeerPath} PeerPath */
/** @typedef {import("./peer-types.js").PeerStatus} PeerStatus */
/** @typedef {import("./peer-types.js").Random} Random */
/** @typedef {import("./peer-types.js").RecoveryConfiguration} RecoveryConfiguration */
/** @typedef {import("./peer-types.js").RecoveryRung} RecoveryRung */
/** @typedef {import("./peer-types.js").RoomIncident} RoomIncident */
/** @typedef {import("./recovery-policy.js").Response} Response */
/** @typedef {import("./recovery-state.js").RecoveryState} RecoveryState */

/**
 * @typedef {{ type: "restart", isSuperseding: boolean, value: Cause } | { type: "rebuild", value: Cause }
 *   | { type: "probe" } | { type: "scheduleTimer", at: number } | { type: "changeStatus", value: PeerStatus }
 *   | { type: "report", value: RoomIncident }} LadderAction
 * `isSuperseding`: a round that is under way is not waited for.
 */

/**
 * Brings one peer connection back, rung by rung: wait while evidence is merely late, a new path, a new connection. It
 * gives up only when the participant leaves. While the participant cannot be reached by signaling, steps are held and
 * made at once when it can.
 */
export class RecoveryLadder {
    #configuration;
    #policy;
    #isOfferer;
    /** @type {RecoveryState} */
    #state = { type: "idle" };
    #record;
    #pace;
    /** The transport says that channels can carry data. */
    #isUp = false;
    #isSuspect = false;
    isReachable = true;
    /** @type {PeerPath | undefined} */
    #path;
    #wasConnected = false;
    /** @type {number | undefined} */
    #lastRestartAt;
    /** The timer of this state has been late once. */
    #hadGrace = false;
    /** @type {PeerStatus} */
    status = { type: "waiting" };
    /** @type {LadderAction[]} */
    #actions = [];

    /** @param {RecoveryConfiguration} configuration @param {string} participant @param {boolean} isOfferer */
    constructor(configuration, participant, isOfferer) {
        this.#configuration = configuration;
        this.#isOfferer = isOfferer;
        this.#policy = new RecoveryPolicy(configuration, isOfferer);
        this.#record = new RecoveryRecord(participant, configuration.firstDataBudget);
        this.#pace = new RebuildPace(configuration);
    }

    get isIdle() { return this.#state.type === "idle"; }

    /** The next step waits for signaling. */
    get isHeld() { return this.#state.type === "held"; }

    /** Its first connection is being made, and has not taken too long so far. */
    get isConnectingFirst() {
        return this.#state.type === "connecting" && !this.#pace.count && !this.#wasConnected;
    }

    get #isAlive() { return this.#isUp && !this.#isSuspect; }

    #taken() {
        const actions = this.#actions;
        this.#actions = [];
        return actions;
    }

    // Facts

    /**
     * The first connection is being made (offerer) or waited for.
     * @param {number} now
     */
    begin(now) {
        if (this.isIdle) this.#connect(now, this.#configuration.budgets.connect);
        return this.#taken();
    }

    /** @param {number} now @param {number} duration */
    #connect(now, duration) {
        this.#enter({ type: "connecting", since: now, deadline: plus(now, duration) });
    }

    /** @param {PeerConnectionState} state @param {number} now */
    stateChanged(state, now) {
        switch (state) {
            case "connected":
                this.#isUp = true;
                this.#isSuspect = false;
                this.#settle(now);
                break;
            case "disconnected":
                this.#isUp = false;
                // Also of a connection that was never up: its agent has tried everything that it knew.
                if (["connecting", "healthy", "planned", "watching"].includes(this.#state.type))
                    this.#restart("pathLost", now);
                else this.#updateStatus();
                break;
            default:
                if (!this.#isUp) break;
                this.#isUp = false;
                this.#suspect(now, now);
        }
        return this.#taken();
    }

    /**
     * Nothing can be sent, though the path works. The side that opened the channel opens it again; where that does not
     * come about, the connection is made anew.
     * @param {number} now
     */
    channelClosed(now) {
        if (!this.#isUp) return [];
        this.#isUp = false;
        if (["healthy", "planned", "watching"].includes(this.#state.type)) {
            this.#record.open("channelClosed", now, "rebuild");
            // One that is closed again and again is not made anew each time at once.
            const earliest = this.#pace.earliest(now) ?? now;
            this.#delay(Math.max(plus(now, this.#configuration.closedBudget), earliest), "channelClosed");
        } else this.#updateStatus();
        return this.#taken();
    }

    /** @param {PeerLiveness} liveness @param {number} now */
    livenessChanged(liveness, now) {
        this.#isSuspect = liveness.type === "suspect";
        if (liveness.type === "suspect") this.#suspect(liveness.since, now);
        // A rebuild that was decided is not cancelled by a sign of life of the connection that it replaces.
        else if (this.#state.type !== "delayed") this.#settle(now);
        return this.#taken();
    }

    /** @param {number} since @param {number} now */
    #suspect(since, now) {
        const watching = this.#policy.suspected(since, this.#state, now);
        if (!watching) return this.#updateStatus();
        this.#record.open("silence", now);
        this.#enter(watching);
    }

    /**
     * `isLatest`: of the latest round.
     * @param {PeerPath} path @param {boolean} isLatest @param {number} now
     */
    pathChanged(path, isLatest, now) {
        this.#path = path;
        if (isLatest) this.#record.note("nominated", now);
        const state = this.#state;
        if (isLatest && state.type === "restarting" && state.attempts.isAnswered) {
            state.attempts.hasPath = true;
            this.#settle(now);
        } else this.#updateStatus();
        return this.#taken();
    }

    /** @param {number} now */
    described(now) { this.#record.note("described", now); }

    /** @param {number} now */
    checked(now) { this.#record.note("checked", now); }

    /** @param {number} now */
    gathered(now) { this.#record.note("gathered", now); }

    /**
     * The first message since one was expected has come.
     * @param {number} now
     */
    dataArrived(now) {
        this.#report(this.#record.dataArrived(now));
        return this.#taken();
    }

    /**
     * Both sides have described the round.
     * @param {number} now
     */
    agreed(now) {
        const { budgets } = this.#configuration;
        const state = this.#state;
        this.#record.note("answered", now);
        if (state.type === "restarting") state.attempts.isAnswered = true;
        else if (state.type === "watching" && !this.#isOfferer) {
            // The other side is ahead of us.
            const attempts = new RestartAttempts(state.cause, now);
            attempts.joined(this.#configuration, now);
            this.#enter({ type: "restarting", attempts });
        } else if (state.type === "connecting" && !this.#isOfferer) {
            // The other side looks for a path anew, and will do so again.
            const later = plus(now, budgets.connect + budgets.restart);
            this.#enter({ type: "connecting", since: state.since, deadline: Math.max(state.deadline, later) });
        }
        return this.#taken();
    }

    /**
     * The other side has offered a new connection in place of the old one.
     * @param {number} now
     */
    replaced(now) {
        this.#isUp = this.#isSuspect = false;
        if (this.#wasConnected) this.#record.open("requestedByPeer", now, "rebuild");
        this.#connect(now, this.#configuration.budgets.connect);
        return this.#taken();
    }

    /** @param {PeerFailure | undefined} failure @param {number} now */
    closed(failure, now) {
        if (this.isIdle) return [];
        this.#isUp = this.#isSuspect = false;
        if (failure) this.#scheduleRebuild("connectionFailed", now);
        else {
            this.#record.open("connectionClosed", now);
            this.#delay(plus(now, this.#configuration.closedBudget), "connectionClosed");
        }
        return this.#taken();
    }

    /** @param {number} now */
    descriptionRefused(now) {
        if (!this.isIdle) this.#scheduleRebuild("descriptionRefused", now);
        return this.#taken();
    }

    /**
     * A round could not be begun: this machine is out of something. `isPathKept`: the path before it is what it was.
     * @param {boolean} isPathKept @param {number} now
     */
    notPrepared(isPathKept, now) {
        return this.#apply(this.#policy.notPrepared(isPathKept, this.#isAlive, this.#state), now);
    }

    /**
     * The participant can be reached over signaling, or no longer.
     * @param {boolean} isReachable @param {number} now
     */
    setReachable(isReachable, now) {
        this.isReachable = isReachable;
        if (!isReachable) return [];
        const state = this.#state;
        if (state.type !== "held") return this.#apply(this.#policy.reachable(state, now), now);
        if (state.rung === "restart") this.#restart(state.cause, now);
        else if (state.rung === "rebuild") this.#rebuild(state.cause, now);
        return this.#taken();
    }

    // Triggers

    /**
     * One of the two sides rejoined: both can be reached, and what was in flight between us is lost.
     * @param {Cause} cause @param {number} now @param {Random} random
     */
    rejoined(cause, now, random) {
        this.isReachable = true;
        return this.#apply(this.#policy.rejoined(cause, this.#state, now, random), now);
    }

    /**
     * This machine has slept. Its clock has stood still, so whatever was about to be judged by it knows nothing of the
     * other side's time: the path is probed, and has its time to answer.
     * @param {number} now
     */
    woke(now) {
        if (this.#state.type === "healthy" || this.#state.type === "planned") return this.checkPath("suspended", now);
        this.#grantGrace(now);
        return this.#taken();
    }

    /**
     * There is a reason to check the path at once: the network changed, or somebody asked.
     * @param {Cause} cause @param {number} now
     */
    checkPath(cause, now) { return this.#apply(this.#policy.checkRequested(cause, this.#state, now), now); }

    /**
     * The network of this machine has changed. `isPathLost`: the path leaves from an address that is gone. `isOther`:
     * there are other addresses than before.
     * @param {boolean} isPathLost @param {boolean} isOther @param {number} now
     */
    networkChanged(isPathLost, isOther, now) {
        if (isPathLost && this.#isUp) {
            // Nothing comes over it any more: the next sign of life, which the probe asks for, is one of a new path.
            this.#isSuspect = true;
            this.#probe(now);
        }
        const response = this.#policy.networkChanged(isPathLost, isOther, this.#state, now);
        this.#perform(response, now);
        this.#updateStatus();
        return this.#taken();
    }

    /**
     * The other side, or the application, asks for a new path.
     * @param {Cause} cause @param {number} now
     */
    restartRequested(cause, now) {
        const { restartSpacing } = this.#configuration;
        const earliest = this.#lastRestartAt === undefined ? now : plus(this.#lastRestartAt, restartSpacing);
        return this.#apply(this.#policy.restartRequested(cause, earliest, this.#state, now), now);
    }

    /**
     * The answering side asks for a new connection. `hasNone`: it has none at all, or not yet.
     * @param {boolean} hasNone @param {number} now
     */
    rebuildRequested(hasNone, now) {
        return this.#apply(this.#policy.rebuildRequested(hasNone, this.#state, now), now);
    }

    /** @param {Response} response @param {number} now */
    #apply(response, now) {
        this.#perform(response, now);
        return this.#taken();
    }

    /** @param {Response} response @param {number} now */
    #perform({ probes, state, step }, now) {
        if (probes) this.#probe(now);
        if (state) this.#enter(state);
        switch (step?.type) {
            case "restart": return this.#restart(step.cause, now);
            case "rebuild": return this.#rebuild(step.cause, now);
            case "rebuildInTurn": return this.#scheduleRebuild(step.cause, now);
            case "settle": return this.#settle(now);
        }
    }

    /** Whether `plan` would do anything. */
    get canPlan() { return this.#state.type === "healthy"; }

    /**
     * A restart of a path that works, soon after `earliest`.
     * @param {Cause} cause @param {number} earliest @param {Random} random
     */
    plan(cause, earliest, random) {
        if (!this.canPlan) return [];
        const deadline = plus(earliest, duration(random, this.#configuration.budgets.spread));
        this.#enter({ type: "planned", deadline, cause });
        return this.#taken();
    }

    /**
     * Cancels an action that was planned for this reason.
     * @param {Cause} cause
     */
    cancelPlan(cause) {
        if (this.#state.type === "planned" && this.#state.cause === cause) this.#enter({ type: "healthy" });
        return this.#taken();
    }

    // Time

    #scheduleTimer() {
        const at = Math.min(this.#record.deadline ?? Infinity, deadlineOf(this.#state) ?? Infinity);
        if (at < Infinity) this.#actions.push({ type: "scheduleTimer", at });
    }

    /** @param {number} now */
    timerFired(now) {
        this.#report(this.#record.timePassed(now));
        const deadline = deadlineOf(this.#state);
        if (deadline === undefined || now < deadline) this.#scheduleTimer();
        else if (
            minus(now, deadline) <= this.#configuration.timerTolerance || this.#hadGrace || !this.#grantGrace(now)
        )
            this.#perform(this.#policy.timeIsUp(this.#isAlive, this.#state, now), now);
        return this.#taken();
    }

    /**
     * The timer came far too late: this page slept or starved, and facts may be waiting behind it. Looks again before
     * anything is declared dead. False where nothing is.
     * @param {number} now
     */
    #grantGrace(now) {
        const response = this.#policy.grace(this.#state, now);
        if (!response) return false;
        this.#perform(response, now);
        return (this.#hadGrace = true);
    }

    // Steps

    /** @param {RecoveryRung} rung @param {Cause} cause @param {number} now */
    #hold(rung, cause, now) {
        this.#record.note("held", now, cause);
        this.#enter({ type: "held", rung, cause });
    }

    /** @param {number} deadline @param {Cause} cause */
    #delay(deadline, cause) { this.#enter({ type: "delayed", deadline, cause }); }

    /** @param {Cause} cause @param {number} now */
    #restart(cause, now) {
        const state = this.#state;
        this.#record.open(cause, now, "restart");
        if (state.type === "held" && state.rung === "rebuild") return this.#rebuild(cause, now);
        if (!this.isReachable) return this.#hold("restart", cause, now);
        this.#record.note("restartRequested", now, cause);
        const attempts = state.type === "restarting" ? state.attempts : new RestartAttempts(cause, now);
        if (state.type === "healthy" || state.type === "planned") attempts.isOptional = this.#isAlive;
        const isSuperseding = attempts.attempt > 0 || cause === "rejoined" || cause === "peerRejoined";
        attempts.begin(this.#configuration, now);
        this.#lastRestartAt = now;
        this.#enter({ type: "restarting", attempts });
        this.#actions.push({ type: "restart", isSuperseding, value: cause });
    }

    /**
     * Rebuilds now, or later when the last rebuild was only just made.
     * @param {Cause} cause @param {number} now
     */
    #scheduleRebuild(cause, now) {
        const earliest = this.#pace.earliest(now);
        this.#record.open(cause, now, "rebuild");
        if (earliest !== undefined && earliest > now) this.#delay(earliest, cause);
        else this.#rebuild(cause, now);
    }

    /** @param {Cause} cause @param {number} now */
    #rebuild(cause, now) {
        this.#record.open(cause, now, "rebuild");
        if (!this.isReachable) return this.#hold("rebuild", cause, now);
        this.#record.note("rebuildRequested", now, cause);
        this.#pace.rebuilt(now);
        if (this.#isOfferer) this.#isUp = this.#isSuspect = false;
        this.#connect(now, this.#pace.connectTime);
        this.#actions.push({ type: "rebuild", value: cause });
    }

    /**
     * Back to health when the facts say so.
     * @param {number} now
     */
    #settle(now) {
        if (!this.#isAlive || ["idle", "healthy", "planned"].includes(this.#state.type)) return this.#updateStatus();
        this.#wasConnected = true;
        this.#pace.recovered(now);
        this.#record.note("connected", now);
        this.#enter({ type: "healthy" });
        this.#finish("recovered", now);
    }

    /** @param {RecoveryState} state */
    #enter(state) {
        this.#state = state;
        this.#hadGrace = false;
        this.#scheduleTimer();
        this.#updateStatus();
    }

    // Status and incident

    #updateStatus() {
        const status = this.#currentStatus;
        if (equal(status, this.status)) return;
        const wasBroken = this.status.type === "recovering";
        this.status = status;
        this.#actions.push({ type: "changeStatus", value: status });
        if (status.type === "recovering" && !wasBroken) this.#record.broke();
    }

    /** @returns {PeerStatus} */
    get #currentStatus() {
        if (!this.isIdle && !this.#wasConnected) return { type: "connecting" };
        return statusOf(this.#state, this.#isAlive, this.#path, this.#pace.count, this.#record.startedAt ?? 0);
    }

    /**
     * Asks for a sign of life.
     * @param {number} now
     */
    #probe(now) {
        this.#actions.push({ type: "probe" });
        this.#record.probed(now);
    }

    /** @param {RoomIncident | undefined} incident */
    #report(incident) { if (incident) this.#actions.push({ type: "report", value: incident }); }

    /** @param {RoomIncident["outcome"]} outcome @param {number} now */
    #finish(outcome, now) {
        const ended = this.#record.end(outcome, now);
        ended?.forEach((incident) => this.#report(incident));
        if (ended && this.#record.deadline !== undefined) this.#scheduleTimer();
    }

    /**
     * The participant is gone, or this side is.
     * @param {number} now
     */
    end(now) {
        this.#finish("participantLeft", now);
        this.#report(this.#record.takeHealed());
        this.#state = { type: "idle" };
        return this.#taken();
    }
}
