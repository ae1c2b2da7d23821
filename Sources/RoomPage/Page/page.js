/** The page of a room: who is here and how they are connected, the conversation, and files. */
import { HostRole, TransportRuntime } from "../client/room.js";
import { Conversation } from "./conversation.js";
import { byID, element, now, setText } from "./dom.js";
import { memory, refusal, setBusy, showEntrance } from "./entrance.js";
import { copyLink, invite } from "./invitation.js";
import { PeopleView } from "./people-view.js";
import { PATIENCE, ServerView } from "./server-view.js";
import { duration, leaveText, linkTo, roomOf, shownName } from "./text.js";

/** @typedef {import("../client/room.js").Room} Room */
/** @typedef {import("../client/room.js").RoomMember} RoomMember */
/** @typedef {import("../client/room.js").RoomSnapshot} RoomSnapshot */

/** @type {Room | undefined} */
let room;
/** @type {RoomSnapshot | undefined} */
let snapshot;
const people = new PeopleView({
    talkTo(id) {
        byID("receiver").value = id;
        showView("talk");
        byID("message").focus();
    },
    sendFilesTo(id) {
        byID("receiver").value = id;
        byID("files").click();
    },
});
const conversation = new Conversation((id) => people.nameOf(id));
/** @type {ServerView} */
let server;
/** @type {import("./transfers.js").Transfers | undefined} */
let transfers;
let enteredAt = 0;

// MARK: Joining

/**
 * The join token of the link. The link is shown without it.
 * @type {string | null}
 */
let token = null;

/** @param {string} name @param {string} as */
async function join(name, as) {
    setText(byID("join-error"), "");
    setBusy(true);
    const url = new URL("./", location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    url.search = url.hash = "";
    token = new URLSearchParams(location.hash.slice(1)).get("token") || token;
    try {
        const runtime = new TransportRuntime({ server: url.href, ...token ? { token: () => token || "" } : {} });
        // `room send` offers files to those that say so.
        room = await runtime.connect({ toRoom: name, as, host: HostRole.ifFirst, metadata: { files: "receive" } });
    } catch (error) {
        showEntrance(refusal(/** @type {any} */ (error), as));
        return;
    }
    memory.set(as);
    enter(room, as);
}

/** @param {Room} joined @param {string} as */
function enter(joined, as) {
    people.begin(as);
    enteredAt = now();
    showView("talk");
    const link = linkTo(joined.name, location);
    history.replaceState(null, "", link);
    document.title = shownName(joined.name);
    setText(byID("room-name"), shownName(joined.name));
    byID("entrance").hidden = true;
    byID("room").hidden = false;
    byID("ended").hidden = true;
    byID("composer").inert = false;
    conversation.begin(joined.name, as);
    server = new ServerView();
    conversation.note(`You are in ${shownName(joined.name)}. Invite others with the link or the QR code.`);
    byID("message").focus({ preventScroll: true });
    followSnapshots(joined);
    followEvents(joined);
    followMessages(joined);
    startTransfers(joined);
}

/**
 * Their part of the page is not needed for the join.
 * @param {Room} joined
 */
async function startTransfers(joined) {
    const { Transfers } = await import("./transfers.js");
    if (joined !== room) return;
    transfers = new Transfers(joined, (from, card) => conversation.say(from, "", card), conversation.nameOf);
    transfers.run();
}

// MARK: The room

/** @param {Room} joined */
async function followSnapshots(joined) {
    for await (const state of joined.snapshots()) {
        if (joined !== room) return;
        snapshot = state;
        people.show(state);
        showReceivers(state.members);
        server.show(state);
    }
}

/** @param {Room} joined */
async function followEvents(joined) {
    for await (const event of joined.events()) {
        if (joined !== room) return;
        switch (event.type) {
            case "peerJoined":
                conversation.note(
                    `${shownName(event.participant.name)} ${now() - enteredAt < 1 ? "is here" : "joined"}`);
                break;
            case "peerLeft":
                conversation.note(`${shownName(event.participant.name)} ${leaveText(event.reason)}`);
                break;
            case "incident": record(event.incident); break;
            case "undelivered": {
                const what = event.count === 1 ? "1 message" : `${event.count} messages`;
                conversation.note(`${what} to ${people.nameOf(event.participant)} did not arrive`, "problem");
                break;
            }
            case "error": conversation.note(event.error.message, "problem"); break;
            case "left": ended(event.reason); break;
            default: break;
        }
    }
}

/** @param {import("../client/room.js").RoomIncident} incident */
function record(incident) {
    const took = incident.endedAt - incident.startedAt;
    if (incident.participant === undefined) server.timeline.add(incident);
    else people.record(incident.participant, incident);
    if (took < PATIENCE || incident.outcome !== "recovered") return;
    const whom = incident.participant === undefined ? "the room server" : people.nameOf(incident.participant);
    conversation.note(`The connection to ${whom} healed after ${duration(took)}`, "healed");
}

/** @param {import("../client/room.js").EndReason} reason */
function ended(reason) {
    if (reason.type === "left") return;
    const texts = {
        kicked: "The host has removed you from this room.", roomClosed: "The host has closed this room.",
        replaced: "You have joined this room in another tab or window.",
    };
    const failure = "failure" in reason ? reason.failure.description : "";
    const text = texts[/** @type {"kicked"} */ (reason.type)] || failure || "You are not in the room any more.";
    setText(byID("ended-text"), text);
    byID("ended").hidden = false;
    byID("composer").inert = true;
}

/** @param {RoomMember[]} members */
function showReceivers(members) {
    const select = byID("receiver");
    const wanted = [["", "everybody"], ...members.map((member) => [member.id, shownName(member.participant.name)])];
    const shown = [...select.options].map((option) => [option.value, option.text]);
    if (JSON.stringify(shown) === JSON.stringify(wanted)) return;
    const chosen = select.value;
    select.replaceChildren(...wanted.map(([value, text]) => element("option", { value }, text)));
    select.value = wanted.some(([value]) => value === chosen) ? chosen : "";
}

/** Times that grow, round trips, and the strips. */
async function tick() {
    if (!room || document.hidden || byID("room").hidden) return;
    const statistics = await room.statistics().catch(() => undefined);
    if (!snapshot) return;
    people.tick(snapshot.members, statistics, room);
    server.show(snapshot);
    server.timeline.draw();
}

// MARK: The conversation

/** @param {Room} joined */
async function followMessages(joined) {
    for await (const message of joined.messages()) {
        if (joined !== room) return;
        const text = message.text;
        conversation.say(message.from, "", text !== undefined && message.isText
            ? element("p", { className: "text", dir: "auto" }, text)
            : element("p", { className: "text data" }, `${message.payload.byteLength} bytes of data`));
    }
}

function receiver() {
    const id = byID("receiver").value;
    return id && people.has(id) ? id : "";
}

async function sendMessage() {
    const input = byID("message");
    const text = input.value;
    if (!room || !text.trim()) return;
    input.value = "";
    fit();
    const to = receiver();
    const content = element("p", { className: "text", dir: "auto" }, text);
    const line = conversation.say("", to ? people.nameOf(to) : "", content);
    const result = element("p", { className: "result" });
    try {
        const report = await room.send(text, to ? { to } : {});
        if (report.missed.length) {
            const names = report.missed.map(({ participant }) => people.nameOf(participant));
            result.textContent = `Not sent to ${names.join(", ")}`;
        } else if (report.acceptedCount === 0) result.textContent = "Nobody else was here";
    } catch (error) {
        result.textContent = /** @type {any} */ (error).message || "Not sent";
    }
    if (result.textContent) line.append(result);
}

/** @param {File[]} files */
function sendFiles(files) {
    if (!snapshot || !transfers || !files.length) return;
    const to = receiver();
    const wanted = snapshot.members.filter((member) => !to || member.id === to);
    const able = wanted.filter(({ participant }) => participant.metadata.files === "receive");
    const unable = wanted.filter((member) => !able.includes(member))
        .map(({ participant }) => shownName(participant.name));
    if (!wanted.length) conversation.note("Nobody else is here to take files", "problem");
    if (unable.length) {
        conversation.note(`${unable.join(", ")} cannot take files now: a page or "room receive" can`, "problem");
    }
    if (!able.length) return;
    showView("talk");
    const receivers = able.map(({ id, participant }) => ({ id, name: participant.name }));
    conversation.say("", to ? people.nameOf(to) : "", transfers.send(files, receivers));
}

/** Lets the field grow with its text. */
function fit() {
    const input = byID("message");
    input.style.height = "auto";
    input.style.height = `${Math.min(input.scrollHeight + 2, 160)}px`;
}

// MARK: The window

/**
 * On narrow screens one of the two views is shown.
 * @param {string} view
 */
function showView(view) {
    byID("room").dataset.view = view;
    if (view === "talk") conversation.shown();
    byID("view-talk").setAttribute("aria-pressed", String(view === "talk"));
    byID("view-people").setAttribute("aria-pressed", String(view === "people"));
}

async function leave() {
    const left = room;
    room = undefined;
    snapshot = undefined;
    conversation.end();
    showEntrance();
    if (left) await left.leave();
}

function start() {
    byID("join-form").onsubmit = (/** @type {Event} */ event) => {
        event.preventDefault();
        const [name, as] = [byID("join-room").value.trim(), byID("join-name").value.trim()];
        if (name && as) join(name, as);
    };
    byID("composer").onsubmit = (/** @type {Event} */ event) => {
        event.preventDefault();
        sendMessage();
    };
    byID("message").oninput = fit;
    byID("message").onkeydown = (/** @type {KeyboardEvent} */ event) => {
        if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
        event.preventDefault();
        sendMessage();
    };
    byID("attach-button").onclick = () => byID("files").click();
    byID("files").onchange = () => {
        sendFiles([...byID("files").files]);
        byID("files").value = "";
    };
    byID("invite-button").onclick = () => { if (room) invite(room.name); };
    byID("invite-copy").onclick = copyLink;
    byID("leave-button").onclick = leave;
    byID("check-button").onclick = () => {
        if (room) room.reconnectNow();
        setText(byID("announcer"), "All connections are checked");
    };
    byID("ended-button").onclick = () => location.reload();
    byID("view-talk").onclick = () => showView("talk");
    byID("view-people").onclick = () => showView("people");
    showView("talk");
    conversation.followEnd();

    const carriesFiles = (/** @type {DragEvent} */ event) =>
        event.dataTransfer !== null && [...event.dataTransfer.types].includes("Files") && !byID("room").hidden;
    addEventListener("dragover", (event) => {
        if (!carriesFiles(event)) return;
        event.preventDefault();
        byID("drop").hidden = false;
    });
    addEventListener("dragleave", (event) => { if (event.relatedTarget === null) byID("drop").hidden = true; });
    addEventListener("drop", (event) => {
        byID("drop").hidden = true;
        if (!carriesFiles(event)) return;
        event.preventDefault();
        sendFiles([.../** @type {DataTransfer} */ (event.dataTransfer).files]);
    });
    byID("message").onpaste = (/** @type {ClipboardEvent} */ event) => {
        const files = event.clipboardData ? [...event.clipboardData.files] : [];
        if (!files.length) return;
        event.preventDefault();
        sendFiles(files);
    };
    addEventListener("visibilitychange", () => {
        if (document.hidden || !room) return;
        conversation.pageShown();
        tick();
    });
    // Another room in the address bar.
    addEventListener("hashchange", () => location.reload());
    setInterval(tick, 1000);

    const [name, as] = [roomOf(location), memory.get()];
    showEntrance();
    if (name && as) join(name, as);
}

start();
