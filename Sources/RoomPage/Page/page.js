/** The page of a room: who is here and how they are connected, the conversation, and files. */
import { HostRole, TransportRuntime } from "../client/room.js";
import { arrange, byID, clock, drawing, element, now, setText } from "./dom.js";
import {
    duration, hue, initial, isLocal, leaveText, linkTo, pathText, roomName, roomOf, roundTrip, shownName,
} from "./text.js";
import { Timeline } from "./timeline.js";

/** @typedef {import("../client/room.js").Room} Room */
/** @typedef {import("../client/room.js").RoomMember} RoomMember */
/** @typedef {import("../client/room.js").RoomSnapshot} RoomSnapshot */

/** Outages that are shorter are in the timeline only. */
const PATIENCE = 1;

/** @type {Room | undefined} */
let room;
let ownName = "";
/** @type {RoomSnapshot | undefined} */
let snapshot;
/** @typedef {{ name: string, row: any, timeline: Timeline, parts: any, roundTrip?: number }} Person */
/** @type {Map<string, Person>} */
const people = new Map();
/** Those who have left: they may come back, and something may still come from them. @type {Map<string, Person>} */
const former = new Map();
/** @type {{ timeline: Timeline, text: any, since?: number }} */
let server;
/** @type {import("./transfers.js").Transfers | undefined} */
let transfers;
/** Messages since the page, or the conversation in it, was last seen. */
let unread = 0;
let unseen = 0;
let enteredAt = 0;

// MARK: Joining

/** Storage may be forbidden. */
const memory = {
    get() { try { return localStorage.getItem("room.name") || ""; } catch { return ""; } },
    /** @param {string} name */
    set(name) { try { localStorage.setItem("room.name", name); } catch { /* Asked again. */ } },
};

/** @param {number} count */
const random = (count) => crypto.getRandomValues(new Uint32Array(1))[0] % count;

/** @param {string} [problem] */
function showEntrance(problem = "") {
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
function setBusy(isBusy) {
    byID("join-button").disabled = isBusy;
    setText(byID("join-button"), isBusy ? "Joining …" : "Join");
}

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

/** @param {any} error @param {string} as */
function refusal(error, as) {
    switch (error.protocolCode || error.code) {
        case "name_taken": return `Somebody in this room is called ${shownName(as)} already. Choose another name.`;
        case "room_full": return "This room is full.";
        case "unauthorized": return "This server lets people in by invitation only: open the link that you were given.";
        case "timed_out": return "The room server did not answer. Is this device online?";
        default: return error.message || "That did not work.";
    }
}

/** @param {Room} joined @param {string} as */
function enter(joined, as) {
    ownName = as;
    people.clear();
    former.clear();
    unread = 0;
    own = undefined;
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
    release(byID("log"));
    byID("log").replaceChildren();
    server = { timeline: new Timeline("to the room server"), text: element("p", { className: "state" }) };
    byID("server").replaceChildren(server.text, server.timeline.element);
    note(`You are in ${shownName(joined.name)}. Invite others with the link or the QR code.`);
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
    transfers = new Transfers(joined, (from, card) => say(from, "", card), nameOf);
    transfers.run();
}

// MARK: The room

/** @param {Room} joined */
async function followSnapshots(joined) {
    for await (const state of joined.snapshots()) {
        if (joined !== room) return;
        snapshot = state;
        showPeople();
        showServer();
    }
}

/** @param {Room} joined */
async function followEvents(joined) {
    for await (const event of joined.events()) {
        if (joined !== room) return;
        switch (event.type) {
            case "peerJoined":
                note(`${shownName(event.participant.name)} ${now() - enteredAt < 1 ? "is here" : "joined"}`);
                break;
            case "peerLeft":
                note(`${shownName(event.participant.name)} ${leaveText(event.reason)}`);
                break;
            case "incident": record(event.incident); break;
            case "undelivered": {
                const what = event.count === 1 ? "1 message" : `${event.count} messages`;
                note(`${what} to ${nameOf(event.participant)} did not arrive`, "problem");
                break;
            }
            case "error": note(event.error.message, "problem"); break;
            case "left": ended(event.reason); break;
            default: break;
        }
    }
}

/** @param {import("../client/room.js").RoomIncident} incident */
function record(incident) {
    const took = incident.endedAt - incident.startedAt;
    const person = incident.participant === undefined ? undefined : people.get(incident.participant);
    if (incident.participant === undefined) server.timeline.add(incident);
    else if (person) person.timeline.add(incident);
    if (took < PATIENCE || incident.outcome !== "recovered") return;
    const whom = incident.participant === undefined ? "the room server" : nameOf(incident.participant);
    note(`The connection to ${whom} healed after ${duration(took)}`, "healed");
}

/** @param {string} id */
function nameOf(id) {
    const person = people.get(id) || former.get(id);
    return shownName(person ? person.name : "somebody");
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

// MARK: People

/** @param {RoomMember} member */
function stateOf(member) {
    switch (member.status.type) {
        case "connected": return "connected";
        case "recovering": return "healing";
        default: return "connecting";
    }
}

function showPeople() {
    if (!snapshot) return;
    const rows = [ownRow()];
    for (const member of snapshot.members) {
        const person = people.get(member.id) || former.get(member.id) || makePerson(member);
        people.set(member.id, person);
        former.delete(member.id);
        const state = stateOf(member);
        person.name = member.participant.name;
        person.timeline.enter(state);
        showPerson(person, member);
        rows.push(person.row);
    }
    for (const [id, person] of [...people]) {
        if (snapshot.members.some((member) => member.id === id)) continue;
        person.timeline.enter("gone");
        former.set(id, person);
        if (former.size > 200) former.delete(former.keys().next().value);
        people.delete(id);
    }
    arrange(byID("people-list"), rows);
    setText(byID("view-people"), `People (${snapshot.members.length + 1})`);
    showReceivers(snapshot.members);
}

/** @type {any} */
let own;
function ownRow() {
    if (!own) own = { host: element("span", { className: "badge" }, "host"), name: element("h3") };
    if (!own.row) {
        own.row = element("li", { className: "person self" }, avatar(ownName),
            element("div", { className: "who" }, own.name, element("span", { className: "badge" }, "you"), own.host));
    }
    setText(own.name, shownName(ownName));
    own.host.hidden = !(snapshot && snapshot.isHost);
    return own.row;
}

/** @param {string} name */
function avatar(name) {
    const made = element("span", { className: "avatar", "aria-hidden": "true" }, initial(name));
    made.style.setProperty("--hue", hue(name));
    return made;
}

/** @param {RoomMember} member */
function makePerson(member) {
    const name = shownName(member.participant.name);
    const timeline = new Timeline(`to ${name}`);
    const parts = {
        host: element("span", { className: "badge" }, "host"), state: element("p", { className: "state" }),
        stall: element("p", { className: "stall" }),
    };
    const talk = element("button", { type: "button", className: "quiet" }, "Message");
    talk.setAttribute("aria-label", `Message ${name} only`);
    talk.onclick = () => {
        byID("receiver").value = member.id;
        showView("talk");
        byID("message").focus();
    };
    const files = element("button", { type: "button", className: "quiet" }, "Send files");
    files.setAttribute("aria-label", `Send files to ${name} only`);
    files.onclick = () => {
        byID("receiver").value = member.id;
        byID("files").click();
    };
    const row = element(
        "li", { className: "person" }, avatar(name),
        element("div", { className: "who" }, element("h3", {}, name), parts.host, parts.state),
        parts.stall, timeline.element, element("div", { className: "row actions" }, talk, files));
    return { name: member.participant.name, row, timeline, parts };
}

/** @param {any} person @param {RoomMember} member */
function showPerson(person, member) {
    const { status, stall } = member;
    const state = stateOf(member);
    person.parts.host.hidden = !member.participant.isHost;
    person.row.dataset.state = state;
    let text = "Connecting";
    if (status.type === "connected") {
        text = ["Connected", pathText(status.path), person.roundTrip === undefined ? "" : roundTrip(person.roundTrip)]
            .filter(Boolean).join(" · ");
        person.row.title = status.path ? status.path.summary : "";
    } else if (status.type === "recovering") {
        const how = { wait: "listening", restart: "looking for a new path", rebuild: "making a new connection" };
        text = `Reconnecting for ${duration(Math.max(0, now() - status.since))}, ${how[status.rung]}`;
    } else if (status.type === "waiting") text = "Waiting for its turn";
    setText(person.parts.state, text);
    setText(person.parts.stall, stall ? `${stall.message} ${stall.cure}` : "");
}

function showServer() {
    if (!snapshot) return;
    const status = snapshot.signaling;
    const isUp = status.type === "connected";
    server.timeline.enter(isUp ? "connected" : "healing");
    if (isUp) server.since = undefined; else if (server.since === undefined) server.since = now();
    const away = server.since === undefined ? 0 : now() - server.since;
    let text = "Connected";
    if (status.type === "connecting") text = `Looking for it, attempt ${status.attempt}, for ${duration(away)}`;
    else if (status.type === "disconnected") text = `Not reached for ${duration(away)}`;
    else if (status.type === "closed") text = "Closed";
    setText(server.text, text);
    byID("server").dataset.state = isUp ? "connected" : "healing";
    const others = snapshot.members.length;
    const up = snapshot.members.filter((member) => stateOf(member) === "connected");
    const healing = snapshot.members.filter((member) => stateOf(member) === "healing");
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
    for (const member of snapshot.members) {
        const person = people.get(member.id);
        if (!person) continue;
        const time = statistics && statistics.get(member.id);
        if (time && time.roundTrip !== undefined && member.status.type === "connected") {
            person.roundTrip = time.roundTrip;
            person.timeline.addRoundTrip(time.roundTrip);
        }
        showPerson(person, member);
        person.timeline.draw();
        showCode(person, member.id);
    }
    showServer();
    server.timeline.draw();
}

/** @param {any} person @param {string} id */
async function showCode(person, id) {
    const shown = person.timeline.code;
    if (!room || shown.textContent) return;
    const security = await room.security({ of: id }).catch(() => undefined);
    if (!security || shown.textContent) return;
    shown.append("Verification code, the same on both sides: ", element("code", {}, security.verificationCode));
}

// MARK: The conversation

/** @param {any} entry */
function append(entry) {
    const log = byID("log");
    log.append(entry);
    while (log.childElementCount > 1000) {
        release(log.firstElementChild);
        log.firstElementChild.remove();
    }
}

/** Frees the files whose links go away. @param {any} node */
function release(node) {
    for (const link of node.querySelectorAll("a[href^='blob:']")) URL.revokeObjectURL(link.href);
}

/** Keeps the end of the conversation in view, unless the person has scrolled up. */
function followEnd() {
    const log = byID("log");
    let isAtEnd = true;
    const toEnd = () => { if (isAtEnd) log.scrollTop = log.scrollHeight; };
    log.onscroll = () => { isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40; };
    new MutationObserver(toEnd).observe(log, { childList: true, subtree: true });
    // Pictures, and the keyboard of a phone.
    log.addEventListener("load", toEnd, true);
    new ResizeObserver(toEnd).observe(log);
}

/** @param {string} text @param {string} [kind] */
function note(text, kind = "") { append(element("li", { className: `note ${kind}` }, text)); }

/** @type {{ from: string, to: string, at: number, list: any } | undefined} */
let lastEntry;

/**
 * @param {string} from An id, or empty for this person.
 * @param {string} to A name, or empty for everybody.
 * @param {Node} content
 */
function say(from, to, content) {
    const at = Date.now();
    const line = element("div", { className: "line" }, content);
    const isSame = lastEntry && lastEntry.from === from && lastEntry.to === to && at - lastEntry.at < 120_000
        && lastEntry.list.parentElement === byID("log").lastElementChild && lastEntry.list.childElementCount < 50;
    if (isSame && lastEntry) {
        lastEntry.at = at;
        lastEntry.list.append(line);
    } else {
        const name = from ? nameOf(from) : "You";
        const list = element("div", { className: "bubble" },
            element("p", { className: "by" }, element("strong", {}, name), to ? ` to ${to} only` : "", " ",
                element("time", {}, clock(at))), line);
        append(element("li", { className: from ? "entry" : "entry mine" }, avatar(from ? name : ownName), list));
        lastEntry = { from, to, at, list };
    }
    if (from && document.hidden) {
        unread++;
        document.title = `(${unread}) ${shownName(room ? room.name : "")}`;
    }
    if (from && byID("room").dataset.view === "people") {
        unseen++;
        setText(byID("view-talk"), `Conversation (${unseen})`);
    }
    return line;
}

/** @param {Room} joined */
async function followMessages(joined) {
    for await (const message of joined.messages()) {
        if (joined !== room) return;
        const text = message.text;
        say(message.from, "", text !== undefined && message.isText
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
    const line = say("", to ? nameOf(to) : "", element("p", { className: "text", dir: "auto" }, text));
    const result = element("p", { className: "result" });
    try {
        const report = await room.send(text, to ? { to } : {});
        if (report.missed.length) {
            const names = report.missed.map(({ participant }) => nameOf(participant));
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
    if (!wanted.length) note("Nobody else is here to take files", "problem");
    if (unable.length) {
        note(`${unable.join(", ")} cannot take files now: a page or "room receive" can`, "problem");
    }
    if (!able.length) return;
    showView("talk");
    const receivers = able.map(({ id, participant }) => ({ id, name: participant.name }));
    say("", to ? nameOf(to) : "", transfers.send(files, receivers));
}

/** Lets the field grow with its text. */
function fit() {
    const input = byID("message");
    input.style.height = "auto";
    input.style.height = `${Math.min(input.scrollHeight + 2, 160)}px`;
}

// MARK: The invitation

async function invite() {
    if (!room) return;
    const { qrCode } = await import("./transfers.js");
    const link = linkTo(room.name, location);
    byID("invite-link").value = link;
    byID("invite-local").hidden = !isLocal(link);
    setText(byID("invite-copy"), "Copy");
    const rows = qrCode(link);
    byID("invite-code").replaceChildren(...rows ? [drawCode(rows)] : []);
    byID("invite-code").hidden = !rows;
    const dialog = byID("invite");
    if (dialog.showModal) dialog.showModal(); else dialog.setAttribute("open", "");
    byID("invite-copy").focus();
}

/** @param {boolean[][]} rows */
function drawCode(rows) {
    const size = rows.length + 8;
    const path = rows.flatMap((row, y) => row.map((isDark, x) => isDark ? `M${x + 4} ${y + 4}h1v1h-1z` : "")).join("");
    return drawing("svg", { viewBox: `0 0 ${size} ${size}`, "shape-rendering": "crispEdges", "aria-hidden": "true" },
        drawing("rect", { width: size, height: size, fill: "#fff" }), drawing("path", { d: path, fill: "#000" }));
}

async function copyLink() {
    const field = byID("invite-link");
    try {
        await navigator.clipboard.writeText(field.value);
    } catch {
        // Pages of plain http have no clipboard.
        field.select();
        document.execCommand("copy");
    }
    setText(byID("invite-copy"), "Copied");
    setText(byID("announcer"), "The link is copied");
}

// MARK: The window

/**
 * On narrow screens one of the two views is shown.
 * @param {string} view
 */
function showView(view) {
    byID("room").dataset.view = view;
    if (view === "talk") {
        unseen = 0;
        setText(byID("view-talk"), "Conversation");
    }
    byID("view-talk").setAttribute("aria-pressed", String(view === "talk"));
    byID("view-people").setAttribute("aria-pressed", String(view === "people"));
}

async function leave() {
    const left = room;
    room = undefined;
    snapshot = undefined;
    own = undefined;
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
    byID("invite-button").onclick = invite;
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
    followEnd();

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
        unread = 0;
        document.title = shownName(room.name);
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
