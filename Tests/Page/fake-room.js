/**
 * A stand-in for the client, for work on the page: a room with three others, whose connections break and heal, and which
 * talk and offer files. `Tests/Page/serve.mjs` serves it in the client's place.
 */
import { Inbox, TransferFailure } from "../page/transfer-messages.js";
import { receiveFiles, receiveList, reportFailure, sendFiles } from "../page/transfer-protocol.js";

export const HostRole = { host: "host", guest: "guest", awaited: "awaited", ifFirst: "ifFirst" };

const now = () => performance.now() / 1000;
const wait = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));
const names = { b: "Bob", c: "Carla with a rather long name", d: "robot-7" };
const path = { local: "host", remote: "host", summary: "udp 192.168.1.2:5000 → 192.168.1.3:6000" };
const relayed = { local: "relay", remote: "host", summary: "udp 203.0.113.1:49152 → 192.168.1.3:6000" };

class Feed {
    values = [];
    wake = () => {};
    push(value) { this.values.push(value); this.wake(); }
    async *[Symbol.asyncIterator]() {
        while (true) {
            while (this.values.length) yield this.values.shift();
            await new Promise((done) => { this.wake = done; });
        }
    }
}

class Pipe extends Feed {
    acknowledgedCount = 0;
    failures = new Map();
    progress = new Feed();
    async write(bytes) { this.push(bytes.slice()); }
    async finish() {}
    cancel() {}
}

const participant = (id, isHost = false) => ({
    id, session: `s-${id}`, epoch: 1, name: names[id], isHost, metadata: { files: "receive" }, capabilities: [],
});

function incident(id, cause, rung, took, ago) {
    const startedAt = now() - ago;
    return {
        participant: id, cause, startedAt, endedAt: startedAt + took, rung, outcome: "recovered", steps: [
            { kind: "detected", at: startedAt, cause }, { kind: "probed", at: startedAt + 0.02 },
            { kind: "restartRequested", at: startedAt + 0.5 }, { kind: "answered", at: startedAt + took - 0.1 },
            { kind: "connected", at: startedAt + took - 0.02 }, { kind: "recovered", at: startedAt + took },
        ],
    };
}

class FakeRoom {
    selfID = "a";
    states = new Feed();
    reports = new Feed();
    received = new Feed();
    streams = new Feed();
    answers = new Map();

    constructor(name) {
        this.name = name;
        this.members = ["b", "c", "d"].map((id) => ({ id, participant: participant(id, id === "b"), status: { type: "connecting" } }));
        this.signaling = { type: "connected" };
        this.play();
    }

    show() {
        this.states.push({
            room: this.name, membership: {}, signaling: this.signaling, attributes: {}, members: [...this.members],
            selfID: "a", isHost: false,
        });
    }

    status(index, status, extra = {}) {
        this.members[index] = { ...this.members[index], stall: undefined, ...extra, status };
        this.show();
    }

    say(from, text) { this.received.push({ from, channel: "reliable", isText: true, payload: new TextEncoder().encode(text), text }); }

    get participants() { return this.members.map(({ participant }) => participant); }

    /** Offers files as `room send` does. */
    async offer(from, files) {
        const there = new Pipe();
        this.answers.set(from, (back) => sendFiles(there, new Inbox(back), files, {}).catch(() => {}));
        this.streams.push(Object.assign(there, { from, name: "files", metadata: { part: "send" }, cancel() {} }));
    }

    /** The page's end of a stream: an answer to an offer, or an offer that is taken after a moment. */
    async openStream(name, { to, metadata }) {
        const out = new Pipe();
        if (metadata.part === "receive") {
            this.answers.get(to)(out);
            return out;
        }
        const back = new Pipe();
        (async () => {
            await wait(0.3);
            this.streams.push(Object.assign(back, { from: to, name: "files", metadata: { part: "receive" }, cancel() {} }));
            const inbox = new Inbox(out);
            const entries = await receiveList(back, inbox);
            await wait(0.5);
            if (to === "d") return reportFailure(back, new TransferFailure("declined", "no"));
            await receiveFiles(back, inbox, entries, { write: () => wait(to === "b" ? 0.02 : 0.2), end() {}, progress() {} });
        })().catch(() => {});
        return out;
    }

    async play() {
        this.show();
        await wait(0.05);
        for (const id of ["b", "c", "d"]) this.reports.push({ type: "peerJoined", participant: participant(id) });
        this.status(0, { type: "connected", path });
        this.status(1, { type: "connected", path: relayed });
        this.say("b", "Hello! Good that you are here.");
        this.say("b", "<b>This</b> is text, and so is this: <script>alert(1)</script>");
        this.say("c", "The pictures of the weekend are on their way. 📷");
        this.offer("c", [new File([new Uint8Array(300_000)], "../../weekend\u202Egpj.exe.jpg")]);
        this.reports.push({ type: "incident", incident: incident("b", "silence", "restart", 0.84, 75) });
        this.reports.push({ type: "incident", incident: incident("b", "networkChanged", "restart", 2.31, 30) });
        this.reports.push({ type: "incident", incident: { ...incident(undefined, "serverGoingAway", undefined, 1.42, 20) } });
        this.status(2, { type: "connecting" }, {
            stall: { code: "noAnswer", message: "robot-7 does not answer.", cure: "Is its program running?" },
        });
        await wait(1.2);
        this.status(1, { type: "recovering", rung: "restart", attempt: 1, since: now() - 1.2 });
    }

    async *snapshots() { yield* this.states; }
    async *events() { yield* this.reports; }
    async *messages() { yield* this.received; }
    async *incomingStreams() { yield* this.streams; }
    async statistics() {
        return new Map([["b", { roundTrip: 0.012 + Math.random() * 0.006 }], ["c", { roundTrip: 0.084 + Math.random() * 0.03 }]]);
    }
    async security() { return { verificationCode: "31415 92653 58979 32384 62643 38327" }; }
    async send() { return { missed: [], accepted: ["b"], acceptedCount: 3, isComplete: true }; }
    async leave() {}
}

export class TransportRuntime {
    async connect({ toRoom, as }) {
        await wait(0.1);
        if (as === "taken") throw Object.assign(new Error("taken"), { protocolCode: "name_taken" });
        return new FakeRoom(toRoom);
    }
}
