//# allFunctionsCalledOnLoad

/** @typedef {import("./peer-types.js").PeerFact} PeerFact */

/**
 * Returns the value of the first line of a description that begins so.
 * @param {string | undefined} sdp @param {string} name
 */
export const lineOf = (sdp, name) => sdp?.split(`\r\na=${name}:`)[1]?.split("\r\n")[0];

/** The candidates of the latest round of a browser's connection, of both sides. */
export class CandidateRound {
    /**
     * The generation of the local candidates.
     * @type {string | undefined}
     */
    fragment;
    /**
     * The generation whose candidates are complete.
     * @type {string | undefined}
     */
    #completed;
    /** @type {string[]} */
    local = [];
    /** @type {string[]} */
    remote = [];

    get isLocalComplete() { return this.#completed === this.fragment; }

    /**
     * This side has described a round.
     * @param {string} sdp
     */
    described(sdp) {
        this.fragment = lineOf(sdp, "ice-ufrag");
        this.local = [];
    }

    /**
     * Returns the fact that the browser tells; undefined: it is known.
     * @param {RTCIceCandidate | null} candidate
     * @returns {PeerFact | undefined}
     */
    found(candidate) {
        // Browsers tell the end of a generation by an empty candidate, by none, or by both.
        if (!candidate?.candidate) {
            const fragment = candidate?.usernameFragment ?? this.fragment;
            if (fragment === undefined || fragment === this.#completed) return undefined;
            this.#completed = fragment;
            return { type: "endOfLocalCandidates", usernameFragment: fragment };
        }
        const { candidate: text, sdpMid, sdpMLineIndex, usernameFragment } = candidate;
        this.local.push(text);
        return {
            type: "localCandidate",
            value: {
                text, mediaID: sdpMid ?? undefined, mediaLineIndex: sdpMLineIndex ?? undefined,
                usernameFragment: usernameFragment ?? / ufrag (\S+)/.exec(text)?.[1] ?? this.fragment,
            },
        };
    }

    /**
     * The other side has described a round.
     * @param {string} sdp
     */
    describedByPeer(sdp) {
        this.remote = sdp.split("\r\na=").filter((line) => line.startsWith("candidate:"));
    }

    /**
     * Returns a candidate of the other side as the browser takes it.
     * @param {import("./peer-types.js").PeerCandidate} candidate
     */
    foundByPeer({ text, mediaID, mediaLineIndex, usernameFragment }) {
        if (text && this.remote.length < 256) this.remote.push(text);
        return {
            candidate: text, usernameFragment,
            // One of them is required.
            sdpMid: mediaID, sdpMLineIndex: mediaLineIndex ?? (mediaID == null ? 0 : undefined),
        };
    }
}
