/** The entrance of a room: a name, which is remembered, and the room. */
import { byID, setText } from "./dom.js";
import { roomName, roomOf, shownName } from "./text.js";

/** The name that this person had before. Storage may be forbidden. */
export const memory = {
    get() { try { return localStorage.getItem("room.name") || ""; } catch { return ""; } },
    /** @param {string} name */
    set(name) { try { localStorage.setItem("room.name", name); } catch { /* Asked again. */ } },
};

/** @param {number} count */
const random = (count) => crypto.getRandomValues(new Uint32Array(1))[0] % count;

/**
 * Asks for the name and the room.
 * @param {string} [problem] Why the last attempt failed.
 */
export function showEntrance(problem = "") {
    const invited = roomOf(location);
    byID("room").hidden = true;
    byID("entrance").hidden = false;
    setText(byID("entrance-title"), invited ? `Join ${shownName(invited)}` : "Come in");
    byID("join-name").value = memory.get();
    byID("join-room").value = invited || roomName(random);
    setBusy(false);
    setText(byID("join-error"), problem);
    document.title = invited ? `Join ${shownName(invited)}` : "Room";
    if (problem) byID("join-name").select();
    else byID(memory.get() ? "join-button" : "join-name").focus();
}

/** @param {boolean} isBusy */
export function setBusy(isBusy) {
    byID("join-button").disabled = isBusy;
    setText(byID("join-button"), isBusy ? "Joining …" : "Join");
}

/**
 * Why a join was refused, for people.
 * @param {any} error @param {string} as
 */
export function refusal(error, as) {
    switch (error.protocolCode || error.code) {
        case "name_taken": return `Somebody in this room is called ${shownName(as)} already. Choose another name.`;
        case "room_full": return "This room is full.";
        case "unauthorized": return "This server lets people in by invitation only: open the link that you were given.";
        case "timed_out": return "The room server did not answer. Is this device online?";
        default: return error.message || "That did not work.";
    }
}
