//# allFunctionsCalledOnLoad
// @ts-check
import { channelProtocol, deliveryCapability, exchangeCapability } from "./delivery-protocol.js";

/**
 * The protocols that both sides of a pair speak. Each includes the ones before it.
 * @typedef {"plain" | "delivery" | "exchange"} Level
 * @typedef {"reliable" | "unordered" | "lossy" | "bulk" | "topics"} Channel
 *   The channels of a room, each carried by a data channel of the peer connection.
 * @typedef {{ label: string, protocol: string, isOrdered: boolean,
 *   reliability: { type: "reliable" } | { type: "retransmissions", value: number }
 *     | { type: "lifetime", milliseconds: number } }} ChannelParameters
 */

/** @type {Channel[]} */
export const allChannels = ["reliable", "unordered", "lossy", "bulk", "topics"];
const first = allChannels.slice(0, 3);

/**
 * Makes something for each channel.
 * @template Value
 * @param {(channel: Channel) => Value} make
 * @returns {Record<Channel, Value>}
 */
export const forEachChannel = (make) =>
    /** @type {any} */ (Object.fromEntries(allChannels.map((channel) => [channel, make(channel)])));

/**
 * Returns the level of the pair with another participant.
 * @param {string[]} capabilities
 * @returns {Level}
 */
export const levelOf = (capabilities) => !capabilities.includes(deliveryCapability) ? "plain"
    : capabilities.includes(exchangeCapability) ? "exchange" : "delivery";

/**
 * Returns the channels between the two.
 * @param {Level} level
 */
export const channelsAt = (level) => (level == "exchange" ? allChannels : first);

/**
 * Returns whether the frames of a channel have numbers and are kept until they are acknowledged.
 * @param {Level} level
 * @param {Channel} channel
 */
export const isNumbered = (level, channel) => channel == "bulk" || (channel == "reliable" && level != "plain");

/**
 * Whether nothing is kept while there is no connection.
 * @param {Channel} channel
 */
export const keepsNothing = (channel) => channel == "lossy" || channel == "topics";

/**
 * @param {Channel} channel
 * @param {Level} level
 */
const labelOf = (channel, level) => `room.${channel == "reliable" && level == "plain" ? "plain" : channel}`;

/**
 * Returns the parameters of the data channel that carries a channel between two sides that speak `level`.
 * @param {Channel} channel
 * @param {Level} level
 * @returns {ChannelParameters}
 */
export const channelParameters = (channel, level) => ({
    label: labelOf(channel, level),
    protocol: isNumbered(level, channel) ? channelProtocol : "",
    isOrdered: channel == "reliable" || channel == "bulk",
    reliability: keepsNothing(channel) ? { type: "retransmissions", value: 0 } : { type: "reliable" },
});

/**
 * Returns the room's channel that a data channel carries; undefined when it carries none.
 * @param {ChannelParameters} parameters
 * @param {Level} level
 */
export function channelOf({ label, protocol, isOrdered, reliability }, level) {
    const channel = channelsAt(level).find((channel) => labelOf(channel, level) == label);
    const isFit = protocol == channelProtocol && isOrdered && reliability.type == "reliable";
    return channel && isNumbered(level, channel) && !isFit ? undefined : channel;
}

/**
 * Returns how many bytes may wait in a data channel: above `high` it takes no more, until no more than `low` are left,
 * which is its `bufferedAmountLowThreshold`.
 *
 * Those of bulk are few: in Chromium messages of other channels wait behind them, 25 ms at 256 KiB.
 * @param {string} label
 */
export const waterMarks = (label) =>
    label == "room.bulk" ? { high: 65_536, low: 32_768 } : { high: 1_048_576, low: 131_072 };
