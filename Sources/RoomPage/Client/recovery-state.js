//# allFunctionsCalledOnLoad
/** @typedef {import("./peer-types.js").Cause} Cause */
/** @typedef {import("./peer-types.js").PeerPath} PeerPath */
/** @typedef {import("./peer-types.js").PeerStatus} PeerStatus */
/** @typedef {import("./peer-types.js").RecoveryRung} RecoveryRung */
/** @typedef {import("./restart-attempts.js").RestartAttempts} RestartAttempts */

/**
 * Where the recovery of one peer connection stands.
 * - idle: nothing was begun. Can transition to: connecting.
 * - connecting: a connection is being made. Can transition to: healthy, restarting, connecting (rebuild), delayed,
 *   held.
 * - healthy: evidence of life is there. Can transition to: planned, watching, restarting, delayed, connecting, held.
 * - planned: as healthy, with a restart to come. Can transition to: healthy, watching, restarting, delayed, connecting,
 *   held.
 * - watching: evidence is late, or was asked for. Can transition to: healthy, restarting, delayed, connecting, held.
 * - restarting: a new path was asked for. Can transition to: healthy, restarting (again), connecting (rebuild),
 *   delayed, held.
 * - delayed: a rebuild waits, for its turn or for a channel that is opened again. Can transition to: connecting, held,
 *   healthy.
 * - held: the step waits for signaling. Can transition to: restarting, connecting, delayed, healthy.
 * @typedef {{ type: "idle" } | { type: "healthy" }
 *   | { type: "connecting", since: number, deadline: number }
 *   | { type: "planned", deadline: number, cause: Cause }
 *   | { type: "watching", deadline: number, cause: Cause }
 *   | { type: "restarting", attempts: RestartAttempts }
 *   | { type: "delayed", deadline: number, cause: Cause }
 *   | { type: "held", rung: RecoveryRung, cause: Cause }} RecoveryState
 */

/**
 * When the state has had its time.
 * @param {RecoveryState} state @returns {number | undefined}
 */
export const deadlineOf = (state) => {
    switch (state.type) {
        case "idle": case "healthy": case "held": return undefined;
        case "restarting": return state.attempts.deadline;
        default: return state.deadline;
    }
};

/**
 * The status of a connection. `isAlive`: its path carries data as far as is known.
 * @param {{ state: RecoveryState, isAlive: boolean, path: PeerPath | undefined, wasConnected: boolean }} steps
 * @param {number} rebuilds @param {number} since
 * @returns {PeerStatus}
 */
export const statusOf = ({ state, isAlive, path, wasConnected }, rebuilds, since) => {
    /** @param {RecoveryRung} value @param {number} attempt @returns {PeerStatus} */
    const recovering = (value, attempt) => ({ type: "recovering", value, attempt, since });
    if (state.type === "idle") return { type: "waiting" };
    if (!wasConnected) return { type: "connecting" };
    switch (state.type) {
        case "connecting": case "delayed": return recovering("rebuild", rebuilds);
        case "healthy": case "planned": isAlive = true;
    }
    if (isAlive) return path ? { type: "connected", value: path } : { type: "connected" };
    if (state.type === "restarting") return recovering("restart", state.attempts.attempt);
    return recovering(state.type === "held" ? state.rung : "wait", 1);
};
