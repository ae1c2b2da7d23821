//# allFunctionsCalledOnLoad
import { minus, plus } from "./time.js";

/** @typedef {import("./peer-types.js").RecoveryConfiguration} RecoveryConfiguration */

/** Restarts of one path, one behind the other, until it is up. */
export class RestartAttempts {
    attempt = 0;
    isAnswered = false;
    /**
     * The path worked when the restart was begun, and nothing was asked of it: it goes on where no better one is
     * found.
     */
    isOptional = false;
    /** A fresh path was found: what is silent now is the connection over it. */
    hasPath = false;

    /**
     * Before the first attempt.
     * @param {string} cause @param {number} now
     */
    constructor(cause, now) {
        this.cause = cause;
        this.deadline = this.startedAt = this.lastAt = now;
    }

    /**
     * Only a path that carries nothing speaks for a new connection. Where none is found, a new connection would find
     * none either, and the old one goes on at once when its path is back.
     */
    get #isWorthRebuilding() {
        return this.isAnswered && this.hasPath;
    }

    /**
     * The other side has begun a round, which is the first attempt.
     * @param {RecoveryConfiguration} configuration @param {number} now
     */
    joined({ budgets }, now) {
        this.attempt = 1;
        this.isAnswered = true;
        this.deadline = plus(now, budgets.restart);
    }

    /**
     * Another attempt. Each one has more time than the one before.
     * @param {RecoveryConfiguration} configuration @param {number} now
     */
    begin({ budgets, restartBackoff, restartMaximum }, now) {
        const wait = budgets.restart + restartBackoff * this.attempt;
        this.attempt += 1;
        this.lastAt = now;
        this.deadline = plus(now, Math.min(wait, restartMaximum));
        if (!this.#isWorthRebuilding) return;
        // Not beyond the time of the next rung.
        this.bringForward(Math.max(plus(this.startedAt, budgets.rebuild), plus(now, budgets.restart)));
    }

    /**
     * The next attempt is made at `time` at the latest.
     * @param {number} time
     */
    bringForward(time) {
        this.deadline = Math.min(this.deadline, time);
    }

    /**
     * Whether the next rung has its turn.
     * @param {RecoveryConfiguration} configuration @param {number} now
     */
    hasHadItsTime({ budgets }, now) {
        return minus(now, this.startedAt) >= (this.#isWorthRebuilding ? budgets.rebuild : budgets.rebuildWithoutPath);
    }
}
