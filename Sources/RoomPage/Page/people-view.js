/** The people of a room: each with the state of its connection and its timeline. */
import { arrange, avatar, byID, element, now, setText } from "./dom.js";
import { duration, pathText, roundTrip, shownName } from "./text.js";
import { Timeline } from "./timeline.js";

/** @typedef {import("../client/room.js").Room} Room */
/** @typedef {import("../client/room.js").RoomIncident} RoomIncident */
/** @typedef {import("../client/room.js").RoomMember} RoomMember */
/** @typedef {import("../client/room.js").RoomSnapshot} RoomSnapshot */
/** @typedef {{ name: string, row: any, timeline: Timeline, parts: any, roundTrip?: number }} Person */

/** @param {RoomMember} member */
export function stateOf(member) {
    switch (member.status.type) {
        case "connected": return "connected";
        case "recovering": return "healing";
        default: return "connecting";
    }
}

/** The list of the people. */
export class PeopleView {
    /** @type {Map<string, Person>} */
    #people = new Map();
    /**
     * Those who have left: they may come back, and something may still come from them.
     * @type {Map<string, Person>}
     */
    #former = new Map();
    #ownName = "";
    /** @type {any} */
    #own;

    /** @param {{ talkTo: (id: string) => void, sendFilesTo: (id: string) => void }} actions */
    constructor(actions) { this.actions = actions; }

    /**
     * This person is in a room.
     * @param {string} ownName
     */
    begin(ownName) {
        this.#people.clear();
        this.#former.clear();
        this.#ownName = ownName;
        this.#own = undefined;
    }

    /** @param {string} id */
    has(id) { return this.#people.has(id); }

    /** @param {string} id */
    nameOf(id) {
        const person = this.#people.get(id) || this.#former.get(id);
        return shownName(person ? person.name : "somebody");
    }

    /** @param {string} id @param {RoomIncident} incident */
    record(id, incident) {
        const person = this.#people.get(id);
        if (person) person.timeline.add(incident);
    }

    /** @param {RoomSnapshot} snapshot */
    show({ members, isHost }) {
        const rows = [this.#ownRow(isHost)];
        for (const member of members) {
            const person = this.#people.get(member.id) || this.#former.get(member.id) || this.#makePerson(member);
            this.#people.set(member.id, person);
            this.#former.delete(member.id);
            person.name = member.participant.name;
            person.timeline.enter(stateOf(member));
            this.#showPerson(person, member);
            rows.push(person.row);
        }
        for (const [id, person] of [...this.#people]) {
            if (members.some((member) => member.id === id)) continue;
            person.timeline.enter("gone");
            this.#former.set(id, person);
            if (this.#former.size > 200) this.#former.delete(/** @type {string} */ (this.#former.keys().next().value));
            this.#people.delete(id);
        }
        arrange(byID("people-list"), rows);
        setText(byID("view-people"), `People (${members.length + 1})`);
    }

    /** @param {boolean} isHost */
    #ownRow(isHost) {
        if (!this.#own) {
            const [host, name] = [element("span", { className: "badge" }, "host"), element("h3")];
            const row = element("li", { className: "person self" }, avatar(this.#ownName),
                element("div", { className: "who" }, name, element("span", { className: "badge" }, "you"), host));
            this.#own = { host, name, row };
        }
        setText(this.#own.name, shownName(this.#ownName));
        this.#own.host.hidden = !isHost;
        return this.#own.row;
    }

    /** @param {RoomMember} member @returns {Person} */
    #makePerson(member) {
        const name = shownName(member.participant.name);
        const timeline = new Timeline(`to ${name}`);
        const parts = {
            host: element("span", { className: "badge" }, "host"), state: element("p", { className: "state" }),
            stall: element("p", { className: "stall" }),
        };
        const talk = element("button", { type: "button", className: "quiet" }, "Message");
        talk.setAttribute("aria-label", `Message ${name} only`);
        talk.onclick = () => this.actions.talkTo(member.id);
        const files = element("button", { type: "button", className: "quiet" }, "Send files");
        files.setAttribute("aria-label", `Send files to ${name} only`);
        files.onclick = () => this.actions.sendFilesTo(member.id);
        const row = element(
            "li", { className: "person" }, avatar(name),
            element("div", { className: "who" }, element("h3", {}, name), parts.host, parts.state),
            parts.stall, timeline.element, element("div", { className: "row actions" }, talk, files));
        return { name: member.participant.name, row, timeline, parts };
    }

    /** @param {Person} person @param {RoomMember} member */
    #showPerson(person, member) {
        const { status, stall } = member;
        person.parts.host.hidden = !member.participant.isHost;
        person.row.dataset.state = stateOf(member);
        let text = "Connecting";
        if (status.type === "connected") {
            const time = person.roundTrip === undefined ? "" : roundTrip(person.roundTrip);
            text = ["Connected", pathText(status.path), time].filter(Boolean).join(" · ");
            person.row.title = status.path ? status.path.summary : "";
        } else if (status.type === "recovering") {
            const how = { wait: "listening", restart: "looking for a new path", rebuild: "making a new connection" };
            text = `Reconnecting for ${duration(Math.max(0, now() - status.since))}, ${how[status.rung]}`;
        } else if (status.type === "waiting") text = "Waiting for its turn";
        setText(person.parts.state, text);
        setText(person.parts.stall, stall ? `${stall.message} ${stall.cure}` : "");
    }

    /**
     * Shows times that grow, round trips, and the strips.
     * @param {RoomMember[]} members @param {Awaited<ReturnType<Room["statistics"]>> | undefined} statistics
     * @param {Room | undefined} room
     */
    tick(members, statistics, room) {
        for (const member of members) {
            const person = this.#people.get(member.id);
            if (!person) continue;
            const time = statistics && statistics.get(member.id);
            if (time && time.roundTrip !== undefined && member.status.type === "connected") {
                person.roundTrip = time.roundTrip;
                person.timeline.addRoundTrip(time.roundTrip);
            }
            this.#showPerson(person, member);
            person.timeline.draw();
            this.#showCode(person, member.id, room);
        }
    }

    /** @param {Person} person @param {string} id @param {Room | undefined} room */
    async #showCode(person, id, room) {
        const shown = person.timeline.code;
        if (!room || shown.textContent) return;
        const security = await room.security({ of: id }).catch(() => undefined);
        if (!security || shown.textContent) return;
        shown.append("Verification code, the same on both sides: ", element("code", {}, security.verificationCode));
    }
}
