//# allFunctionsCalledOnLoad
import { minus, plus } from "./time.js";

/**
 * `probe`: send something that the other side's transport acknowledges. `sample`: look whether anything has arrived
 * since the last look; answered by `received` or `heardNothing`, unless the look is only the beginning of a comparison
 * (`isBaseline`).
 * @typedef {{ type: "probe" } | { type: "sample", isBaseline: boolean }
 *   | { type: "reportAlive" } | { type: "reportSuspect", since: number }} LivenessAction
 */

/** Silence after which the first look is taken, and the pause between looks and probes. */
const interval = 0.25;
/** The same after a probe that was asked for. */
const probeInterval = 0.12;
/** Silence after which the peer is suspect; acknowledgements may be held back for 0.2 s. At least three round trips. */
const suspectAfter = 0.75;
/** The time after the last evidence at which an idle peer is probed. */
const idleInterval = 2.5;
/** After this long without evidence probes become rarer, down to one in `quietLimit`. */
const quietAfter = 30;
const quietLimit = 5;
/** A timer that fires later than this shows that this page was suspended; timers of hidden pages are up to 1 s late. */
const tolerance = 1.5;
/** How often that is granted without evidence in between, so that a page that is always late still decides. */
const graceLimit = 3;
/** How long a new path is looked for after a round was agreed on. */
const examination = 5;

/**
 * Decides when to probe the other side of a browser's peer connection, and when to report its silence.
 *
 * A page hears nothing of single datagrams. Its evidence of life is a message on a channel, or a count of received
 * bytes that has grown between two looks. Silence counts only while something is outstanding: data or a probe that was
 * sent after the last evidence. It counts from the last evidence, or from the time when that was sent, whichever is
 * later.
 */
export class PathLiveness {
    #lastEvidence;
    /** The other side has been silent for too long. */
    isSuspect = false;
    /** When `timerFired` is due. */
    deadline;
    /**
     * Since when something has been outstanding.
     * @type {number | undefined}
     */
    #waitingSince;
    #lastSent = -Infinity;
    #lastProbe = -Infinity;
    /** When this page last noticed that it had been suspended. Silence before it does not count. */
    #resumedAt;
    #suspensions = 0;
    /** A probe was requested, whose answer is reported. */
    #isProbeRequested = false;
    #examinedUntil = -Infinity;

    /**
     * The connection came up, which is evidence.
     * @param {number} now
     */
    constructor(now) {
        this.#lastEvidence = this.#resumedAt = now;
        this.deadline = plus(now, idleInterval);
    }

    get #isOutstanding() {
        return Math.max(this.#lastSent, this.#lastProbe) > this.#lastEvidence;
    }

    get #silentSince() {
        return Math.max(this.#lastEvidence, this.#waitingSince ?? this.#lastEvidence, this.#resumedAt);
    }

    /**
     * Something has arrived.
     * @param {number} now
     * @returns {LivenessAction[]}
     */
    received(now) {
        this.#lastEvidence = now;
        this.#waitingSince = undefined;
        this.#suspensions = 0;
        if (!this.isSuspect && !this.#isProbeRequested) return [];
        this.isSuspect = this.#isProbeRequested = false;
        return [{ type: "reportAlive" }];
    }

    /**
     * Data was sent. The deadline may move.
     * @param {number} now
     */
    sent(now) {
        this.#lastSent = now;
        if (this.#waitingSince === undefined) this.#wait(now, interval);
    }

    /**
     * The next evidence is reported, with or without suspicion.
     * @param {number} now
     */
    probeRequested(now) {
        this.#isProbeRequested = true;
        return this.#probe(now, probeInterval);
    }

    /**
     * A round was agreed on: its path is looked for.
     * @param {number} now
     */
    examine(now) {
        this.#examinedUntil = plus(now, examination);
        this.#lookBy(plus(now, probeInterval));
    }

    /** The path of the latest round was found. */
    pathFound() {
        this.#examinedUntil = -Infinity;
    }

    /**
     * @param {number} now
     * @returns {LivenessAction[]}
     */
    timerFired(now) {
        const lateness = minus(now, this.deadline);
        this.deadline = Infinity;
        if (lateness > tolerance && this.#suspensions < graceLimit) {
            // What arrived meanwhile must still be read, and the other side is probed before its silence counts.
            this.#suspensions += 1;
            if (!this.isSuspect) this.#resumedAt = now;
            return this.#probe(now, interval);
        }
        const isExamining = now < this.#examinedUntil;
        if (!this.#isOutstanding && !isExamining) {
            this.#waitingSince = undefined;
            const idleUntil = plus(this.#lastEvidence, idleInterval);
            if (idleUntil <= now) return this.#probe(now, interval);
            this.deadline = idleUntil;
            return [];
        }
        this.deadline = plus(now, this.#isProbeRequested || isExamining ? probeInterval : interval);
        if (!isExamining && minus(now, this.#silentSince) < probeInterval) return [];
        return [{ type: "sample", isBaseline: false }];
    }

    /**
     * A look has shown that nothing has arrived since the last one.
     * @param {number | undefined} roundTrip
     * @param {number} now
     * @returns {LivenessAction[]}
     */
    heardNothing(roundTrip, now) {
        if (!this.#isOutstanding) return [];
        const silence = minus(now, this.#silentSince);
        /** @type {LivenessAction[]} */
        const actions = [];
        if (!this.isSuspect && silence >= Math.max(suspectAfter, (roundTrip ?? 0) * 3 + 0.2)) {
            this.isSuspect = true;
            actions.push({ type: "reportSuspect", since: this.#silentSince });
        }
        const pause = silence < quietAfter ? interval : Math.min(silence / quietAfter, quietLimit);
        if (minus(now, this.#lastProbe) >= pause) {
            this.#lastProbe = now;
            actions.push({ type: "probe" });
        }
        if (silence >= quietAfter) this.deadline = plus(now, pause);
        return actions;
    }

    /**
     * @param {number} now
     * @param {number} wait
     * @returns {LivenessAction[]}
     */
    #probe(now, wait) {
        this.#lastProbe = now;
        if (this.#waitingSince === undefined) this.#wait(now, wait);
        else this.#lookBy(plus(now, wait));
        return [{ type: "sample", isBaseline: true }, { type: "probe" }];
    }

    /**
     * @param {number} now
     * @param {number} wait
     */
    #wait(now, wait) {
        this.#waitingSince = now;
        this.#lookBy(plus(now, wait));
    }

    /** @param {number} time */
    #lookBy(time) {
        this.deadline = Math.min(this.deadline, time);
    }
}
