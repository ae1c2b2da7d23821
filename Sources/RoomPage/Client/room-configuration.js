//# allFunctionsCalledOnLoad
import { RoomError } from "./errors.js";
import { flawOfURL } from "./ice-server-selection.js";
/** @typedef {import("./room.js").RoomConfiguration} RoomConfiguration */

/**
 * Throws a `RoomError` that says what is wrong.
 * @param {RoomConfiguration} configuration
 */
export function validate({
    server, sendLimit = 8 << 20, receiveLimit = 8 << 20, maximumMessageSize = 4 << 20, iceServers = [],
}) {
    /** @param {string} message */
    const wrong = (message) => new RoomError("configuration", message);
    let protocol;
    try { ({ protocol } = new URL(server)); } catch { throw wrong(`'${server}' is not a URL`); }
    if (protocol != "ws:" && protocol != "wss:") throw wrong(`'${server}' does not begin with ws:// or wss://`);
    for (const [name, value, least, most] of /** @type {[string, number, number, number][]} */ ([
        ["sendLimit", sendLimit, 65536, 2 ** 30], ["receiveLimit", receiveLimit, 65536, 2 ** 30],
        ["maximumMessageSize", maximumMessageSize, 1024, 2 ** 26],
    ])) {
        if (!(value >= least && value <= most)) {
            throw wrong(`${name} is ${value}; it must be from ${least} to ${most} bytes`);
        }
    }
    if (maximumMessageSize > sendLimit) {
        throw wrong("maximumMessageSize is over sendLimit: such a message could never be sent");
    }
    for (const iceServer of iceServers) {
        for (const url of iceServer.urls) {
            const flaw = flawOfURL(url, iceServer);
            if (flaw) throw wrong(`iceServers: ${flaw}`);
        }
    }
}
