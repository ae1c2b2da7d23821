//# allFunctionsCalledOnLoad
import { decodedText } from "./bytes.js";

/** @typedef {import("./delivery-channel.js").Channel} Channel */

/** A message that came from another participant. */
export class RoomMessage {
    /** @param {string} from @param {Channel} channel @param {boolean} isText @param {Uint8Array} payload */
    constructor(from, channel, isText, payload) {
        this.from = from;
        this.channel = channel;
        this.isText = isText;
        this.payload = payload;
    }

    /** The payload as text, undefined when it is not valid UTF-8. */
    get text() { return decodedText(this.payload); }
}
