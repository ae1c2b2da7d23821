//# allFunctionsCalledOnLoad
/** @typedef {import("./peer-types.js").PeerFailure} PeerFailure */

/**
 * Why a peer connection ended or refused something: one sentence, never a secret, and the transport's code for it.
 * `isRefusal`: it is the other side's description that was refused.
 * @param {string} description @param {string} [code] @param {boolean} [isRefusal] @returns {PeerFailure}
 */
export const peerFailure = (description, code, isRefusal = false) => ({ description, code, isRefusal });

/**
 * The failure behind an exception of the browser.
 * @param {any} error @param {boolean} [isRemote] it is about the other side's description
 */
export const failureOf = (error, isRemote = false) => {
    const isLate = error?.name == "InvalidStateError";
    const code = isLate ? "invalidState" : isRemote ? "protocolViolation" : "invalidArgument";
    return peerFailure(String(error?.message ?? error), code, isRemote && !isLate);
};
