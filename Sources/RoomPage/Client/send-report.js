//# allFunctionsCalledOnLoad
import { RoomError } from "./errors.js";
/**
 * @typedef {import("./room.js").MissedReason} MissedReason
 * @typedef {import("./room.js").SendReport} SendReport
 */

/**
 * @param {string[]} receivers
 * @param {{ participant: string, reason: MissedReason }[]} missed
 * @returns {SendReport}
 */
function sendReport(receivers, missed) {
    const left = new Set(missed.map(({ participant }) => participant));
    const accepted = receivers.filter((id) => !left.has(id));
    return { missed, accepted, acceptedCount: accepted.length, isComplete: !missed.length };
}

/** @param {string} participant */
export const peerNotFound = (participant) =>
    new RoomError("peer_not_found", `${participant} is not in the room (any more)`);

/**
 * @param {string} participant
 * @param {number} limit
 */
const tooLarge = (participant, limit) => new RoomError(
    "message_too_large", `a message is over the limit of ${limit} bytes towards ${participant}: split it`);

/**
 * Returns why a message was not accepted for a participant; undefined: it was.
 * @param {any} outcome
 * @param {boolean} isLossy
 * @returns {MissedReason | undefined}
 */
function missedReason(outcome, isLossy) {
    switch (outcome.type) {
    case "accepted": return undefined;
    case "gone": return { type: "left" };
    case "dropped": return { type: isLossy ? "dropped" : "unreachable" };
    default: return outcome;
    }
}

/**
 * Returns the report on a message, or throws the error of one that nobody has got.
 * @param {{ participant: string, outcome: any }[]} results
 * @param {boolean} isLossy
 * @param {string | undefined} to The one receiver.
 */
export function reportOn(results, isLossy, to) {
    const missed = results.flatMap(({ participant, outcome }) => {
        const reason = missedReason(outcome, isLossy);
        return reason ? [{ participant, reason }] : [];
    });
    const report = sendReport(results.map(({ participant }) => participant), missed);
    /** @param {MissedReason["type"]} type */
    const find = (type) => missed.find(({ reason }) => reason.type == type);
    /** @param {RoomError} error */
    const fail = (error) => {
        if (to === undefined) error.report = report;
        return error;
    };
    if (find("cancelled")) {
        throw fail(new RoomError("cancelled", "sending was cancelled while a buffer was full"));
    }
    if (to !== undefined && find("left")) throw peerNotFound(to);
    if (report.acceptedCount > 0) return report;
    for (const { participant, reason } of missed) {
        if (reason.type == "tooLarge") throw fail(tooLarge(participant, reason.limit));
        if (reason.type == "tooManyTopics") {
            throw fail(new RoomError("configuration", `it is one topic more than are possible with ${participant}`));
        }
        if (reason.type == "notSupported" && to !== undefined) throw notSupported(to);
    }
    return report;
}

/** @param {string} participant */
const notSupported = (participant) => new RoomError(
    "not_supported", `the program of ${participant} knows no topics, requests and streams: use messages`);
