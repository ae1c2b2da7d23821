//# allFunctionsCalledOnLoad
import { duration } from "./random.js";
import { RestartAttempts } from "./restart-attempts.js";
import { minus, plus } from "./time.js";

/** @typedef {import("./peer-types.js").Cause} Cause */
/** @typedef {import("./peer-types.js").Random} Random */
/** @typedef {import("./peer-types.js").RecoveryConfiguration} RecoveryConfiguration */
/** @typedef {import("./recovery-state.js").RecoveryState} RecoveryState */

/**
 * `rebuildInTurn`: a rebuild, later when the last one was only just made. `settle`: back to health, where the facts say
 * so.
 * @typedef {{ type: "restart" | "rebuild" | "rebuildInTurn", cause: Cause } | { type: "settle" }} Step
 * The actions that follow, in this order: ask for a sign of life, enter a state, take a step.
 * @typedef {{ probes?: boolean, state?: RecoveryState, step?: Step }} Response
 */

/** @type {Response} */
const nothing = {};
/** @param {Cause} cause @returns {Response} */
const restart = (cause) => ({ step: { type: "restart", cause } });
/** @param {Cause} cause @returns {Response} */
const rebuild = (cause) => ({ step: { type: "rebuild", cause } });
/** @param {Cause} cause @returns {Response} */
const rebuildInTurn = (cause) => ({ step: { type: "rebuildInTurn", cause } });
/** @param {number} deadline @param {Cause} cause @returns {RecoveryState} */
const watching = (deadline, cause) => ({ type: "watching", deadline, cause });
/** @param {number} since @param {number} deadline @returns {Response} */
const connecting = (since, deadline) => ({ state: { type: "connecting", since, deadline } });

/** Decides what a reason to act leads to in each state of a peer connection's recovery. Remembers nothing. */
export class RecoveryPolicy {
    #configuration;
    #isOfferer;

    /** @param {RecoveryConfiguration} configuration @param {boolean} isOfferer */
    constructor(configuration, isOfferer) {
        this.#configuration = configuration;
        this.#isOfferer = isOfferer;
    }

    /** How long a probe may go unanswered after a change of the network. */
    get #probeBudget() {
        const { probe, silence } = this.#configuration.budgets;
        return Math.min(probe, silence);
    }

    /**
     * The participant can be reached again over signaling: a step that waited for it is made. A healthy path is
     * probed: the event that interrupted signaling may have hit an idle path too.
     * @param {RecoveryState} state @param {number} now @returns {Response}
     */
    reachable(state, now) {
        if (state.type === "held") return state.rung === "rebuild" ? rebuild(state.cause) : restart(state.cause);
        if (state.type !== "healthy") return nothing;
        return { probes: true, state: watching(plus(now, this.#configuration.budgets.silence), "silence") };
    }

    /**
     * One of the two sides rejoined.
     * @param {Cause} cause @param {RecoveryState} state @param {number} now @param {Random} random
     * @returns {Response}
     */
    rejoined(cause, state, now, random) {
        const { rejoinPolicy, budgets } = this.#configuration;
        switch (state.type) {
            case "idle": case "delayed": return nothing;
            case "connecting": return this.#isOfferer ? rebuild(cause) : nothing;
            case "healthy": case "planned":
                if (rejoinPolicy !== "all" || !this.#isOfferer) return this.reachable(state, now);
                return { state: { type: "planned", deadline: plus(now, duration(random, budgets.spread)), cause } };
            case "watching": return rejoinPolicy !== "none" ? restart(cause) : nothing;
            case "restarting": case "held": return restart(cause);
        }
    }

    /**
     * The path is to be checked at once.
     * @param {Cause} cause @param {RecoveryState} state @param {number} now @returns {Response}
     */
    checkRequested(cause, state, now) {
        const { budgets, restartSpacing } = this.#configuration;
        const deadline = plus(now, this.#probeBudget);
        switch (state.type) {
            case "idle": case "delayed": case "held": return nothing;
            case "healthy": case "planned": return { probes: true, state: watching(deadline, cause) };
            case "watching":
                return { probes: true, state: watching(Math.min(state.deadline, deadline), state.cause) };
            case "restarting":
                // What is being gathered may be of the old network.
                state.attempts.bringForward(Math.max(now, plus(state.attempts.lastAt, restartSpacing)));
                return { state };
            case "connecting": return connecting(state.since, Math.min(state.deadline, plus(now, budgets.restart)));
        }
    }

    /**
     * The network of this machine has changed. `isPathLost`: the path leaves from an address that is gone. `isOther`:
     * there are other addresses than before.
     * @param {boolean} isPathLost @param {boolean} isOther @param {RecoveryState} state @param {number} now
     * @returns {Response}
     */
    networkChanged(isPathLost, isOther, state, now) {
        const cause = "networkChanged";
        switch (state.type) {
            case "healthy": case "planned": case "watching":
                if (isPathLost) return restart(cause);
                break;
            case "restarting": {
                // What is being gathered is of the old network.
                const earliest = plus(state.attempts.lastAt, this.#configuration.networkSpacing);
                state.attempts.bringForward(Math.max(now, earliest));
                return { state, ...(earliest <= now ? restart(cause) : nothing) };
            }
            case "connecting":
                // What it tries is of the old network: unless that comes to something at once, it begins anew.
                if (isOther) return connecting(state.since, Math.min(state.deadline, plus(now, this.#probeBudget)));
        }
        return this.checkRequested(cause, state, now);
    }

    /**
     * The other side, or the application, asks for a new path. `earliest`: when the next one may be begun.
     * @param {Cause} cause @param {number} earliest @param {RecoveryState} state @param {number} now
     * @returns {Response}
     */
    restartRequested(cause, earliest, state, now) {
        const isDue = earliest <= now;
        switch (state.type) {
            case "idle": case "delayed": case "held": return nothing;
            // The other side has found no path for what both have described.
            case "connecting": return cause === "requestedByPeer" && isDue ? restart(cause) : nothing;
            case "healthy": case "planned": case "watching":
                if (isDue) return restart(cause);
                if (state.type === "watching")
                    return { state: watching(Math.min(state.deadline, earliest), state.cause) };
                return { state: { type: "planned", deadline: earliest, cause } };
            case "restarting":
                state.attempts.bringForward(Math.max(now, earliest));
                return { state, ...(isDue ? restart(cause) : nothing) };
        }
    }

    /**
     * The answering side asks for a new connection. `hasNone`: it has none at all, or not yet.
     * @param {boolean} hasNone @param {RecoveryState} state @param {number} now @returns {Response}
     */
    rebuildRequested(hasNone, state, now) {
        switch (state.type) {
            case "idle": case "delayed": case "held": return nothing;
            case "connecting":
                // The offer may be on its way.
                if (hasNone && minus(now, state.since) < this.#configuration.budgets.connect / 2) return nothing;
        }
        return rebuildInTurn("requestedByPeer");
    }

    /**
     * Evidence of life is late. Returns the state to enter; undefined where nothing new is to be watched.
     * @param {number} since @param {RecoveryState} state @param {number} now @returns {RecoveryState | undefined}
     */
    suspected(since, state, now) {
        const deadline = Math.max(now, plus(since, this.#configuration.budgets.silence));
        switch (state.type) {
            case "healthy": case "planned": return watching(deadline, "silence");
            case "watching": return watching(Math.min(state.deadline, deadline), state.cause);
        }
    }

    /**
     * Both sides have described a round, which is not the one that is waited for.
     * @param {RecoveryState} state @param {number} now @returns {Response}
     */
    agreed(state, now) {
        const { connect, restart } = this.#configuration.budgets;
        if (this.#isOfferer) return nothing;
        if (state.type === "watching") {
            // The other side is ahead of us.
            const attempts = new RestartAttempts(state.cause, now);
            attempts.joined(this.#configuration, now);
            return { state: { type: "restarting", attempts } };
        }
        // The other side looks for a path anew, and will do so again.
        return state.type !== "connecting" ? nothing
            : connecting(state.since, Math.max(state.deadline, plus(now, connect + restart)));
    }

    /**
     * A round could not be begun. `isPathKept`: the path before it is what it was. `isAlive`: it carries data.
     * @param {boolean} isPathKept @param {boolean} isAlive @param {RecoveryState} state @returns {Response}
     */
    notPrepared(isPathKept, isAlive, state) {
        if (state.type === "idle") return nothing;
        // It goes on as if nothing had been tried.
        if (isPathKept && isAlive) return state.type === "restarting" ? { step: { type: "settle" } } : nothing;
        // Closing the old path is what gives something back.
        return !isPathKept || this.#isOfferer ? rebuildInTurn("connectionFailed") : nothing;
    }

    /**
     * The deadline of the state has come.
     * @param {import("./recovery-steps.js").RecoverySteps} evidence @param {RecoveryState} state @param {number} now
     * @returns {Response}
     */
    timeIsUp({ isAlive, needsNewConnection }, state, now) {
        switch (state.type) {
            case "idle": case "healthy": case "held": return nothing;
            case "connecting": return rebuildInTurn("connectTimeout");
            case "planned": return restart(state.cause);
            case "watching": return needsNewConnection ? rebuildInTurn(state.cause) : restart(state.cause);
            case "restarting": {
                const attempts = state.attempts;
                if (
                    attempts.isOptional && isAlive &&
                    (attempts.isAnswered || attempts.attempt >= this.#configuration.optionalAttempts)
                )
                    return { step: { type: "settle" } };
                const isOver = attempts.hasHadItsTime(this.#configuration, now);
                return isOver ? rebuild(attempts.cause) : restart(attempts.cause);
            }
            case "delayed": return rebuild(state.cause);
        }
    }

    /**
     * A timer came far too late, and facts may be waiting behind it. Undefined where nothing is about to be declared
     * dead.
     * @param {RecoveryState} state @param {number} now @returns {Response | undefined}
     */
    grace(state, now) {
        const deadline = plus(now, this.#probeBudget);
        switch (state.type) {
            case "connecting": return connecting(state.since, plus(now, this.#configuration.budgets.connect / 2));
            case "watching": return { probes: true, state: watching(deadline, state.cause) };
            case "restarting":
                state.attempts.deadline = deadline;
                return { probes: true, state };
        }
    }
}
