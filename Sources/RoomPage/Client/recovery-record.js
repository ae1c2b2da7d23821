//# allFunctionsCalledOnLoad
import { plus } from "./time.js";

/** @typedef {import("./peer-types.js").Cause} Cause */
/** @typedef {import("./peer-types.js").RecoveryRung} RecoveryRung */
/** @typedef {import("./peer-types.js").RoomIncident} RoomIncident */

/** The most steps that a record keeps, `firstData` excepted. */
const stepLimit = 64;
const rungs = ["wait", "restart", "rebuild"];

/** @param {string} kind @param {number} at @param {Cause} [cause] */
const makeStep = (kind, at, cause) => (cause ? { kind, at, cause } : { kind, at });

/**
 * The record of one peer's recoveries: the incident that is open, and the one that has ended and waits for its first
 * message.
 *
 * Can transition: none → open → waiting (recovered, and data is expected) or none → none (data, or too late).
 */
export class RecoveryRecord {
    #participant;
    #firstDataBudget;
    /** @type {RoomIncident | undefined} */
    #incident;
    /**
     * Has ended, and waits for its first message.
     * @type {RoomIncident | undefined}
     */
    #healed;
    /** The connection was broken, and nothing has come since. */
    #expectsData = false;
    /**
     * A sign of life was asked for before there was an incident.
     * @type {number | undefined}
     */
    #probedAt;

    /** @param {string} participant @param {number} firstDataBudget */
    constructor(participant, firstDataBudget) {
        this.#participant = participant;
        this.#firstDataBudget = firstDataBudget;
    }

    /** When the open incident began. */
    get startedAt() {
        return this.#incident?.startedAt;
    }

    /** When the incident that waits for its first message is reported without it. */
    get deadline() {
        return this.#healed && plus(this.#healed.endedAt, this.#firstDataBudget);
    }

    /**
     * Begins the record of an incident unless one is open, and notes how far it goes.
     * @param {Cause} cause @param {number} now @param {RecoveryRung} [rung]
     */
    open(cause, now, rung = "wait") {
        const incident = this.#incident;
        if (!incident) {
            // Where it began with a probe, that is when it began.
            const start = this.#probedAt ?? now;
            this.#incident = {
                participant: this.#participant, cause, startedAt: start, endedAt: now, rung, outcome: "recovered",
                steps: [makeStep("detected", start, cause)],
            };
            if (this.#probedAt !== undefined) this.note("probed", start);
        } else if (rungs.indexOf(rung) > rungs.indexOf(incident.rung ?? "")) incident.rung = rung;
    }

    /**
     * A sign of life is asked for.
     * @param {number} now
     */
    probed(now) {
        if (this.#incident) this.note("probed", now);
        else this.#probedAt = now;
    }

    /** @param {string} kind @param {number} now @param {Cause} [cause] */
    note(kind, now, cause) {
        const steps = this.#incident?.steps;
        if (steps && steps.length < stepLimit) steps.push(makeStep(kind, now, cause));
    }

    /** The connection is broken as far as the application can see. */
    broke() {
        this.#expectsData = true;
    }

    /**
     * A message has come. Returns the incident that has waited for it.
     * @param {number} now
     */
    dataArrived(now) {
        if (!this.#expectsData) return undefined;
        this.#expectsData = false;
        this.note("firstData", now);
        this.#healed?.steps.push(makeStep("firstData", now));
        return this.takeHealed();
    }

    /**
     * Returns the incident that has waited for its first message for long enough.
     * @param {number} now
     */
    timePassed(now) {
        const deadline = this.deadline;
        if (deadline === undefined || now < deadline) return undefined;
        this.#expectsData = this.#incident !== undefined;
        return this.takeHealed();
    }

    /**
     * Ends the open incident. Returns the incidents to report now, undefined where none was open. One that has ended
     * well while data is expected waits for its first message.
     * @param {RoomIncident["outcome"]} outcome @param {number} now
     */
    end(outcome, now) {
        this.#probedAt = undefined;
        if (outcome === "recovered") this.note("recovered", now);
        const ended = this.#incident;
        if (!ended) return undefined;
        this.#incident = undefined;
        ended.endedAt = now;
        ended.outcome = outcome;
        const healed = this.takeHealed();
        const earlier = healed ? [healed] : [];
        if (outcome !== "recovered" || !this.#expectsData) return [...earlier, ended];
        this.#healed = ended;
        return earlier;
    }

    /** Returns the incident that waits for its first message; it waits no longer. */
    takeHealed() {
        const healed = this.#healed;
        this.#healed = undefined;
        return healed;
    }
}
