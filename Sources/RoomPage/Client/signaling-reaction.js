//# allFunctionsCalledOnLoad
/**
 * Returns the reaction of signaling to a fact of a peer connection: both use the same network. `probe`: a peer falls
 * silent, and an open connection to the server is probed. `retry`: a peer is heard again after an outage, and where
 * there is no connection to the server, one is tried at once. `checkWhetherHeard`: a peer is heard that hears nothing,
 * so the server may not hear this side either.
 * @param {import("./values.js").Case} fact
 * @param {boolean} wasRecovering The peer's connection was broken before the fact.
 */
export function signalingReaction(fact, wasRecovering) {
    const news = fact.type == "state" ? fact.value : fact.type == "liveness" ? fact.value.type : fact.type;
    switch (news) {
    case "suspect": case "disconnected": return "probe";
    case "alive": case "connected": return wasRecovering ? "retry" : "none";
    case "unheard": return "checkWhetherHeard";
    default: return "none";
    }
}
