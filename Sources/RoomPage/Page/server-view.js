/** The room server, and the state of the whole room in one line. */
import { byID, element, now, setText } from "./dom.js";
import { stateOf } from "./people-view.js";
import { duration, shownName } from "./text.js";
import { Timeline } from "./timeline.js";

/** Outages that are shorter are in the timeline only. */
export const PATIENCE = 1;

/** The connection to the room server, and its timeline. */
export class ServerView {
    #text = element("p", { className: "state" });
    timeline = new Timeline("to the room server");
    /**
     * When the server was lost.
     * @type {number | undefined}
     */
    #since;

    constructor() { byID("server").replaceChildren(this.#text, this.timeline.element); }

    /** @param {import("../client/room.js").RoomSnapshot} snapshot */
    show({ signaling: status, members }) {
        const isUp = status.type === "connected";
        this.timeline.enter(isUp ? "connected" : "healing");
        if (isUp) this.#since = undefined; else if (this.#since === undefined) this.#since = now();
        const away = this.#since === undefined ? 0 : now() - this.#since;
        let text = "Connected";
        if (status.type === "connecting") text = `Looking for it, attempt ${status.attempt}, for ${duration(away)}`;
        else if (status.type === "disconnected") text = `Not reached for ${duration(away)}`;
        else if (status.type === "closed") text = "Closed";
        setText(this.#text, text);
        byID("server").dataset.state = isUp ? "connected" : "healing";
        const others = members.length;
        const up = members.filter((member) => stateOf(member) === "connected");
        const healing = members.filter((member) => stateOf(member) === "healing");
        let summary = others === 0 ? "Nobody else is here yet"
            : `${others + 1} people, ${up.length} connected`;
        if (healing.length) {
            summary = `Reconnecting to ${healing.map((member) => shownName(member.participant.name)).join(", ")}`;
        }
        if (!healing.length && !isUp && away >= PATIENCE) summary = "Looking for the room server; messages go on";
        setText(byID("room-status"), summary);
        const isHealing = healing.length > 0 || (!isUp && away >= PATIENCE);
        byID("room").dataset.state = isHealing ? "healing" : others ? "connected" : "alone";
    }
}
