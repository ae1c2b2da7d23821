//# allFunctionsCalledOnLoad
/** @typedef {import("./peer-types.js").PeerPath} PeerPath */

/** The statistics of a peer connection: which path it has, and whether anything has arrived since the last look. */
export class PathSamples {
    /**
     * The bytes that each pair of candidates had received at the last look.
     * @type {Map<string, number>}
     */
    #heard = new Map();
    /** @type {number | undefined} */
    roundTrip;

    /**
     * @param {Map<string, any>} report
     * @returns {{ hasHeard: boolean, path?: PeerPath }}
     */
    take(report) {
        const heard = new Map();
        /** @type {any} */
        let selected;
        let selectedID;
        report.forEach((stats) => {
            if (stats.type == "transport") selectedID = stats.selectedCandidatePairId;
            if (stats.type != "candidate-pair") return;
            heard.set(stats.id, (stats.bytesReceived ?? 0) + (stats.responsesReceived ?? 0));
            // Firefox before 153 has no statistics of transports.
            if (stats.selected ?? (stats.nominated && stats.state == "succeeded")) selected = stats;
        });
        selected = report.get(selectedID ?? "") ?? selected;
        const hasHeard = [...heard].some(([id, count]) => count > (this.#heard.get(id) ?? 0));
        this.#heard = heard;
        this.roundTrip = selected?.currentRoundTripTime ?? this.roundTrip;
        const local = report.get(selected?.localCandidateId);
        const remote = report.get(selected?.remoteCandidateId);
        if (!local || !remote) return { hasHeard };
        /** @param {any} candidate */
        const address = ({ address, ip, port }) => `${address || ip || "?"}:${port}`;
        const path = {
            local: local.candidateType, remote: remote.candidateType,
            summary: `${local.protocol} ${address(local)} → ${address(remote)}`,
            // Chromium before 108 does not tell the generation: a pair that has changed is taken for the latest.
            usernameFragment: local.usernameFragment,
        };
        return { hasHeard, path };
    }
}
