//# allFunctionsCalledOnLoad
/** @typedef {import("./peer-types.js").PeerCandidate} PeerCandidate */

/**
 * Candidates of one connection that came before the description that they belong to (RFC 8838 §11). Beyond a limit
 * they are dropped.
 */
export class EarlyCandidates {
    /** @type {{ negotiation: number, candidate: PeerCandidate }[]} */
    #entries = [];
    #limit;

    /** @param {string} connection @param {number} limit */
    constructor(connection, limit) {
        this.connection = connection;
        this.#limit = limit;
    }

    /** @param {PeerCandidate} candidate @param {number} negotiation */
    add(candidate, negotiation) {
        if (this.#entries.length < this.#limit) this.#entries.push({ negotiation, candidate });
    }

    /**
     * Removes and returns the candidates of a round, in order. Those of earlier rounds are dropped.
     * @param {number} negotiation
     */
    take(negotiation) {
        const taken = this.#entries.filter((entry) => entry.negotiation === negotiation);
        this.drop(negotiation + 1);
        return taken.map((entry) => entry.candidate);
    }

    /**
     * Drops the candidates of the rounds before this one.
     * @param {number} negotiation
     */
    drop(negotiation) {
        this.#entries = this.#entries.filter((entry) => entry.negotiation >= negotiation);
    }
}
