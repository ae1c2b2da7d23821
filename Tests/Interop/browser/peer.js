// A browser as a foreign peer: the counterpart of peer.py and room_client.py, with the same events and commands, and an ICE
// restart besides. Parameters come from the page's URL, events go to the page's server by POST, commands come by long poll.

const parameters = new URLSearchParams(location.search);
const labels = { reliable: "room.plain", unordered: "room.unordered", lossy: "room.lossy" };
const setup = parameters.get("setup");
const channelNames = Object.fromEntries(Object.entries(labels).map(([name, label]) => [label, name]));

// ---- The runner

let outbox = [];
let isPosting = false;

async function emit(event, fields = {}) {
    outbox.push({ event, t: performance.now() / 1000, ...fields });
    if (isPosting) return;
    isPosting = true;
    while (outbox.length > 0) {
        const events = outbox;
        outbox = [];
        await fetch("events", { method: "POST", body: JSON.stringify(events) });
    }
    isPosting = false;
}

addEventListener("error", (event) => emit("failed", { message: String(event.message) }));
addEventListener("unhandledrejection", (event) => emit("failed", { message: String(event.reason) }));

function toBase64(buffer) {
    let text = "";
    for (const byte of new Uint8Array(buffer)) text += String.fromCharCode(byte);
    return btoa(text);
}

function fromBase64(text) {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

// ---- The room

const socket = new WebSocket(parameters.get("server"));
const pairs = new Map();
let self = null;
let roster = new Map();
let sent = 0;
let received = 0;
/** How long each candidate is held up, in milliseconds. */
let lateness = 0;
let work = Promise.resolve();

const write = (message) => socket.send(JSON.stringify(message));

socket.onopen = () =>
    write({
        type: "hello", version: 1, minimumVersion: 1, room: parameters.get("room"), name: parameters.get("name"),
        role: parameters.has("host") ? "host" : "guest", metadata: {}, capabilities: [],
    });
socket.onclose = () => emit("left");
// One after the other: a candidate must not overtake its description.
socket.onmessage = (event) => {
    work = work.then(() => take(JSON.parse(event.data)));
};

async function take(message) {
    if (message.seq !== undefined) {
        if (message.seq <= received) return;
        received = message.seq;
        write({ type: "ack", received });
    }
    switch (message.type) {
        case "joined":
            self = message.participant;
            roster = new Map(message.roster.map((entry) => [entry.id, entry]));
            emit("joined", { self, host: message.host });
            for (const entry of message.roster) await peerJoined(entry);
            break;
        case "peerJoined":
            roster.set(message.participant.id, message.participant);
            await peerJoined(message.participant);
            break;
        case "peerLeft":
            roster.delete(message.participant);
            emit("peer", { id: message.participant, state: "left" });
            pairs.get(message.participant)?.close();
            pairs.delete(message.participant);
            break;
        case "signal":
            await pairs.get(message.peer)?.take(message);
            break;
        case "ping":
            write({ type: "pong", id: message.id });
            break;
        case "error":
            emit("error", { code: message.code, message: message.message });
            break;
    }
}

async function peerJoined(participant) {
    emit("peer", { id: participant.id, name: participant.name, state: "joined" });
    const pair = new Pair(participant.id);
    pairs.set(participant.id, pair);
    if (pair.isOfferer) await pair.start();
}

// ---- One pair. The ids are ASCII, so JavaScript's order of strings is the order of bytes.

class Pair {
    constructor(peer) {
        this.peer = peer;
        this.isOfferer = self < peer;
        this.connection = null;
        this.connectionID = null;
        this.negotiation = 0;
        this.hasRemote = false;
        this.early = [];
        this.channels = new Map();
    }

    async start() {
        this.connectionID = crypto.randomUUID();
        this.open();
        this.add(this.connection.createDataChannel(labels.reliable));
        this.add(this.connection.createDataChannel(labels.unordered, { ordered: false }));
        const limit = parameters.has("timed") ? { maxPacketLifeTime: 1000 } : { maxRetransmits: 0 };
        this.add(this.connection.createDataChannel(labels.lossy, { ordered: false, ...limit }));
        await this.offer(false);
    }

    async offer(iceRestart) {
        this.negotiation += 1;
        await this.connection.setLocalDescription(await this.connection.createOffer({ iceRestart }));
        const { type, sdp } = this.connection.localDescription;
        this.signal({ description: { type, sdp: setup ? sdp.replace("a=setup:actpass", `a=setup:${setup}`) : sdp } });
    }

    async restart() {
        if (this.isOfferer) await this.offer(true);
        else this.signal({ restartRequest: { reason: "asked for by the test" } });
    }

    async take(signal) {
        const isKnown = signal.connection === this.connectionID;
        if (signal.description?.type === "offer") {
            if (this.isOfferer || (isKnown && signal.negotiation <= this.negotiation)) return;
            if (!isKnown) {
                this.close();
                this.connectionID = signal.connection;
                this.open();
            }
            this.negotiation = signal.negotiation;
            await this.connection.setRemoteDescription(signal.description);
            const { type, sdp } = await this.connection.createAnswer();
            const answer = { type, sdp: setup ? sdp.replace("a=setup:active", `a=setup:${setup}`) : sdp };
            await this.connection.setLocalDescription(answer);
            this.isClient = answer.sdp.includes("a=setup:active");
            this.signal({ description: this.connection.localDescription });
            await this.described();
        } else if (!isKnown) {
            return;
        } else if (signal.description) {
            if (!this.isOfferer || signal.negotiation !== this.negotiation) return;
            this.isClient = signal.description.sdp.includes("a=setup:passive");
            await this.connection.setRemoteDescription(signal.description);
            await this.described();
        } else if (signal.candidate || signal.endOfCandidates) {
            if (lateness) await new Promise((resolve) => setTimeout(resolve, lateness));
            const candidate = signal.candidate ?? { candidate: "", sdpMLineIndex: 0, ...signal.endOfCandidates };
            if (this.hasRemote) await this.connection.addIceCandidate(candidate);
            else this.early.push(candidate);
        } else if (signal.restartRequest) {
            if (this.isOfferer) await this.offer(true);
        }
    }

    open() {
        this.connection = new RTCPeerConnection({ iceServers: [] });
        this.hasRemote = false;
        this.connection.onicecandidate = ({ candidate }) => {
            if (!candidate) return;
            if (candidate.candidate !== "") this.signal({ candidate });
            else this.signal({ endOfCandidates: { usernameFragment: candidate.usernameFragment ?? "" } });
        };
        this.connection.ondatachannel = ({ channel }) => this.add(channel);
        this.connection.onconnectionstatechange = () =>
            emit("connection", { peer: this.peer, state: this.connection.connectionState });
    }

    async described() {
        this.hasRemote = true;
        const early = this.early;
        this.early = [];
        for (const candidate of early) await this.connection.addIceCandidate(candidate);
        emit("negotiated", { peer: this.peer, negotiation: this.negotiation });
    }

    add(channel) {
        this.channels.set(channel.label, channel);
        channel.binaryType = "arraybuffer";
        const opened = () => {
            emit("opened", { peer: this.peer, channel: channel.label, id: channel.id, client: this.isClient });
            if (channel.label === labels.reliable) emit("peer", { id: this.peer, state: "connected" });
        };
        if (channel.readyState === "open") opened();
        else channel.onopen = opened;
        channel.onmessage = ({ data }) => {
            const isText = typeof data === "string";
            const bytes = isText ? new TextEncoder().encode(data).length : data.byteLength;
            emit("received", { peer: this.peer, channel: channel.label, kind: isText ? "text" : "binary", bytes });
            if (!parameters.has("no-echo")) channel.send(data);
            else
                emit("message", {
                    from: this.peer, channel: channelNames[channel.label] ?? channel.label,
                    ...(isText ? { text: data } : { data: toBase64(data) }),
                });
        };
    }

    // Generation (RFC 8838 §4) and address of both ends of the pair of candidates that carries the data.
    async path() {
        const stats = await this.connection.getStats();
        const transport = [...stats.values()].find((entry) => entry.type === "transport");
        const pair = stats.get(transport?.selectedCandidatePairId);
        const name = (candidate) => candidate && `${candidate.usernameFragment} ${candidate.address}:${candidate.port}`;
        const pairs = [...stats.values()].filter((e) => e.type === "candidate-pair").map((e) => [e.state, e.nominated, e.priority, e.requestsSent, e.responsesReceived, e.requestsReceived, e.responsesSent, stats.get(e.localCandidateId), stats.get(e.remoteCandidateId)].map((x) => x?.id ? `${x.usernameFragment} ${x.candidateType} ${x.address}:${x.port} ${x.priority}` : x).join(" "));
        return { pairs, local: name(stats.get(pair?.localCandidateId)), remote: name(stats.get(pair?.remoteCandidateId)) };
    }

    close() {
        this.connection?.close();
        this.connection = null;
    }

    signal(body) {
        const session = roster.get(this.peer)?.session;
        if (session === undefined || this.connection === null) return;
        sent += 1;
        write({
            type: "signal", seq: sent, ack: received, peer: this.peer, session, connection: this.connectionID,
            negotiation: this.negotiation, ...body,
        });
    }
}

// ---- The runner's commands

async function carryOut(command) {
    switch (command.do) {
        case "send": {
            const data = command.text ?? fromBase64(command.data);
            for (const peer of command.to ? [command.to] : pairs.keys())
                pairs.get(peer).channels.get(labels[command.channel ?? "reliable"]).send(data);
            break;
        }
        case "restart":
            await pairs.get(command.peer).restart();
            break;
        case "delay":
            lateness = command.milliseconds;
            break;
        case "path":
            emit("path", { peer: command.peer, ...(await pairs.get(command.peer).path()) });
            break;
        case "close":
            pairs.get(command.peer).channels.get(command.channel).close();
            break;
        case "negotiated": {
            const options = { negotiated: true, id: command.id };
            const channel = pairs.get(command.peer).connection.createDataChannel("negotiated", options);
            channel.onopen = () => channel.send(command.text);
            break;
        }
        case "leave":
            for (const pair of pairs.values()) pair.close();
            write({ type: "leave" });
            socket.close();
            break;
    }
}

emit("loaded");
for (;;) {
    const response = await fetch("commands");
    for (const command of await response.json()) await carryOut(command);
}
