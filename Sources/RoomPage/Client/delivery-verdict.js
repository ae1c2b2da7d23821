//# allFunctionsCalledOnLoad
// @ts-check
import { dataHeaderLength } from "./delivery-protocol.js";

/** @typedef {import("./delivery-types.js").Verdict} Verdict */

/** @type {Record<"absorbed" | "resumed" | "ignored" | "violation", Verdict>} */
export const verdicts = {
    absorbed: { type: "absorbed" }, resumed: { type: "resumed" }, ignored: { type: "ignored" },
    violation: { type: "violation" },
};

/**
 * Returns the use of what has arrived on a numbered channel.
 * @param {import("./numbered-stream.js").Arrival} arrival @param {import("./numbered-stream.js").NumberedStream} stream
 * @param {import("./delivery-channel.js").Channel} channel
 * @returns {Verdict}
 */
export const verdictOf = (arrival, stream, channel) => {
    switch (arrival.type) {
        case "whole":
            if (arrival.value == "exchange") return { type: "exchange", value: channel, offset: dataHeaderLength };
            if (channel != "reliable") return verdicts.absorbed;
            return { type: "deliver", value: channel, isText: arrival.value == "text", offset: dataHeaderLength };
        case "assembled":
            if (arrival.value == "exchange") return { type: "exchangeAssembled", value: channel };
            if (channel == "reliable") return { type: "deliverAssembled", isText: arrival.value == "text" };
            // Only the reliable channel carries messages of the application as they are.
            stream.takeParts();
            return verdicts.absorbed;
        case "acknowledged": return verdicts.ignored;
        default: return verdicts[arrival.type];
    }
};
