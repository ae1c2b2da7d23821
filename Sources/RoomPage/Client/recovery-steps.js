//# allFunctionsCalledOnLoad
import { RebuildPace } from "./rebuild-pace.js";
import { RecoveryRecord } from "./recovery-record.js";
import { deadlineOf, statusOf } from "./recovery-state.js";
import { RestartAttempts } from "./restart-attempts.js";
import { minus, plus } from "./time.js";
import { equal } from "./values.js";

/** @typedef {import("./peer-types.js").Cause} Cause */
/** @typedef {import("./peer-types.js").LadderAction} LadderAction */
/** @typedef {import("./peer-types.js").PeerStatus} PeerStatus */
/** @typedef {import("./peer-types.js").RoomIncident} RoomIncident */
/** @typedef {import("./recovery-state.js").RecoveryState} RecoveryState */

/** A path that goes silent within this time after a restart has brought it is a relapse. */
const relapseWindow = 1;
/** Relapses in a row after which only a new connection helps. One may be a path that was lost again. */
const relapseLimit = 2;

/** Takes the steps of a `RecoveryLadder`, and keeps what they change: the state, its record and the status. */
export class RecoverySteps {
    #configuration;
    #isOfferer;
    /** @type {RecoveryState} */
    state = { type: "idle" };
    /** The transport says that channels can carry data. */
    isUp = false;
    /** There are no signs of life where some were expected. */
    isSuspect = false;
    /** @type {import("./peer-types.js").PeerPath | undefined} */
    path;
    wasConnected = false;
    /** The participant can be reached by signaling. Without it steps are held. */
    isReachable = true;
    /** @type {number | undefined} */
    lastRestartAt;
    /** The timer of this state has been late once. */
    hadGrace = false;
    /** @type {PeerStatus} */
    status = { type: "waiting" };
    /** When a restart has brought the present path. */
    #foundAt = -Infinity;
    #isRelapse = false;
    #relapses = 0;
    // Of the present call.
    /** @type {LadderAction[]} */
    #actions = [];
    now = 0;

    /**
     * @param {import("./peer-types.js").RecoveryConfiguration} configuration @param {string} participant
     * @param {boolean} isOfferer
     */
    constructor(configuration, participant, isOfferer) {
        this.#configuration = configuration;
        this.#isOfferer = isOfferer;
        this.record = new RecoveryRecord(participant, configuration.firstDataBudget);
        this.pace = new RebuildPace(configuration);
    }

    /**
     * Restarts bring paths, and nothing comes over them: what was sent waits for a timer of the old association.
     */
    get needsNewConnection() { return this.#relapses >= relapseLimit; }

    /** The path carries data, as far as is known. */
    get isAlive() { return this.isUp && !this.isSuspect; }

    /**
     * Lets `body` decide, and returns what follows from it.
     * @param {number} now @param {(steps: this) => void} body
     */
    run(now, body) {
        this.now = now;
        body(this);
        return this.#actions.splice(0);
    }

    /** @param {LadderAction} action */
    #act(action) { this.#actions.push(action); }

    /**
     * Takes the steps that the policy has decided on.
     * @param {import("./recovery-policy.js").Response} response
     */
    perform({ probes, state, step }) {
        if (probes) this.probe();
        if (state) this.enter(state);
        switch (step?.type) {
            case "restart": return this.restart(step.cause);
            case "rebuild": return this.#rebuild(step.cause);
            case "rebuildInTurn": return this.rebuildInTurn(step.cause);
            case "settle": return this.settle();
        }
    }

    scheduleTimer() {
        const at = Math.min(this.record.deadline ?? Infinity, deadlineOf(this.state) ?? Infinity);
        if (at < Infinity) this.#act({ type: "scheduleTimer", at });
    }

    /** @param {import("./peer-types.js").RecoveryRung} rung @param {Cause} cause */
    #hold(rung, cause) {
        this.record.note("held", this.now, cause);
        this.enter({ type: "held", rung, cause });
    }

    /** @param {number} deadline @param {Cause} cause */
    delay(deadline, cause) { this.enter({ type: "delayed", deadline, cause }); }

    /** There is a new connection, or none. */
    reset() {
        this.isUp = this.isSuspect = this.#isRelapse = false;
        this.#foundAt = -Infinity;
        this.#relapses = 0;
    }

    /**
     * `since`: when the last sign of life came.
     * @param {number} since
     */
    suspected(since) {
        const isRelapse = minus(since, this.#foundAt) <= relapseWindow;
        if (this.#isRelapse && isRelapse) return;
        this.#isRelapse = isRelapse;
        this.#relapses = isRelapse ? this.#relapses + 1 : 0;
    }

    /** @param {number} duration */
    connect(duration) {
        const since = this.now;
        this.enter({ type: "connecting", since, deadline: plus(since, duration) });
    }

    /** @param {Cause} cause */
    restart(cause) {
        const { state, now } = this;
        this.record.open(cause, now, "restart");
        if (state.type === "held" && state.rung === "rebuild") return this.#rebuild(cause);
        if (!this.isReachable) return this.#hold("restart", cause);
        this.record.note("restartRequested", now, cause);
        const attempts = state.type === "restarting" ? state.attempts : new RestartAttempts(cause, now);
        if (state.type === "healthy" || state.type === "planned") attempts.isOptional = this.isAlive;
        const isSuperseding = attempts.attempt > 0 || cause === "rejoined" || cause === "peerRejoined";
        attempts.begin(this.#configuration, now);
        this.lastRestartAt = now;
        this.enter({ type: "restarting", attempts });
        this.#act({ type: "restart", isSuperseding, value: cause });
    }

    /**
     * Rebuilds now, or later when the last rebuild was only just made.
     * @param {Cause} cause
     */
    rebuildInTurn(cause) {
        const earliest = this.pace.earliest(this.now);
        this.record.open(cause, this.now, "rebuild");
        if (earliest !== undefined && earliest > this.now) this.delay(earliest, cause);
        else this.#rebuild(cause);
    }

    /** @param {Cause} cause */
    #rebuild(cause) {
        const now = this.now;
        this.record.open(cause, now, "rebuild");
        if (!this.isReachable) return this.#hold("rebuild", cause);
        this.record.note("rebuildRequested", now, cause);
        this.pace.rebuilt(now);
        if (this.#isOfferer) this.reset();
        this.connect(this.pace.connectTime);
        this.#act({ type: "rebuild", value: cause });
    }

    /** Back to health when the facts say so. */
    settle() {
        if (!this.isAlive || ["idle", "healthy", "planned"].includes(this.state.type))
            return this.updateStatus();
        if (this.state.type === "restarting") {
            this.#foundAt = this.now;
            this.#isRelapse = false;
        }
        this.wasConnected = true;
        this.pace.recovered(this.now);
        this.record.note("connected", this.now);
        this.enter({ type: "healthy" });
        this.finish("recovered");
    }

    /** @param {RecoveryState} state */
    enter(state) {
        this.state = state;
        this.hadGrace = false;
        this.scheduleTimer();
        this.updateStatus();
    }

    // Status and incident

    updateStatus() {
        const value = statusOf(this, this.pace.count, this.record.startedAt ?? 0);
        if (equal(value, this.status)) return;
        const wasBroken = this.status.type === "recovering";
        this.status = value;
        this.#act({ type: "changeStatus", value });
        if (value.type === "recovering" && !wasBroken) this.record.broke();
    }

    /** Asks for a sign of life. */
    probe() {
        this.#act({ type: "probe" });
        this.record.probed(this.now);
    }

    /** @param {RoomIncident | undefined} value */
    report(value) { if (value) this.#act({ type: "report", value }); }

    /** @param {RoomIncident["outcome"]} outcome */
    finish(outcome) {
        const ended = this.record.end(outcome, this.now);
        ended?.forEach((incident) => this.report(incident));
        if (ended && this.record.deadline !== undefined) this.scheduleTimer();
    }
}
