//# allFunctionsCalledOnLoad
// @ts-check

/** The limits of requests between two participants, in each direction. */
export const RequestLimits = {
    /** Requests without an answer yet; at the sender more wait. */
    outstanding: 64,
    /** Bytes of the bodies of all requests without an answer at their receiver. */
    bodyBytes: 8_388_608,
};

/**
 * @typedef {{ mustCancel: boolean, started?: number }} End The end of a wait for an answer. `mustCancel`: the other
 *   side is told, since it may have the request. `started`: a request that can go out now.
 */

/** @param {Map<number, { deadline?: number }>} requests @param {(request: any) => boolean} counts */
function earliest(requests, counts) {
    /** @type {number | undefined} */
    let least;
    for (const request of requests.values()) {
        const { deadline } = request;
        if (deadline != undefined && counts(request) && (least == undefined || deadline < least)) least = deadline;
    }
    return least;
}

/**
 * Returns the ids of some requests, the lowest first.
 * @param {Map<number, any>} requests
 * @param {(request: any, id: number) => boolean} isMeant
 */
function idsOf(requests, isMeant) {
    const ids = [];
    for (const [id, request] of requests) if (isMeant(request, id)) ids.push(id);
    return ids.sort((left, right) => left - right);
}

/**
 * Whether a request has had its time.
 * @param {{ deadline?: number }} request
 * @param {number} now
 */
const isLate = ({ deadline }, now) => deadline != undefined && deadline <= now;

/**
 * The requests that this side makes to one participant: which go out, which are answered, which have had their time.
 */
export class OutgoingRequests {
    /**
     * `waiting` (too many are outstanding) can transition to `sending` (the shell hands it to the channel), and that to
     * `sent` or `givenUp` (nobody waits for the answer, but the channel may have it). All can be removed.
     * @type {Map<number, { state: "waiting" | "sending" | "sent" | "givenUp", deadline?: number }>}
     */
    #requests = new Map();
    /** @type {number[]} */
    #waiting = [];
    #base;
    #last;
    #outstanding = 0;

    /** @param {number} [last] the ids that were used before */
    constructor(last = 0) {
        this.#base = this.#last = last;
    }

    /** The newest request; 0: none was made. */
    get newestID() {
        return this.#last > this.#base ? this.#last : 0;
    }

    /**
     * A request is made. `isStarted`: it can go out now; otherwise when `End` names it.
     * @param {number} [deadline]
     */
    begin(deadline) {
        const id = (this.#last += 1);
        const isStarted = this.#outstanding < RequestLimits.outstanding;
        this.#requests.set(id, { state: isStarted ? "sending" : "waiting", deadline });
        if (isStarted) this.#outstanding += 1;
        else this.#waiting.push(id);
        return { id, isStarted };
    }

    /**
     * Whether a request can go out now.
     * @param {number} id
     */
    isStarted(id) {
        return this.#requests.get(id)?.state == "sending";
    }

    /**
     * The channel has taken a request. Nobody waits for its answer any more: an end with `mustCancel`.
     * @param {number} id
     */
    sent(id) {
        const request = this.#requests.get(id);
        if (request?.state == "sending") request.state = "sent";
        else if (request?.state == "givenUp") return this.#remove(id, true);
        return undefined;
    }

    /**
     * The channel has not taken a request, and never will.
     * @param {number} id
     */
    refused(id) {
        return this.#remove(id, false);
    }

    /**
     * An answer or a failure has come. Undefined: nobody waits for it.
     * @param {number} id
     */
    answered(id) {
        const state = this.#requests.get(id)?.state;
        return state == "sending" || state == "sent" ? this.#remove(id, false) : undefined;
    }

    /**
     * Nobody waits for an answer any more. Undefined: it has come already.
     * @param {number} id
     * @returns {End | undefined}
     */
    giveUp(id) {
        const request = this.#requests.get(id);
        if (!request || request.state == "givenUp") return undefined;
        if (request.state != "sending") return this.#remove(id, request.state == "sent");
        // `sent` or `refused` follows.
        request.state = "givenUp";
        return { mustCancel: false };
    }

    /** @param {number} id @param {boolean} mustCancel @returns {End} */
    #remove(id, mustCancel) {
        const request = this.#requests.get(id);
        if (!request) return { mustCancel: false };
        this.#requests.delete(id);
        if (request.state == "waiting") {
            // Those that have waited longest give up first.
            this.#waiting.splice(this.#waiting.indexOf(id), 1);
            return { mustCancel: false };
        }
        const started = this.#waiting.shift();
        const next = this.#requests.get(started ?? 0);
        if (!next) {
            this.#outstanding -= 1;
            return { mustCancel };
        }
        next.state = "sending";
        return { mustCancel, started };
    }

    /**
     * The other side had given this one up, and answers no request up to `last`: each of those returned is refused.
     * @param {number} last
     */
    restartReceived(last) {
        return idsOf(this.#requests, (request, id) => id <= last && request.state != "waiting");
    }

    /** The time at which the next request is late. */
    get nextDeadline() {
        return earliest(this.#requests, (request) => request.state != "givenUp");
    }

    /**
     * Returns the requests that are late: each is to be given up.
     * @param {number} now
     */
    late(now) {
        return idsOf(this.#requests, (request) => request.state != "givenUp" && isLate(request, now));
    }

    /** The other side has gone: no answer comes any more. */
    close() {
        this.#requests.clear();
        this.#waiting = [];
        this.#outstanding = 0;
    }
}

/** The requests that one participant makes to this side: which run, and which are too many. */
export class IncomingRequests {
    /** @type {Map<number, { count: number, deadline?: number, isWanted: boolean }>} */
    #requests = new Map();
    #bodyBytes = 0;

    /** @param {number} [last] the ids that have come before, in the same sessions */
    constructor(last = 0) {
        /** The highest id that has come. */
        this.newestID = last;
    }

    /**
     * A request has come. Its body counts until `finished`. `busy`: refuse it, too many run. `duplicate`: ignore it.
     * @param {number} id
     * @param {number} count
     * @param {number} [deadline]
     * @returns {"run" | "busy" | "duplicate"}
     */
    received(id, count, deadline) {
        if (this.#requests.has(id)) return "duplicate";
        this.newestID = Math.max(this.newestID, id);
        if (this.#requests.size >= RequestLimits.outstanding
            || (this.#bodyBytes > 0 && this.#bodyBytes + count > RequestLimits.bodyBytes)) return "busy";
        this.#requests.set(id, { count, deadline, isWanted: true });
        this.#bodyBytes += count;
        return "run";
    }

    /**
     * The other side does not wait any more. True: cancel the handler.
     * @param {number} id
     */
    cancelled(id) {
        const request = this.#requests.get(id);
        if (!request?.isWanted) return false;
        request.isWanted = false;
        return true;
    }

    /**
     * The other side had given this one up, and waits for no request before `first`: each of those returned is
     * cancelled.
     * @param {number} first
     */
    restartReceived(first) {
        return idsOf(this.#requests, (request, id) => id < first && request.isWanted);
    }

    /**
     * Whether an answer is waited for.
     * @param {number} id
     */
    isWanted(id) {
        return this.#requests.get(id)?.isWanted ?? false;
    }

    /**
     * Whether its handler has not ended yet.
     * @param {number} id
     */
    isKnown(id) {
        return this.#requests.has(id);
    }

    /**
     * The handler has ended, and its answer was sent if it is wanted.
     * @param {number} id
     */
    finished(id) {
        const request = this.#requests.get(id);
        if (!request) return;
        this.#requests.delete(id);
        this.#bodyBytes -= request.count;
    }

    /** The time at which the next request is late. */
    get nextDeadline() {
        return earliest(this.#requests, (request) => request.isWanted);
    }

    /**
     * Returns the requests that are late: cancel their handlers. They are not named again.
     * @param {number} now
     */
    late(now) {
        const late = idsOf(this.#requests, (request) => request.isWanted && isLate(request, now));
        for (const id of late) this.cancelled(id);
        return late;
    }
}
