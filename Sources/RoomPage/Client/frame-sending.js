//# allFunctionsCalledOnLoad
// @ts-check
import { decodedText } from "./bytes.js";
import { keepsNothing, waterMarks } from "./delivery-channel.js";
import { FrameBatch } from "./send-buffer.js";

/** @typedef {import("./delivery-channel.js").Channel} Channel */
/** @typedef {import("./delivery-channels.js").ChannelID} ChannelID */
/** @typedef {import("./pair-types.js").Link} Link */

/**
 * Sends a message of the transport. Returns why the data channel did not take it.
 * @param {Link} link @param {ChannelID} id @param {Uint8Array | string} data
 */
export const transmit = (link, id, data) => {
    try {
        return link.send(String(id), data);
    } catch (error) {
        if (error instanceof TypeError) return "messageTooLarge";
        return /** @type {any} */ (error)?.name == "OperationError" ? "wouldBlock" : "closed";
    }
};

/**
 * Hands the frames that wait on a channel to its data channel, as many as it takes, and tells the `DeliveryLink` what
 * became of them. Returns the number of the first one that was taken. `failed`: the data channel is to be closed.
 * @param {Link} link @param {import("./delivery-link.js").DeliveryLink} delivery
 * @param {import("./delivery-outbox.js").DeliveryOutbox} outbox @param {Channel} channel @param {ChannelID} id
 * @param {import("./pair-types.js").Handlers} handlers @param {(id: ChannelID | undefined) => void} failed
 */
export const sendFrames = (link, delivery, outbox, channel, id, handlers, failed) => {
    const label = String(id);
    const limit = waterMarks(label).high;
    let buffered = -1;
    /** @type {number | undefined} */
    let firstTaken;
    while (true) {
        const batch = delivery.nextFrames(channel, outbox);
        for (let index = 0; index < batch.count; index += 1) {
            const sequence = batch.first + index;
            const bytes = batch.frame(index);
            if (buffered < 0 || buffered > limit) buffered = link.bufferedAmount(label);
            if (batch.hasHeaders) delivery.stamp(bytes, channel);
            const code = buffered > limit ? "wouldBlock"
                : transmit(link, label, batch.isText(index) ? decodedText(bytes) ?? "" : bytes);
            if (!code) {
                buffered += bytes.length;
                delivery.frameTaken(sequence, bytes.length, channel);
                firstTaken ??= sequence;
                continue;
            }
            const refusal = delivery.frameRefused(sequence, code, channel);
            if (refusal.type == "drop") {
                if (keepsNothing(channel)) handlers.lossyDropped?.(1);
                else outbox.giveUpMessage();
                continue;
            }
            if (refusal.type == "close") failed(refusal.value);
            return firstTaken;
        }
        if (batch.count < FrameBatch.capacity) return firstTaken;
    }
};
