//# allFunctionsCalledOnLoad
/**
 * The state after a change of this machine's network: the numeric addresses that packets can leave from now, absent
 * when not known, as in browsers; and the address that the open signaling connection leaves from.
 * @typedef {{ addresses?: string[], signalingAddress?: string }} NetworkChange
 */

/**
 * Whether what leaves from `address` goes nowhere any more.
 * @param {NetworkChange} change @param {string} [address]
 */
export const hasLost = ({ addresses }, address) =>
    addresses !== undefined && address !== undefined && !addresses.includes(address) &&
    !address.startsWith("127.") && address !== "::1";
