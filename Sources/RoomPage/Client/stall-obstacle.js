//# allFunctionsCalledOnLoad
import { peerFailure } from "./peer-failure.js";
import { minus } from "./time.js";

/** @typedef {import("./peer-types.js").PeerFailure} PeerFailure */
/** @typedef {import("./peer-types.js").PeerStall} PeerStall */

/**
 * Where the pair stands when the reason is looked for. `isSignalingUp`: the room server is reached. `isReachable`: the
 * participant is reached over it. `isIdle`: its turn to connect has not come. `isHeld`: the next step waits for
 * signaling.
 * @typedef {{ isSignalingUp: boolean, isReachable: boolean, isIdle: boolean, isHeld: boolean,
 *   progress: import("./negotiation-machine.js").NegotiationMachine["progress"] }} Situation
 */

/**
 * A connection, or an offer, that is younger has not had the time to show what it waits for: what was before it counts.
 */
const youth = 3;

/** @param {string} code @param {string} message @param {string} cure @returns {PeerStall} */
export const peerStall = (code, message, cure) => ({ code, message, cure });

const checkProgram = "check that its program runs, is not suspended, and can make peer connections";
const runDoctor = "run room doctor on both machines";

export const stalls = {
    notConnected: peerStall(
        "notConnected", "the connection is being made, and its transport does not say what it waits for", runDoctor),
    notAcknowledged: peerStall(
        "notAcknowledged",
        "data was sent, and the other side acknowledges none of it although its transport answers",
        "check that its program still reads its messages, and that it speaks the delivery protocol as it declares"),
};

const signalingDown = peerStall(
    "signalingDown", "the room server is not reached, so the two sides cannot agree on a connection",
    "see the signaling events for why; everything goes on when the server is back");
const participantAbsent = peerStall(
    "participantAbsent", "the other side has not come back to the room server since this side did",
    "check that its program runs and reaches the server; it is removed when its grace period is over");
const waitingForTurn = peerStall(
    "waitingForTurn", "other participants are being connected first, a few at a time",
    "wait; if it stays so, see why those others do not connect");
const noOffer = peerStall(
    "noOffer", "the other side, which opens the connection, has not offered one", checkProgram);
const noAnswer = peerStall("noAnswer", "the other side has not answered the offer of a connection", checkProgram);
const refusedByPeer = peerStall(
    "descriptionRefused", "the other side refuses this side's description",
    "see the other side's events for what it refuses; use versions that fit each other");

/**
 * Why a connection ended, or did not begin.
 * @param {PeerFailure} failure
 */
export const stallOfFailure = ({ description, code, isRefusal }) => {
    if (isRefusal)
        return peerStall(
            "descriptionRefused", `the other side's description is refused: ${description}`,
            "use a version or a library at the other side whose descriptions this side takes");
    switch (code) {
        case "resourceExhausted":
            return peerStall(
                code, description,
                "raise the limit that the message names (descriptors: ulimit -n; ports: the configured range)");
        case "invalidArgument":
            return peerStall(
                "invalidConfiguration", description, "correct the option or the server that the message names");
        default:
            return peerStall(
                "connectionFailed", `the connection ends each time: ${description}`, `see the message; ${runDoctor}`);
    }
};

/** The room's own reason why a pair is not connected; the transport has the others. */
export class StallObstacle {
    /**
     * Why the last connection ended, or a description was refused.
     * @type {PeerFailure | undefined}
     */
    failure;
    /** The other side has refused a description of ours. */
    isRefusedByPeer = false;
    /**
     * When the connection was made.
     * @type {number | undefined}
     */
    madeAt;
    /** @type {number | undefined} */
    describedAt;

    /**
     * The other side says something of the connection.
     * @param {import("./peer-types.js").SignalBody} body
     */
    received(body) {
        if (body.type === "rebuildRequest" && body.reason === "descriptionRefused") this.isRefusedByPeer = true;
    }

    /**
     * The transport tells something, which may be why a connection ends or does not begin.
     * @param {import("./peer-types.js").PeerFact} fact
     */
    told(fact) {
        switch (fact.type) {
            case "closed":
                this.failure = fact.value ?? peerFailure("the other side has closed it", "closed");
                break;
            case "descriptionRefused": case "notPrepared": case "gatheringFailed": this.failure = fact.value;
        }
    }

    /**
     * Undefined: the transport is to be asked.
     * @param {Situation} situation @param {number} now
     */
    reason({ isSignalingUp, isReachable, isIdle, isHeld, progress }, now) {
        const unreached = !isSignalingUp ? signalingDown : isReachable ? undefined : participantAbsent;
        if (isHeld && unreached) return unreached;
        if (isIdle) return unreached ?? waitingForTurn;
        const refused = this.isRefusedByPeer ? refusedByPeer : undefined;
        switch (progress) {
            case "none": case "ended":
                return unreached ?? (this.failure ? stallOfFailure(this.failure) : noOffer);
            case "describing": case "agreed": return this.#recentFailure(now);
            case "offered": return unreached ?? refused ?? this.#recentFailure(now) ?? noAnswer;
            case "reoffered":
                if (unreached) return unreached;
                if (this.describedAt === undefined || minus(now, this.describedAt) < youth) return undefined;
                return refused ?? noAnswer;
        }
    }

    /** @param {number} now */
    #recentFailure(now) {
        if (!this.failure || this.madeAt === undefined || minus(now, this.madeAt) >= youth) return undefined;
        return stallOfFailure(this.failure);
    }
}
