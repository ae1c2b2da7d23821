//# allFunctionsCalledOnLoad
import { duration } from "./random.js";
import { RecoveryPolicy } from "./recovery-policy.js";
import { deadlineOf } from "./recovery-state.js";
import { RecoverySteps } from "./recovery-steps.js";
import { minus, plus } from "./time.js";

/** @typedef {import("./peer-types.js").Cause} Cause */
/** @typedef {import("./peer-types.js").Random} Random */
/** @typedef {import("./recovery-policy.js").Response} Response */

/**
 * Brings one peer connection back, rung by rung: wait while evidence is merely late, a new path, a new connection. It
 * gives up only when the participant leaves. While the participant cannot be reached by signaling, steps are held and
 * made at once when it can.
 */
export class RecoveryLadder {
    #configuration;
    #policy;
    #steps;
    #record;
    #pace;

    /**
     * @param {import("./peer-types.js").RecoveryConfiguration} configuration @param {string} participant
     * @param {boolean} isOfferer
     */
    constructor(configuration, participant, isOfferer) {
        this.#configuration = configuration;
        this.#policy = new RecoveryPolicy(configuration, isOfferer);
        this.#steps = new RecoverySteps(configuration, participant, isOfferer);
        ({ record: this.#record, pace: this.#pace } = this.#steps);
    }

    get status() { return this.#steps.status; }

    get isReachable() { return this.#steps.isReachable; }

    get #state() { return this.#steps.state; }

    get isIdle() { return this.#state.type === "idle"; }

    /** The next step waits for signaling. */
    get isHeld() { return this.#state.type === "held"; }

    /** Its first connection is being made, and has not taken too long so far. */
    get isConnectingFirst() {
        return this.#state.type === "connecting" && !this.#pace.count && !this.#steps.wasConnected;
    }

    // Facts

    /**
     * The first connection is being made (offerer) or waited for.
     * @param {number} now
     */
    begin(now) {
        return this.#steps.run(now, (steps) => {
            if (this.isIdle) steps.connect(this.#configuration.budgets.connect);
        });
    }

    /** @param {import("./peer-types.js").PeerConnectionState} state @param {number} now */
    stateChanged(state, now) {
        return this.#steps.run(now, (steps) => {
            const wasUp = steps.isUp;
            steps.isUp = state === "connected";
            if (steps.isUp) {
                steps.isSuspect = false;
                steps.settle();
            } else if (state !== "disconnected") {
                if (wasUp) this.#suspect(now);
            // Also of a connection that was never up: its agent has tried everything that it knew.
            } else if (["connecting", "healthy", "planned", "watching"].includes(this.#state.type))
                steps.restart("pathLost");
            else steps.updateStatus();
        });
    }

    /**
     * Nothing can be sent, though the path works. The side that opened the channel opens it again; where that does not
     * come about, the connection is made anew.
     * @param {number} now
     */
    channelClosed(now) {
        return this.#steps.run(now, (steps) => {
            if (!steps.isUp) return;
            steps.isUp = false;
            if (!["healthy", "planned", "watching"].includes(this.#state.type)) return steps.updateStatus();
            this.#record.open("channelClosed", now, "rebuild");
            // One that is closed again and again is not made anew each time at once.
            const earliest = this.#pace.earliest(now) ?? now;
            steps.delay(Math.max(plus(now, this.#configuration.closedBudget), earliest), "channelClosed");
        });
    }

    /** @param {import("./peer-types.js").PeerLiveness} liveness @param {number} now */
    livenessChanged(liveness, now) {
        return this.#steps.run(now, (steps) => {
            steps.isSuspect = liveness.type === "suspect";
            if (liveness.type === "suspect") {
                steps.suspected(liveness.since);
                this.#suspect(liveness.since);
            }
            // A rebuild that was decided is not cancelled by a sign of life of the connection that it replaces.
            else if (this.#state.type !== "delayed") steps.settle();
        });
    }

    /** @param {number} since */
    #suspect(since) {
        const watching = this.#policy.suspected(since, this.#state, this.#steps.now);
        if (!watching) return this.#steps.updateStatus();
        this.#record.open("silence", this.#steps.now);
        this.#steps.enter(watching);
    }

    /**
     * `isLatest`: of the latest round.
     * @param {import("./peer-types.js").PeerPath} path @param {boolean} isLatest @param {number} now
     */
    pathChanged(path, isLatest, now) {
        return this.#steps.run(now, (steps) => {
            steps.path = path;
            if (isLatest) this.#record.note("nominated", now);
            const { state } = steps;
            if (!isLatest || state.type !== "restarting" || !state.attempts.isAnswered) return steps.updateStatus();
            state.attempts.hasPath = true;
            steps.settle();
        });
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
    dataArrived(now) { return this.#steps.run(now, (steps) => steps.report(this.#record.dataArrived(now))); }

    /**
     * Both sides have described the round.
     * @param {number} now
     */
    agreed(now) {
        return this.#steps.run(now, (steps) => {
            this.#record.note("answered", now);
            if (this.#state.type === "restarting") this.#state.attempts.isAnswered = true;
            else steps.perform(this.#policy.agreed(this.#state, now));
        });
    }

    /**
     * The other side has offered a new connection in place of the old one.
     * @param {number} now
     */
    replaced(now) {
        return this.#steps.run(now, (steps) => {
            steps.reset();
            if (steps.wasConnected) this.#record.open("requestedByPeer", now, "rebuild");
            steps.connect(this.#configuration.budgets.connect);
        });
    }

    /** @param {import("./peer-types.js").PeerFailure | undefined} failure @param {number} now */
    closed(failure, now) {
        return this.#steps.run(now, (steps) => {
            if (this.isIdle) return;
            steps.reset();
            if (failure) return steps.rebuildInTurn("connectionFailed");
            this.#record.open("connectionClosed", now);
            steps.delay(plus(now, this.#configuration.closedBudget), "connectionClosed");
        });
    }

    /** @param {number} now */
    descriptionRefused(now) {
        return this.#steps.run(now, (steps) => { if (!this.isIdle) steps.rebuildInTurn("descriptionRefused"); });
    }

    /**
     * A round could not be begun: this machine is out of something. `isPathKept`: the path before it is what it was.
     * @param {boolean} isPathKept @param {number} now
     */
    notPrepared(isPathKept, now) {
        return this.#apply(this.#policy.notPrepared(isPathKept, this.#steps.isAlive, this.#state), now);
    }

    /**
     * The participant can be reached over signaling, or no longer.
     * @param {boolean} isReachable @param {number} now
     */
    setReachable(isReachable, now) {
        this.#steps.isReachable = isReachable;
        return isReachable ? this.#apply(this.#policy.reachable(this.#state, now), now) : [];
    }

    // Triggers

    /**
     * One of the two sides rejoined: both can be reached, and what was in flight between us is lost.
     * @param {Cause} cause @param {number} now @param {Random} random
     */
    rejoined(cause, now, random) {
        this.#steps.isReachable = true;
        return this.#apply(this.#policy.rejoined(cause, this.#state, now, random), now);
    }

    /**
     * This machine has slept. Its clock has stood still, so whatever was about to be judged by it knows nothing of the
     * other side's time: the path is probed, and has its time to answer.
     * @param {number} now
     */
    woke(now) {
        if (["healthy", "planned"].includes(this.#state.type)) return this.checkPath("suspended", now);
        return this.#steps.run(now, () => this.#grantGrace());
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
        return this.#steps.run(now, (steps) => {
            // Nothing comes over it any more: the next sign of life, which the probe asks for, is one of a new path.
            if (isPathLost && steps.isUp) {
                steps.isSuspect = true;
                steps.probe();
            }
            steps.perform(this.#policy.networkChanged(isPathLost, isOther, this.#state, now));
            steps.updateStatus();
        });
    }

    /**
     * The other side, or the application, asks for a new path.
     * @param {Cause} cause @param {number} now
     */
    restartRequested(cause, now) {
        const { restartSpacing } = this.#configuration;
        const { lastRestartAt } = this.#steps;
        const earliest = lastRestartAt === undefined ? now : plus(lastRestartAt, restartSpacing);
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
    #apply(response, now) { return this.#steps.run(now, (steps) => steps.perform(response)); }

    /** Whether `plan` would do anything. */
    get canPlan() { return this.#state.type === "healthy"; }

    /**
     * A restart of a path that works, soon after `earliest`.
     * @param {Cause} cause @param {number} earliest @param {Random} random
     */
    plan(cause, earliest, random) {
        if (!this.canPlan) return [];
        const deadline = plus(earliest, duration(random, this.#configuration.budgets.spread));
        return this.#apply({ state: { type: "planned", deadline, cause } }, this.#steps.now);
    }

    /**
     * Cancels an action that was planned for this reason.
     * @param {Cause} cause
     */
    cancelPlan(cause) {
        const isPlanned = this.#state.type === "planned" && this.#state.cause === cause;
        return this.#apply(isPlanned ? { state: { type: "healthy" } } : {}, this.#steps.now);
    }

    // Time

    /** @param {number} now */
    timerFired(now) {
        return this.#steps.run(now, (steps) => {
            steps.report(this.#record.timePassed(now));
            const deadline = deadlineOf(this.#state);
            if (deadline === undefined || now < deadline) return steps.scheduleTimer();
            const isLate = minus(now, deadline) > this.#configuration.timerTolerance && !steps.hadGrace;
            if (isLate && this.#grantGrace()) return;
            steps.perform(this.#policy.timeIsUp(steps, this.#state, now));
        });
    }

    /**
     * The timer came far too late: this page slept or starved, and facts may be waiting behind it. Looks again before
     * anything is declared dead. False where nothing is.
     */
    #grantGrace() {
        const response = this.#policy.grace(this.#state, this.#steps.now);
        if (!response) return false;
        this.#steps.perform(response);
        return (this.#steps.hadGrace = true);
    }

    // The end

    /**
     * The participant is gone, or this side is.
     * @param {number} now
     */
    end(now) {
        return this.#steps.run(now, (steps) => {
            steps.finish("participantLeft");
            steps.report(this.#record.takeHealed());
            steps.state = { type: "idle" };
        });
    }
}
