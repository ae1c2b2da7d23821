//# allFunctionsCalledOnLoad
import { minus } from "./time.js";
import { refusalFailure } from "./values.js";
/** @typedef {import("./values.js").Case} Case */

/**
 * Decides about the errors that the server answers with. Verdicts: `tryAgain`, `rejoin`, `refreshCredential`,
 * `end(value)`, `report` (nothing ends by it).
 */
export class Refusals {
    /** @type {number | undefined} */
    #lastReplaced;
    #wasStale = false;

    /** The server has let this participant in. */
    joined() { this.#wasStale = false; }

    /**
     * @param {import("./values.js").ProtocolError} error
     * @param {boolean} isGreeting It answers a `hello`.
     * @param {boolean} isFirstJoin This participant has never been in the room.
     * @param {boolean} waitsForRoom It waits for a room that does not exist yet.
     * @param {number} now
     * @returns {Case}
     */
    judge(error, isGreeting, isFirstJoin, waitsForRoom, now) {
        const { code, message } = error;
        if (!error.isFatal && !isGreeting) return { type: "report" };
        /** @type {Case} */
        const tryAgain = { type: "tryAgain" };
        /** @param {Case} value */
        const end = (value) => ({ type: "end", value });
        const refused = end({ type: "refused", value: refusalFailure(error) });
        switch (code) {
        case "kicked": return end({ type: "kicked", message });
        case "room_closed": return end({ type: "roomClosed", message });
        case "version_mismatch": return refused;
        case "unauthorized": case "token_expired": return { type: "refreshCredential" };
        case "room_not_found": case "name_taken": case "room_exists": case "room_full":
            // Some servers do not let clients wait.
            return isFirstJoin && !(waitsForRoom && code == "room_not_found") ? refused : tryAgain;
        case "replaced":
            // Another participant has the name now; this one does not come back to fight for it.
            if (error.replacedBy == "participant") return refused;
            // An attempt that was given up may reach the server late and win: this participant comes back once, and
            // does not compete with another program that has its session.
            if (this.#lastReplaced !== undefined && minus(now, this.#lastReplaced) < 30) {
                return end({ type: "replaced" });
            }
            this.#lastReplaced = now;
            return tryAgain;
        case "stale_epoch":
            if (this.#wasStale) return end({ type: "staleEpoch", message });
            this.#wasStale = true;
            return { type: "rejoin" };
        default:
            if (error.isRetryable) return tryAgain;
            // In the room, the server could not take a message; that is no reason to stay outside.
            return isGreeting ? refused : { type: "rejoin" };
        }
    }
}
