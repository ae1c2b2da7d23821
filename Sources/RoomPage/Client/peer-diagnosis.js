//# allFunctionsCalledOnLoad
import { peerStall } from "./stall-obstacle.js";

const configureServers = "configure a STUN or TURN server (room serve --stun-uri, --turn-uri)";
const checkNetwork = "check that the network of this machine lets UDP pass";

/**
 * The kinds of candidates in words: `2 host, 1 srflx`.
 * @param {string[]} candidates
 */
const tally = (candidates) => {
    /** @type {Map<string, number>} */
    const counts = new Map();
    for (const candidate of candidates) {
        const kind = candidate.split(" ")[7] ?? "unknown";
        counts.set(kind, (counts.get(kind) ?? 0) + 1);
    }
    return [...counts].map(([kind, count]) => `${count} ${kind}`).join(", ") || "none";
};

/**
 * Finds the layer that a connection waits for. Undefined: none is missing, or none that is known here.
 * @param {RTCPeerConnection | undefined} connection @param {import("./candidate-round.js").CandidateRound} round
 * @param {boolean} isRelayOnly @param {boolean} hasChannels @param {boolean} isReady
 */
export const diagnose = (connection, { local, remote, isLocalComplete }, isRelayOnly, hasChannels, isReady) => {
    const isAnswered = connection?.signalingState == "stable" && connection.remoteDescription != null;
    const hasPath = ["connected", "completed"].includes(connection?.iceConnectionState ?? "");
    const isEncrypted = connection?.sctp?.transport?.state == "connected" || hasChannels;
    if (!local.length && (isAnswered ? !hasPath : isLocalComplete)) {
        if (isRelayOnly)
            return peerStall(
                "noRelay", "only relayed candidates may be offered, and no TURN server has provided one",
                "check the address, credentials and ports of the TURN server: room doctor asks it");
        return isLocalComplete
            ? peerStall("noLocalCandidates", "this browser has found no candidate to offer", checkNetwork)
            : peerStall(
                "gathering", "this browser is still looking for candidates to offer",
                "check that the STUN and TURN servers answer: room doctor asks them");
    }
    if (!isAnswered) return undefined;
    if (!hasPath) {
        if (!remote.length)
            return peerStall(
                "noRemoteCandidates", "the other side has sent no candidate",
                "see the other side's events; run room doctor on its machine");
        return peerStall(
            "checksUnanswered",
            `no connectivity check is answered: this side offers ${tally(local)}; the other side ${tally(remote)}`,
            [...local, ...remote].some((candidate) => candidate.includes(" typ relay"))
                ? "let UDP pass between the machines and the TURN server" : configureServers);
    }
    if (!isEncrypted)
        return peerStall(
            "handshakeUnanswered", "a path was found, but the DTLS handshake over it is not answered",
            "check that nothing between the two machines filters UDP by content or size");
    if (!hasChannels)
        return peerStall(
            "channelsUnanswered", "the encryption is up, but no channel has opened over it",
            "check that the other side wants data channels, and that packets of 1280 bytes pass");
    if (isReady) return undefined;
    return peerStall(
        "channelNotOpen",
        "the connection is up, but the other side has not opened the channel for messages, or closes it",
        "check that its program opens the room's channels and leaves them open");
};
