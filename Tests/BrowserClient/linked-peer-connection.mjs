// Peer connections that reach each other inside one process, through the descriptions that they exchange.
import { NewPeerConnection } from "./fake-peer-connection.mjs";

let count = 0;
/** By the identifier in a description. */
const connections = new Map();

class LinkedChannel {
    readyState = "connecting";
    bufferedAmount = 0;
    bufferedAmountLowThreshold = 0;

    constructor(owner, label, { protocol = "", ordered = true, maxRetransmits = null, maxPacketLifeTime = null } = {}) {
        Object.assign(this, { owner, label, protocol, ordered, maxRetransmits, maxPacketLifeTime });
    }

    send(data) {
        if (this.readyState !== "open") throw Object.assign(new Error("not open"), { name: "InvalidStateError" });
        const copy = typeof data === "string" ? data : data.slice().buffer;
        this.bufferedAmount += copy.length ?? copy.byteLength;
        this.owner.transmit(() => {
            this.bufferedAmount = 0;
            this.onbufferedamountlow?.({});
            if (this.other?.readyState === "open") this.other.onmessage?.({ data: copy });
        });
    }

    close() {
        if (this.readyState === "closed") return;
        this.readyState = "closed";
        this.owner.later(() => this.onclose?.({}));
        this.owner.later(() => this.other?.close());
    }
}

export class LinkedPeerConnection extends NewPeerConnection {
    /** What waits for the path, while it is cut. */
    #waiting;
    /** Bytes that have arrived, as statistics count them. */
    #heard = 0;
    #id = `${count += 1}`;
    #round = 0;

    /** `schedule` calls back behind the present call. */
    constructor(schedule) {
        super();
        this.later = schedule;
        connections.set(this.#id, this);
    }

    /** Nothing goes out any more, or everything again: SCTP repeats what was lost. */
    set isCut(isCut) {
        const waiting = this.#waiting ?? [];
        this.#waiting = isCut ? waiting : undefined;
        if (!isCut) for (const action of waiting) this.later(action);
    }

    transmit(action) {
        const send = () => {
            if (this.other && !this.other.isClosed) this.other.#heard += 1;
            action();
        };
        if (this.#waiting) this.#waiting.push(send); else this.later(send);
    }

    setConfiguration() {}

    createDataChannel(label, init) {
        const channel = new LinkedChannel(this, label, init);
        this.channels.push(channel);
        if (this.sctp) this.later(() => this.#open(channel));
        return channel;
    }

    async createOffer() { return this.#description("offer"); }
    async createAnswer() { return this.#description("answer"); }

    #description(type) {
        this.#round += 1;
        const lines = ["v=0", `a=ice-ufrag:u${this.#id}-${this.#round}`, `a=fingerprint:sha-256 0${this.#id}`, ""];
        return { type, sdp: lines.join("\r\n") };
    }

    async setLocalDescription(description) {
        this.localDescription = description;
        this.later(() => this.onicecandidate?.({ candidate: null }));
        if (description.type === "answer") this.later(() => this.#connect());
    }

    async setRemoteDescription(description) {
        this.remoteDescription = description;
        const [, id] = /ufrag:u(\d+)-/.exec(description.sdp);
        this.other = connections.get(id);
        if (description.type === "answer") this.later(() => this.#connect());
    }

    async addIceCandidate() {}

    /** Both sides have both descriptions. */
    #connect() {
        if (this.isClosed || !this.other || this.other.isClosed || this.sctp || !this.other.remoteDescription) return;
        for (const side of [this, this.other]) {
            side.iceConnectionState = side.connectionState = "connected";
            side.sctp = { state: "connected", maxMessageSize: 262144, transport: { state: "connected" } };
        }
        for (const side of [this, this.other]) {
            side.oniceconnectionstatechange?.({});
            for (const channel of side.channels) side.#open(channel);
        }
    }

    #open(channel) {
        if (channel.readyState !== "connecting" || this.other.isClosed) return;
        const { label, protocol, ordered, maxRetransmits, maxPacketLifeTime } = channel;
        const twin = new LinkedChannel(this.other, label, { protocol, ordered, maxRetransmits, maxPacketLifeTime });
        [channel.other, twin.other] = [twin, channel];
        this.other.channels.push(twin);
        channel.readyState = twin.readyState = "open";
        this.other.ondatachannel?.({ channel: twin });
        channel.onopen?.({});
    }

    async getStats() {
        return new Map([["P", {
            id: "P", type: "candidate-pair", nominated: true, state: "succeeded", bytesReceived: this.#heard,
            localCandidateId: "L", remoteCandidateId: "R",
        }], ["L", { id: "L", candidateType: "host", protocol: "udp", address: "192.0.2.1", port: 1,
            usernameFragment: `u${this.#id}-${this.#round}` }],
        ["R", { id: "R", candidateType: "host", protocol: "udp", address: "192.0.2.2", port: 2 }]]);
    }

    close() {
        if (this.isClosed) return;
        this.isClosed = true;
        connections.delete(this.#id);
        this.later(() => this.other?.breakDown());
    }

    /** The association ends. */
    breakDown() {
        if (this.isClosed || !this.sctp) return;
        this.sctp.state = "closed";
        this.sctp.onstatechange?.({});
    }
}
