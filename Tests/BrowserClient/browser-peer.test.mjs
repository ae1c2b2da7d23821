import assert from "node:assert/strict";
import { test } from "node:test";
import { BrowserPeer } from "../../Sources/RoomPage/Client/browser-peer.js";
import { FakeChannel, FakePeerConnection } from "./fake-peer-connection.mjs";
import { VirtualTime } from "./virtual-time.mjs";

const parameters = {
    reliable: {
        label: "room.reliable", protocol: "room.delivery.v1", isOrdered: true, reliability: { type: "reliable" },
    },
    topics: {
        label: "room.topics", protocol: "", isOrdered: false, reliability: { type: "retransmissions", value: 0 },
    },
};

/** A peer over a fake connection, with a delivery that takes down what it is told. */
class Driver {
    time = new VirtualTime();
    facts = [];
    told = [];
    isReady = false;
    isLeaving = false;
    /** The numbered streams of the delivery. */
    machine = { acknowledged: 0, unacknowledged: 0 };

    constructor(options = {}) {
        const { told } = this;
        const driver = this;
        this.delivery = {
            streams: { stream: () => ({ machine: driver.machine }) },
            get isReady() { return driver.isReady; },
            get isLeaving() { return driver.isLeaving; },
            detached: () => told.push(["detached"]),
            connected: () => told.push(["connected"]),
            channelOpened: (label, parameters) => {
                told.push(["channelOpened", label, parameters]);
                if (label === "room.reliable") this.isReady = true;
            },
            channelClosed: (label) => {
                told.push(["channelClosed", label]);
                if (label === "room.reliable") this.isReady = false;
            },
            received: (label, data) => told.push(["received", label, typeof data === "string" ? data : [...data]]),
            writable: (label) => told.push(["writable", label]),
            sendHint: (hint) => told.push(["sendHint", hint]),
        };
        this.peer = new BrowserPeer({
            iceServers: [{ urls: ["stun:a"] }], icePolicy: "all", delivery: this.delivery,
            report: (fact) => this.facts.push(fact), now: () => this.time.now, schedule: this.time.schedule,
            create: (configuration) => (this.connection = new FakePeerConnection(configuration)), ...options,
        });
    }

    /** The facts since the last call. */
    take() {
        return this.facts.splice(0);
    }

    kinds() {
        return this.take().map(({ type, value }) => (typeof value === "string" ? `${type} ${value}` : type));
    }

    async perform(command) {
        this.peer.perform(command);
        await this.time.settle();
    }

    /** As the offerer, with an open channel; the path is known, and the connection is idle. */
    static async connected(options, names = ["reliable", "topics"]) {
        const driver = new Driver(options);
        for (const name of names) driver.peer.openChannel(parameters[name]);
        await driver.perform({ type: "makeOffer" });
        await driver.perform({ type: "setRemoteDescription", value: { kind: "answer", text: "v=0\r\n" } });
        driver.connection.heard(100);
        driver.connection.connect();
        await driver.time.run(1);
        return driver;
    }

    get channel() {
        return this.connection.channels[0];
    }

    probes(name = "room.topics") {
        return this.connection.channels.find(({ label }) => label === name).sent.splice(0);
    }
}

test("an offerer describes itself, and its candidates and their end follow once", async () => {
    const driver = new Driver();
    driver.peer.openChannel(parameters.reliable);
    await driver.perform({ type: "makeOffer" });
    const { connection } = driver;
    connection.candidate("candidate:1 1 udp 1 192.0.2.1 5000 typ host", "local1");
    connection.candidate("candidate:2 1 udp 1 192.0.2.1 5001 typ host ufrag local1");
    connection.candidate("", "local1");
    connection.candidate(null);
    assert.equal(connection.configurations[0].iceServers[0].urls[0], "stun:a");
    const facts = driver.take();
    assert.deepEqual(facts.map(({ type }) => type),
        ["localDescription", "localCandidate", "localCandidate", "endOfLocalCandidates"]);
    assert.equal(facts[0].value.kind, "offer");
    assert.deepEqual(facts[1].value, {
        text: "candidate:1 1 udp 1 192.0.2.1 5000 typ host", mediaID: "0", mediaLineIndex: 0,
        usernameFragment: "local1",
    });
    assert.equal(facts[2].value.usernameFragment, "local1");
    assert.equal(facts[3].usernameFragment, "local1");
});

test("an offer is answered at once, and candidates are given to the browser in order", async () => {
    const driver = new Driver();
    driver.peer.perform({ type: "setRemoteDescription", value: { kind: "offer", text: "v=0\r\n" } });
    const add = (value) => driver.peer.perform({ type: "addRemoteCandidate", value });
    add({ text: "candidate:1", mediaID: "0", usernameFragment: "f" });
    add({ text: "nonsense" });
    add({ text: "", usernameFragment: "f" });
    await driver.time.settle();
    assert.deepEqual(driver.kinds(), ["localDescription"]);
    const { calls } = driver.connection;
    assert.deepEqual(calls.map(([name]) => name), [
        "setRemoteDescription", "addIceCandidate", "addIceCandidate", "addIceCandidate", "createAnswer",
        "setLocalDescription",
    ]);
    assert.deepEqual(calls[1][1],
        { candidate: "candidate:1", usernameFragment: "f", sdpMid: "0", sdpMLineIndex: undefined });
    assert.deepEqual(calls[3][1], { candidate: "", usernameFragment: "f", sdpMid: undefined, sdpMLineIndex: 0 });
});

test("a restart uses the new servers", async () => {
    const driver = await Driver.connected();
    driver.take();
    await driver.perform({ type: "restartPath", iceServers: [{ urls: ["turn:b"], username: "u", credential: "c" }] });
    assert.deepEqual(driver.connection.configurations.at(-1).iceServers,
        [{ urls: ["turn:b"], username: "u", credential: "c" }]);
    assert.deepEqual(driver.connection.calls.at(-2), ["createOffer", { iceRestart: true }]);
    assert.deepEqual(driver.kinds(), ["localDescription"]);
});

test("a description that the browser refuses is a refusal", async () => {
    const driver = new Driver();
    driver.connection.refuses = true;
    await driver.perform({ type: "setRemoteDescription", value: { kind: "offer", text: "v=0\r\n" } });
    assert.deepEqual(driver.take(), [{
        type: "descriptionRefused", value: { description: "bad line", code: "protocolViolation", isRefusal: true },
    }]);
});

test("a connection that cannot be made is closed, behind the call", async () => {
    const driver = new Driver({
        create: () => { throw Object.assign(new Error("too many"), { name: "UnknownError" }); },
    });
    assert.deepEqual(driver.facts, []);
    await driver.time.settle();
    assert.deepEqual(driver.facts,
        [{ type: "closed", value: { description: "too many", code: "resourceExhausted", isRefusal: false } }]);
});

test("channels have the parameters of the protocol, and bytes from the first message on", async () => {
    const driver = new Driver();
    driver.peer.openChannel(parameters.reliable);
    driver.peer.openChannel(parameters.topics);
    const [reliable, topics] = driver.connection.channels;
    for (const channel of [reliable, topics]) assert.equal(channel.binaryType, "arraybuffer");
    assert.equal(reliable.protocol, "room.delivery.v1");
    assert.deepEqual([topics.ordered, topics.maxRetransmits], [false, 0]);
    // Chromium may deliver messages before `open`.
    reliable.receive([1, 2]);
    assert.deepEqual(driver.told, []);
    reliable.open();
    assert.deepEqual(driver.told, [
        ["connected"], ["channelOpened", "room.reliable", parameters.reliable], ["received", "room.reliable", [1, 2]],
    ]);
    assert.deepEqual(driver.kinds(), ["state connected"]);
});

test("channels of the other side are taken with their handlers in the same task", () => {
    const driver = new Driver();
    const channel = new FakeChannel("room.topics", { ordered: false, maxRetransmits: 0 });
    channel.readyState = "open";
    driver.connection.ondatachannel({ channel });
    channel.receive("text");
    assert.equal(channel.binaryType, "arraybuffer");
    assert.deepEqual(driver.told.slice(1),
        [["channelOpened", "room.topics", parameters.topics], ["received", "room.topics", "text"]]);
    assert.deepEqual(driver.take(), [], "the reliable channel is not open");
});

test("of labels that the other side has used and closed nothing is kept", (context) => {
    const driver = new Driver();
    const { mock } = context.mock.method(Map.prototype, "set");
    const channel = new FakeChannel("theirs");
    driver.connection.ondatachannel({ channel });
    channel.open();
    // The connection's own map of the channels in use is private.
    const maps = new Set(mock.calls.filter((call) => call.arguments[0] === "theirs").map((call) => call.this));
    assert.equal(maps.size, 1);
    channel.close();
    for (const map of maps) assert.ok(!map.has("theirs"));
});

test("of several numbered channels the newest is used and read; plain ones are all read", async () => {
    const driver = await Driver.connected();
    for (const name of ["reliable", "topics"]) driver.peer.openChannel(parameters[name]);
    const [reliable, topics, newReliable, newTopics] = driver.connection.channels;
    newReliable.open();
    newTopics.open();
    driver.told.length = 0;
    reliable.receive([1]);
    newReliable.receive([2]);
    topics.receive([3]);
    assert.deepEqual(driver.told, [["received", "room.reliable", [2]], ["received", "room.topics", [3]]]);
    assert.equal(driver.peer.send("room.reliable", new Uint8Array([4])), undefined);
    assert.deepEqual(newReliable.sent, [new Uint8Array([4])]);
    driver.told.length = 0;
    reliable.close();
    assert.deepEqual(driver.told, [], "the end of an older one is no news");
    newTopics.close();
    assert.deepEqual(driver.told.map(([name]) => name), ["channelClosed", "channelOpened"], "the older one again");
});

test("a reliable channel that closes is reported, and again when it is open", async () => {
    const driver = await Driver.connected();
    driver.take();
    driver.channel.close();
    assert.deepEqual(driver.kinds(), ["channelClosed"]);
    driver.peer.openChannel(parameters.reliable);
    driver.connection.channels.at(-1).open();
    assert.deepEqual(driver.kinds(), ["state connected"]);
});

test("a message is refused with the reason", async () => {
    const driver = await Driver.connected();
    assert.equal(driver.peer.send("room.bulk", new Uint8Array(1)), "closed");
    assert.equal(driver.peer.send("room.reliable", new Uint8Array(262145)), "messageTooLarge");
    driver.channel.isFull = true;
    assert.equal(driver.peer.send("room.reliable", new Uint8Array(1)), "wouldBlock");
    driver.channel.isFull = false;
    driver.channel.readyState = "closing";
    assert.equal(driver.peer.send("room.reliable", new Uint8Array(1)), "wouldBlock", "its end will be reported");
    driver.connection.channels[1].onbufferedamountlow();
    assert.deepEqual(driver.told.at(-1), ["writable", "room.topics"]);
});

test("a path that ICE has lost is reported once, and again when it is back", async () => {
    const driver = await Driver.connected();
    driver.take();
    driver.connection.states("disconnected");
    driver.connection.states("disconnected", "failed");
    await driver.time.settle();
    assert.deepEqual(driver.kinds(), ["state disconnected"]);
    driver.connection.states("connected");
    await driver.time.settle();
    assert.deepEqual(driver.kinds(), ["state connected"]);
});

test("connectionState alone tells of a lost path, too", async () => {
    const driver = await Driver.connected();
    driver.take();
    driver.connection.states("checking", "failed");
    assert.deepEqual(driver.kinds(), ["state disconnected"]);
});

test("where a failure is final, it ends a connection that was up, but not one that was not", async () => {
    const young = new Driver({ isFailureFinal: true });
    young.connection.states("failed");
    assert.deepEqual(young.kinds(), ["state disconnected"], "a restart follows");
    const driver = await Driver.connected({ isFailureFinal: true });
    driver.take();
    driver.connection.states("failed");
    const facts = driver.take();
    assert.equal(facts.at(-1).type, "closed");
    assert.equal(facts.at(-1).value.code, "timedOut");
    assert.ok(!driver.connection.isClosed, "not before a request for a new one has gone out");
    await driver.time.run(5);
    assert.ok(driver.connection.isClosed);
    const other = await Driver.connected({ isFailureFinal: false });
    other.take();
    other.connection.states("failed");
    assert.deepEqual(other.kinds(), ["state disconnected"]);
});

test("where a failure is final, a first path that is not found soon is looked for anew", async () => {
    for (const isFailureFinal of [true, false]) {
        const driver = new Driver({ isFailureFinal });
        driver.peer.openChannel(parameters.reliable);
        await driver.perform({ type: "makeOffer" });
        await driver.perform({ type: "setRemoteDescription", value: { kind: "answer", text: "v=0\r\n" } });
        driver.take();
        await driver.time.run(10);
        assert.deepEqual(driver.kinds(), isFailureFinal ? ["state disconnected"] : []);
        driver.connection.connect();
        await driver.time.run(10.5);
        assert.ok(driver.kinds().includes("state connected"));
    }
});

test("the other side's close is an end in order, an SCTP failure is none", async () => {
    const chromium = await Driver.connected();
    chromium.take();
    chromium.channel.onerror({ error: { errorDetail: "sctp-failure", sctpCauseCode: 12, message: "Close called" } });
    assert.deepEqual(chromium.take(), [{ type: "closed", value: undefined }]);
    const firefox = await Driver.connected();
    firefox.take();
    firefox.isLeaving = true;
    firefox.connection.sctp.state = "closed";
    firefox.channel.close();
    assert.deepEqual(firefox.kinds(), ["leaving", "closed"]);
    assert.ok(firefox.told.some(([name]) => name === "detached"));
    const lost = await Driver.connected({ isFailureFinal: false });
    lost.connection.states("disconnected");
    lost.take();
    lost.connection.sctp.state = "closed";
    lost.channel.close();
    assert.equal(lost.take()[0].value.code, "timedOut", "no word of it can have come over a lost path");
    for (const isFailureFinal of [true, false]) {
        const searching = await Driver.connected({ isFailureFinal });
        await searching.perform({ type: "restartPath", iceServers: [] });
        searching.take();
        searching.connection.sctp.state = "closed";
        searching.channel.close();
        assert.equal(searching.take()[0].value?.code, isFailureFinal ? "timedOut" : undefined, "Firefox's own doing");
    }
    const broken = await Driver.connected();
    broken.take();
    broken.channel.onerror({ error: { errorDetail: "sctp-failure", sctpCauseCode: 1, message: "x" } });
    assert.equal(broken.take()[0].value.code, "closed");
});

test("a closed connection drops its handlers, reports nothing, and takes no commands", async () => {
    const driver = await Driver.connected();
    const { connection, channel } = driver;
    driver.peer.openChannel(parameters.topics);
    const opening = connection.channels.at(-1);
    const { onicecandidate, onconnectionstatechange } = connection;
    driver.take();
    await driver.perform({ type: "close" });
    assert.ok(connection.isClosed);
    for (const name of ["onicecandidate", "ondatachannel", "onconnectionstatechange", "oniceconnectionstatechange"])
        assert.equal(connection[name], null, name);
    for (const name of ["onopen", "onmessage", "onclose", "onerror", "onbufferedamountlow"])
        for (const { [name]: handler } of [channel, opening]) assert.equal(handler, null, name);
    onicecandidate({ candidate: null });
    onconnectionstatechange();
    await driver.perform({ type: "restartPath", iceServers: [] });
    await driver.time.run(30);
    assert.deepEqual(driver.take(), []);
    assert.equal(driver.peer.send("room.reliable", new Uint8Array(1)), "closed");
    assert.deepEqual(driver.told.filter(([name]) => name === "detached").length, 1);
});

test("the path is reported, again when it changes, with its generation", async () => {
    const driver = await Driver.connected();
    const [path] = driver.take().filter(({ type }) => type === "pathChanged");
    assert.deepEqual(path.value, {
        local: "host", remote: "host", summary: "udp 192.0.2.1:5000 → 192.0.2.2:6000", usernameFragment: "local1",
    });
    await driver.perform({ type: "restartPath", iceServers: [] });
    await driver.perform({ type: "setRemoteDescription", value: { kind: "answer", text: "v=0\r\n" } });
    driver.take();
    // No event tells of it in Firefox: it is looked for.
    driver.connection.heard(0, "local2", { candidateType: "relay" });
    await driver.time.run(1.3);
    assert.deepEqual(driver.kinds(), ["checked", "pathChanged"]);
    assert.equal(driver.peer.statistics.roundTrip, 0.02);
});

/** Chromium goes on sending over the old one until something comes, and messages may wait for a timer of SCTP. */
test("something is sent at once over the path of a restart", async () => {
    const driver = await Driver.connected();
    const nudges = () => driver.connection.channels.filter(({ id }) => id !== null);
    await driver.perform({ type: "restartPath", iceServers: [] });
    await driver.perform({ type: "setRemoteDescription", value: { kind: "answer", text: "v=0\r\n" } });
    await driver.time.run(1);
    assert.deepEqual(nudges(), []);
    driver.connection.heard(0, "local2", { candidateType: "relay" });
    await driver.time.run(1.3);
    assert.deepEqual(nudges().map(({ id, readyState }) => [id, readyState]), [[255, "closed"]]);
    // The last one is not answered yet.
    driver.connection.createDataChannel = () => { throw new Error("in use"); };
    driver.connection.heard(0, "local2");
    driver.take();
    await driver.time.run(3);
    assert.ok(driver.kinds().includes("pathChanged"));
});

test("a probe is a message that nobody reads, and bytes that arrive answer it", async () => {
    const driver = await Driver.connected();
    driver.take();
    driver.probes();
    await driver.perform({ type: "probe" });
    assert.deepEqual(driver.probes(), [new Uint8Array([0])]);
    driver.connection.heard(150);
    await driver.time.run(1.4);
    assert.deepEqual(driver.kinds(), ["liveness"]);
});

test("without the channel for topics a probe is a hint that is unknown", async () => {
    const driver = await Driver.connected({}, ["reliable"]);
    await driver.perform({ type: "probe" });
    await driver.perform({ type: "probe" });
    assert.deepEqual(driver.probes("room.reliable").slice(-1), [new Uint8Array([6, 0])]);
    driver.channel.bufferedAmount = 2;
    await driver.perform({ type: "probe" });
    assert.deepEqual(driver.probes("room.reliable"), [], "what waits is a probe as well");
});

test("silence after a message is reported within a second, and its end", async () => {
    const driver = await Driver.connected();
    driver.take();
    await driver.time.run(1.1);
    driver.peer.send("room.reliable", new Uint8Array(1));
    await driver.time.run(2.2);
    assert.deepEqual(driver.take(), [{ type: "liveness", value: { type: "suspect", since: 1.1 } }]);
    driver.connection.heard(200);
    await driver.time.run(2.6);
    assert.deepEqual(driver.take(), [{ type: "liveness", value: { type: "alive" } }]);
});

test("an idle path that goes silent is noticed within four seconds", async () => {
    const driver = await Driver.connected();
    driver.take();
    await driver.time.run(4.5);
    assert.equal(driver.take()[0].value.type, "suspect");
});

test("an idle path that answers is probed every few seconds and never suspect", async () => {
    const driver = await Driver.connected();
    driver.take();
    driver.probes();
    const topics = driver.connection.channels[1];
    let bytes = 100;
    topics.send = (data) => {
        topics.sent.push(data);
        driver.time.schedule(0.2, () => driver.connection.heard((bytes += 50)));
    };
    await driver.time.run(31);
    assert.deepEqual(driver.kinds(), []);
    assert.ok(driver.probes().length <= 13);
});

test("messages that arrive are signs of life, without a look at the counters", async () => {
    const driver = await Driver.connected();
    await driver.time.run(6);
    driver.take();
    let looks = 0;
    driver.connection.getStats = async () => (looks++, new Map());
    for (let tick = 60; tick < 160; tick++) {
        driver.peer.send("room.reliable", new Uint8Array(1));
        driver.channel.receive([5, 0, 0, 0, 0]);
        await driver.time.run((tick + 1) / 10);
    }
    assert.ok(!driver.kinds().some((kind) => kind === "liveness suspect"));
    assert.ok(looks <= 1, `${looks} looks`);
});

test("a page that was suspended asks before it judges", async () => {
    const driver = await Driver.connected();
    driver.take();
    driver.probes();
    driver.peer.send("room.reliable", new Uint8Array(1));
    driver.time.suspend(60);
    await driver.time.run(60.3);
    assert.deepEqual(driver.take(), []);
    assert.ok(driver.probes().length > 0);
    driver.connection.heard(500);
    await driver.time.run(62);
    assert.deepEqual(driver.take(), [], "it was alive all the time");
    assert.equal(driver.peer.statistics.lastEvidence >= 60, true);
});

/** A path that is silent from 1.1 s to `end`, while a message is outstanding. Returns the kinds of facts since then. */
async function outage(end, { canSignal = () => true, acknowledgesAfter, isLast = true } = {}) {
    const driver = await Driver.connected({ canSignal });
    await driver.time.run(1.1);
    driver.machine.unacknowledged = 1;
    driver.peer.send("room.reliable", new Uint8Array(1));
    await driver.time.run(end);
    driver.take();
    driver.connection.heard(200);
    if (acknowledgesAfter !== undefined)
        driver.time.schedule(acknowledgesAfter, () => {
            driver.machine.acknowledged = 1;
            if (isLast) driver.machine.unacknowledged = 0;
        });
    await driver.time.run(end + 4);
    return { driver, kinds: driver.kinds() };
}

test("a connection whose path is back, but not its data, is replaced where that is possible", async () => {
    const stuck = await outage(7);
    assert.deepEqual(stuck.kinds, ["liveness", "closed"]);
    const short = await outage(3);
    assert.ok(!short.kinds.includes("closed"), "SCTP's timer is near");
    const acknowledged = await outage(7, { acknowledgesAfter: 0.4 });
    assert.ok(!acknowledged.kinds.includes("closed"));
    const former = await outage(7, { acknowledgesAfter: 0, isLast: false });
    assert.ok(former.kinds.includes("closed"), "that of what had arrived before the outage shows nothing");
    const alone = await outage(7, { canSignal: () => false });
    assert.ok(!alone.kinds.includes("closed"), "the old one is better than none");
    let asked = 0;
    const late = await outage(7, { canSignal: () => ++asked > 5 });
    assert.ok(late.kinds.includes("closed"), "as soon as signaling is back");
});

test("a diagnosis names the layer that is missing", async () => {
    const driver = new Driver();
    driver.peer.openChannel(parameters.reliable);
    await driver.perform({ type: "makeOffer" });
    driver.take();
    const code = async () => {
        await driver.perform({ type: "diagnose" });
        return driver.take().at(-1).value?.code;
    };
    assert.equal(await code(), undefined, "the other side has not answered");
    await driver.perform({ type: "setRemoteDescription", value: { kind: "answer", text: "v=0\r\n" } });
    assert.equal(await code(), "gathering");
    driver.connection.candidate("candidate:1 1 udp 1 192.0.2.1 5000 typ host", "local1");
    assert.equal(await code(), "noRemoteCandidates");
    const text = "candidate:2 1 udp 1 192.0.2.2 5000 typ host";
    await driver.perform({ type: "addRemoteCandidate", value: { text } });
    assert.equal(await code(), "checksUnanswered");
    driver.connection.states("connected", "connecting");
    assert.equal(await code(), "handshakeUnanswered");
    driver.connection.connect();
    assert.equal(await code(), undefined);
    driver.channel.close();
    assert.equal(await code(), "channelNotOpen");
});
