//# allFunctionsCalledOnLoad
// @ts-check
import { DeliveryProtocol, ExchangeProtocol } from "./delivery-protocol.js";

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
const all = ["reliable", "unordered", "lossy", "bulk", "topics"];
const first = all.slice(0, 3);

export const DeliveryLevel = {
    /**
     * Returns the level of the pair with another participant.
     * @param {readonly string[]} capabilities
     * @returns {Level}
     */
    of(capabilities) {
        if (!capabilities.includes(DeliveryProtocol.capability)) return "plain";
        return capabilities.includes(ExchangeProtocol.capability) ? "exchange" : "delivery";
    },

    /**
     * Returns the channels between the two.
     * @param {Level} level
     * @returns {Channel[]}
     */
    channels: (level) => (level == "exchange" ? all : first),

    /**
     * Returns whether the frames of a channel have numbers and are kept until they are acknowledged.
     * @param {Level} level
     * @param {Channel} channel
     */
    isNumbered: (level, channel) => channel == "bulk" || (channel == "reliable" && level != "plain"),
};

/** @type {Record<Channel, string>} */
const labels = {
    reliable: DeliveryProtocol.channelLabel,
    unordered: DeliveryProtocol.unorderedLabel,
    lossy: DeliveryProtocol.lossyLabel,
    bulk: DeliveryProtocol.bulkLabel,
    topics: DeliveryProtocol.topicsLabel,
};

export const DeliveryChannel = {
    allCases: all,

    /**
     * Whether nothing is kept while there is no connection.
     * @param {Channel} channel
     */
    isLossy: (channel) => channel == "lossy" || channel == "topics",

    /**
     * Returns the parameters of the data channel that carries a channel between two sides that speak `level`.
     * @param {Channel} channel
     * @param {Level} level
     * @returns {ChannelParameters}
     */
    parameters(channel, level) {
        const isLossy = DeliveryChannel.isLossy(channel);
        return {
            label: channel == "reliable" && level == "plain" ? DeliveryProtocol.plainLabel : labels[channel],
            protocol: DeliveryLevel.isNumbered(level, channel) ? DeliveryProtocol.channelProtocol : "",
            isOrdered: channel == "reliable" || channel == "bulk",
            reliability: isLossy ? { type: "retransmissions", value: 0 } : { type: "reliable" },
        };
    },

    /**
     * Returns the room's channel that a data channel carries; undefined when it carries none.
     * @param {ChannelParameters} parameters
     * @param {Level} level
     * @returns {Channel | undefined}
     */
    of(parameters, level) {
        const channel = DeliveryLevel.channels(level).find(
            (channel) => DeliveryChannel.parameters(channel, level).label == parameters.label);
        if (!channel || !DeliveryLevel.isNumbered(level, channel)) return channel;
        const isNumbered = parameters.protocol == DeliveryProtocol.channelProtocol && parameters.isOrdered
            && parameters.reliability.type == "reliable";
        return isNumbered ? channel : undefined;
    },
};

/**
 * Returns how many bytes may wait in a data channel: above `high` it takes no more, until no more than `low` are left,
 * which is its `bufferedAmountLowThreshold`.
 *
 * Those of bulk are few: in Chromium messages of other channels wait behind them, 25 ms at 256 KiB.
 * @param {string} label
 */
export const waterMarks = (label) =>
    label == DeliveryProtocol.bulkLabel ? { high: 65_536, low: 32_768 } : { high: 1_048_576, low: 131_072 };
