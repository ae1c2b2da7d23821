// The objects of a browser that a `BrowserPeer` uses, moved by a test.

export class FakeChannel {
    readyState = "connecting";
    binaryType = "blob";
    bufferedAmount = 0;
    bufferedAmountLowThreshold = 0;
    sent = [];

    constructor(label, init = {}) {
        const { protocol = "", ordered = true, maxRetransmits = null, maxPacketLifeTime = null, id = null } = init;
        Object.assign(this, { label, protocol, ordered, maxRetransmits, maxPacketLifeTime, id });
    }

    send(data) {
        if (this.readyState !== "open") throw Object.assign(new Error("not open"), { name: "InvalidStateError" });
        if (this.isFull) throw Object.assign(new Error("full"), { name: "OperationError" });
        this.sent.push(data);
    }

    open() {
        this.readyState = "open";
        this.onopen?.({});
    }

    close() {
        if (this.readyState === "closed") return;
        this.readyState = "closed";
        this.onclose?.({});
    }

    receive(bytes) {
        this.onmessage?.({ data: typeof bytes === "string" ? bytes : new Uint8Array(bytes).buffer });
    }
}

/** The state that every peer connection begins with. */
export class NewPeerConnection {
    iceConnectionState = "new";
    connectionState = "new";
    signalingState = "stable";
    localDescription = null;
    remoteDescription = null;
    sctp = null;
    channels = [];
    isClosed = false;
}

export class FakePeerConnection extends NewPeerConnection {
    calls = [];
    rounds = 0;
    refuses = false;
    /** What `getStats` returns. */
    stats = new Map();

    constructor(configuration) {
        super();
        this.configurations = [structuredClone(configuration)];
    }

    setConfiguration(configuration) {
        this.configurations.push(structuredClone(configuration));
    }

    createDataChannel(label, init) {
        const channel = new FakeChannel(label, init);
        this.channels.push(channel);
        return channel;
    }

    async createOffer(options) {
        this.calls.push(["createOffer", options]);
        this.rounds += 1;
        return { type: "offer", sdp: this.#sdp() };
    }

    async createAnswer() {
        this.calls.push(["createAnswer"]);
        this.rounds += 1;
        return { type: "answer", sdp: this.#sdp() };
    }

    #sdp() {
        return `v=0\r\na=ice-ufrag:local${this.rounds}\r\na=fingerprint:sha-256 AB:CD\r\n`;
    }

    async setLocalDescription(description) {
        this.calls.push(["setLocalDescription", description.type]);
        this.localDescription = description;
    }

    async setRemoteDescription(description) {
        this.calls.push(["setRemoteDescription", description.type]);
        if (this.refuses) throw Object.assign(new Error("bad line"), { name: "OperationError" });
        this.remoteDescription = description;
    }

    async addIceCandidate(candidate) {
        this.calls.push(["addIceCandidate", candidate]);
        if (candidate.candidate === "nonsense") throw new Error("nonsense");
    }

    async getStats() {
        return this.stats;
    }

    close() {
        this.isClosed = true;
    }

    // What a test does

    candidate(text, usernameFragment) {
        const candidate = { candidate: text, sdpMid: "0", sdpMLineIndex: 0, usernameFragment };
        this.onicecandidate?.({ candidate: text === null ? null : candidate });
    }

    states(ice, whole = ice) {
        this.iceConnectionState = ice;
        this.oniceconnectionstatechange?.({});
        this.connectionState = whole;
        this.onconnectionstatechange?.({});
    }

    /** The association is up, and so are this side's channels. */
    connect() {
        this.states("connected");
        this.sctp = { state: "connected", maxMessageSize: 262144, transport: { state: "connected", iceTransport: {} } };
        for (const channel of this.channels) channel.open();
    }

    /** So many bytes have arrived over a path of this generation. */
    heard(bytesReceived, usernameFragment = "local1", changes = {}) {
        const address = { candidateType: "host", protocol: "udp", address: "192.0.2.1", port: 5000 };
        this.stats = new Map([
            ["T", { id: "T", type: "transport", selectedCandidatePairId: "P" }],
            ["P", { id: "P", type: "candidate-pair", bytesReceived, localCandidateId: "L", remoteCandidateId: "R",
                currentRoundTripTime: 0.02 }],
            ["L", { id: "L", type: "local-candidate", ...address, usernameFragment, ...changes }],
            ["R", { id: "R", type: "remote-candidate", ...address, address: "192.0.2.2", port: 6000 }],
        ]);
    }
}
