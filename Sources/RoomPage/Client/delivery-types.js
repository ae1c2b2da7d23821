//# allFunctionsCalledOnLoad
// What a `DeliveryLink` answers its shell.

/** @typedef {import("./delivery-channel.js").Channel} Channel */
/** @typedef {import("./delivery-channels.js").ChannelID} ChannelID */
/** @typedef {import("./delivery-protocol.js").Hint} Hint */
/** @typedef {import("./delivery-protocol.js").ResumeFrame} ResumeFrame */
/**
 * @typedef {{ type: "acknowledgement", value: Channel } | { type: "watch" } | { type: "reopening", value: Channel }}
 *   TimerID
 * @typedef {{ type: "openChannel", value: Channel } | { type: "beginSending" } | { type: "suspendSending" }
 *   | { type: "sendResume", value0: ResumeFrame, value1: ChannelID } | { type: "drain", value: Channel }
 *   | { type: "scheduleTimer", value: TimerID, after: number } | { type: "cancelTimer", value: TimerID }} Action
 * @typedef {{ type: "deliver", value: Channel, isText: boolean, offset: number }
 *   | { type: "deliverAssembled", isText: boolean } | { type: "exchange", value: Channel, offset: number }
 *   | { type: "exchangeAssembled", value: Channel } | { type: "absorbed" } | { type: "hint", value: Hint }
 *   | { type: "resumed" } | { type: "ignored" } | { type: "violation" }} Verdict
 *   The use of a message of the transport.
 * @typedef {{ type: "wait" } | { type: "drop" } | { type: "close", value?: ChannelID }} Refusal
 *   The answer to a channel that did not take a frame.
 */

export {};
