// Whole rooms in virtual time, against a scripted server and peer connections that a test moves.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { browserEnvironment } from "../../Sources/RoomPage/Client/room-connection.js";
import * as client from "../../Sources/RoomPage/Client/room.js";
import { FakeBrowser, joinedOnWire, otherOnWire } from "./room-support.mjs";

const { HostRole, JSONMessageCodec, Room, RoomError, TransportRuntime, errorOfEndReason } = client;
const names = (events) => events.map(({ type }) => type);

/** Everything that an async iterator has given. */
function collect(iterator) {
    const values = [];
    values.ended = (async () => {
        for await (const value of iterator) values.push(value);
    })();
    return values;
}

/** A runtime in virtual time, and the result of connecting. */
function connecting(options = {}, configuration = {}) {
    const browser = new FakeBrowser();
    const runtime = new TransportRuntime({ server: "ws://rooms.example/", ...configuration }, browser.environment);
    const result = runtime.connect({ toRoom: "lobby", as: "ann", host: HostRole.ifFirst, ...options });
    result.catch(() => {});
    return { browser, runtime, result };
}

/** A room that was joined, with these others in it. */
async function inRoom(roster = [], configuration = {}) {
    const { browser, runtime, result } = connecting({}, configuration);
    browser.socket.open();
    browser.socket.receive(joinedOnWire({ roster }));
    return { browser, runtime, room: await result };
}

test("what room.d.ts declares is there", () => {
    const types = readFileSync(new URL("../../Sources/RoomPage/Client/room.d.ts", import.meta.url), "utf8");
    const declared = [...types.matchAll(/^export declare (?:class|const|function) (\w+)/gm)].map((match) => match[1]);
    assert.deepEqual(declared.sort(), Object.keys(client).sort());
    for (const [name, type] of [["Room", Room], ["TransportRuntime", TransportRuntime]]) {
        const body = types.split(`export declare class ${name} {`)[1].split("\n}\n")[0].replace(/\/\*.*?\*\//gs, "");
        const members = new Set([...body.matchAll(/^    (?:readonly )?(\w+)[<(:]/gm)].map((match) => match[1]));
        for (const member of members) {
            if (["constructor", "name"].includes(member)) continue;
            assert.ok(member in type.prototype, `${name}.${member}`);
        }
    }
});

test("connect greets, and returns the room together with its roster", async () => {
    const { browser, result } = connecting({ metadata: { colour: "red" } });
    browser.socket.open();
    const [hello] = browser.socket.sent;
    const { room: name, role, metadata } = hello;
    assert.deepEqual([name, role, hello.name, metadata], ["lobby", "first", "ann", { colour: "red" }]);
    assert.deepEqual(hello.capabilities, ["delivery.v1", "exchange.v1", "attributes.v1", "message.max.4194304"]);
    browser.socket.receive(joinedOnWire({ roster: [otherOnWire("p2")] }));
    const room = await result;
    assert.deepEqual([room.selfID, room.isHost, room.participants.map(({ id }) => id)], ["p1", true, ["p2"]]);
    // The offerer is the one with the smaller id.
    await browser.settle();
    assert.deepEqual(browser.connections.length, 1);
    assert.equal(browser.socket.sent.at(-1).description.type, "offer");
});

test("the browser loads what connections need while the server is asked", () => {
    const browser = new FakeBrowser();
    let sockets;
    const environment = { ...browser.environment, prepareConnections: () => { sockets = browser.sockets.length; } };
    new TransportRuntime({ server: "ws://rooms.example/" }, environment)
        .connect({ toRoom: "lobby", as: "ann", host: HostRole.ifFirst }).catch(() => {});
    assert.equal(sockets, 1);
});

test("nothing is left of it, and a browser without connections may join", () => {
    const made = [];
    globalThis.RTCPeerConnection = class {
        constructor() { made.push(this); }
        close() { this.isClosed = true; }
    };
    try {
        browserEnvironment().prepareConnections();
    } finally {
        delete globalThis.RTCPeerConnection;
    }
    assert.deepEqual(made.map(({ isClosed }) => isClosed), [true]);
    browserEnvironment().prepareConnections();
});

test("a configuration that cannot be used is refused, naming the value", () => {
    const { environment } = new FakeBrowser();
    for (const [configuration, words] of [
        [{ server: "http://a" }, "ws://"], [{ server: "a" }, "not a URL"], [{ sendLimit: 1 }, "sendLimit"],
        [{ maximumMessageSize: 2 ** 25 }, "sendLimit"], [{ iceServers: [{ urls: ["turn:a"] }] }, "username"],
    ]) {
        assert.throws(() => new TransportRuntime({ server: "ws://a/", ...configuration }, environment), (error) =>
            error instanceof RoomError && error.code === "configuration" && error.message.includes(words));
    }
});

test("a refused first join throws the server's code, and the room has ended", async () => {
    const { browser, result } = connecting();
    browser.socket.open();
    browser.socket.receive({ type: "error", code: "name_taken", message: "taken", retryable: false, fatal: true });
    await assert.rejects(result, (error) => error.code === "refused" && error.protocolCode === "name_taken");
    assert.equal(browser.socket.closedWith, 1000);
});

test("a server that is not reached ends the join after joinTimeout, and nothing goes on afterwards", async () => {
    const { browser, result } = connecting({}, { joinTimeout: 10 });
    for (let second = 0; second < 12; second += 0.25) {
        for (const request of browser.requests.splice(0)) request.fail(new TypeError("refused"));
        if (browser.socket.readyState === 0) browser.socket.end();
        await browser.run(0.25);
    }
    await assert.rejects(result, (error) => error.code === "timed_out" && error.isRetryable);
    const { length } = browser.sockets;
    await browser.run(120);
    assert.equal(browser.sockets.length, length);
});

test("time in which the room does not exist yet does not count; an abort ends the wait", async () => {
    const controller = new AbortController();
    const { browser, result } = connecting({ host: HostRole.awaited, signal: controller.signal }, { joinTimeout: 10 });
    browser.socket.open();
    assert.equal(browser.socket.sent[0].wait, true);
    for (let second = 0; second < 60; second += 5) {
        browser.socket.receive({ type: "waiting", pingInterval: 5, pingDeadline: 5 });
        await browser.run(5);
    }
    controller.abort();
    await assert.rejects(result, { code: "cancelled" });
});

test("a lost connection is resumed unnoticed: the events say so, and messages are numbered on", async () => {
    const { browser, room } = await inRoom([otherOnWire("a")]);
    const events = collect(room.events());
    room.update({ metadata: { a: "1" } });
    assert.equal(browser.socket.sent.at(-1).seq, 1);
    browser.socket.end();
    room.update({ metadata: { a: "2" } });
    await browser.run(0.2);
    browser.requests[0].answer();
    await browser.settle();
    browser.socket.open();
    const { resume } = browser.socket.sent[0];
    assert.deepEqual([resume.sessionToken, resume.mustRejoin, resume.attempt], ["t1", false, 2]);
    browser.socket.receive(joinedOnWire({ resumed: true, received: 0, roster: [otherOnWire("a")] }));
    await browser.settle();
    assert.deepEqual(browser.socket.sent.slice(1).map(({ seq, metadata }) => [seq, metadata.a]), [[1, "1"], [2, "2"]]);
    const incident = events.find(({ type }) => type === "incident").incident;
    assert.deepEqual([incident.cause, incident.outcome], ["connectionLost", "recovered"]);
    assert.deepEqual(incident.steps.map(({ kind }) => kind), ["lost", "attempt", "connected", "resumed"]);
    assert.equal(names(events).filter((type) => type === "peerJoined").length, 1);
});

test("events: the first consumer has all of them, later ones the present state; statuses are coalesced", async () => {
    const { browser, room } = await inRoom([otherOnWire("a")]);
    const late = room.events();
    const first = collect(room.events());
    browser.socket.receive({ type: "peerJoined", seq: 1, participant: otherOnWire("b") });
    browser.socket.receive({ type: "roomChanged", seq: 2, attributes: { map: "x" }, attributesVersion: 1 });
    await browser.settle();
    const second = collect(room.events());
    await browser.settle();
    assert.deepEqual(names(first).filter((type) => type === "peerJoined").length, 2);
    assert.deepEqual(names(second), [
        "signaling", "joined", "attributesChanged", "peerJoined", "peerJoined", "peer", "peer",
    ]);
    room.leave({ within: 0 });
    await browser.run(1);
    await Promise.all([first.ended, second.ended]);
    assert.deepEqual(names(first).at(-1), "left");
    const kept = collect(late);
    await kept.ended;
    assert.equal(names(kept).filter((type) => type === "signaling").length, 1);
});

test("snapshots are one value: the present one at once, then the newest; the last has an endReason", async () => {
    const { browser, room } = await inRoom();
    const snapshots = collect(room.snapshots());
    await browser.settle();
    assert.equal(snapshots.length, 1);
    for (const id of ["b", "a"]) {
        browser.socket.receive({ type: "peerJoined", seq: id === "b" ? 1 : 2, participant: otherOnWire(id) });
    }
    await browser.settle();
    const snapshot = snapshots.at(-1);
    assert.deepEqual(snapshot.members.map(({ id }) => id), ["a", "b"]);
    assert.deepEqual([snapshot.selfID, snapshot.host, snapshot.isHost], ["p1", "p1", true]);
    browser.socket.receive({
        type: "hostChanged", seq: 3, participant: "a", hostTerm: 2, sessionToken: "t2",
    });
    await browser.settle();
    assert.deepEqual([room.isHost, room.snapshot.host], [false, "a"]);
    browser.socket.receive({ type: "error", code: "kicked", message: "bye", retryable: false, fatal: true });
    await snapshots.ended;
    assert.deepEqual(snapshots.at(-1).endReason, { type: "kicked", message: "bye" });
    assert.equal(errorOfEndReason(room.endReason).protocolCode, "kicked");
    await assert.rejects(room.send("x"), { code: "left" });
});

test("send waits for the join, and reports nobody in an empty room", async () => {
    const browser = new FakeBrowser();
    const runtime = new TransportRuntime({ server: "ws://rooms.example/" }, browser.environment);
    const room = runtime.open({ room: "lobby", as: "ann", host: true });
    const sending = room.send("hello");
    assert.throws(() => room.trySend("hello", { to: "a" }), { code: "would_block" });
    browser.socket.open();
    browser.socket.receive(joinedOnWire());
    assert.deepEqual(await sending, { missed: [], accepted: [], acceptedCount: 0, isComplete: true });
    await assert.rejects(room.send("hello", { to: "a" }), { code: "peer_not_found" });
    await assert.rejects(room.request("m", "x", { to: "a" }), { code: "peer_gone" });
    await assert.rejects(room.topic("t").publish("x", { to: "a" }), { code: "peer_not_found" });
    await assert.rejects(room.topic("").publish("x"), { code: "configuration" });
    assert.throws(() => room.handle("x".repeat(65), () => ""), { code: "configuration" });
    const handler = room.handle("m", () => "");
    assert.throws(() => room.handle("m", () => ""), { code: "configuration" });
    handler.remove();
    room.handle("m", () => "", { codec: JSONMessageCodec });
});

test("for a member that is not reached, reliable messages wait, and lossy ones are dropped", async () => {
    const { room } = await inRoom([otherOnWire("a", { capabilities: ["delivery.v1", "exchange.v1"] })]);
    assert.deepEqual((await room.send("hello")).accepted, ["a"]);
    const report = await room.send("hello", { channel: "lossy" });
    assert.deepEqual(report.missed, [{ participant: "a", reason: { type: "dropped" } }]);
    await assert.rejects(room.send(new Uint8Array(5 << 20)), (error) =>
        error.code === "message_too_large" && error.report.acceptedCount === 0);
});

test("messages that nobody has got are told when their receiver leaves", async () => {
    const { browser, room } = await inRoom([otherOnWire("a", { capabilities: ["delivery.v1"] })]);
    const events = collect(room.events());
    await room.send("hello");
    browser.socket.receive({ type: "peerLeft", seq: 1, participant: "a", session: "s-a", reason: "timed_out" });
    await browser.settle();
    const undelivered = events.find(({ type }) => type === "undelivered");
    assert.deepEqual([undelivered.participant, undelivered.count], ["a", 1]);
    assert.equal(events.find(({ type }) => type === "peerLeft").reason, "timedOut");
});

test("leave says so, closes in order, and is idempotent", async () => {
    const { browser, room, runtime } = await inRoom();
    await room.leave();
    assert.deepEqual(browser.socket.types().at(-1), "leave");
    assert.equal(browser.socket.closedWith, 1000);
    assert.deepEqual(room.endReason, { type: "left" });
    await room.leave();
    await runtime.stop();
    assert.throws(() => runtime.open({ room: "lobby", as: "ann" }), { code: "left" });
});

test("when the page ends a guest leaves, and a host only closes its connection", async () => {
    const end = (browser) => browser.window.dispatchEvent(Object.assign(new Event("pagehide"), { persisted: false }));
    const host = await inRoom();
    end(host.browser);
    assert.deepEqual([host.browser.socket.types().at(-1), host.browser.socket.closedWith], ["hello", 1000]);
    const { browser, result } = connecting();
    browser.socket.open();
    browser.socket.receive(joinedOnWire({ host: false }));
    await result;
    end(browser);
    assert.deepEqual([browser.socket.types().at(-1), browser.socket.closedWith], ["leave", 1000]);
});

test("a page that comes back asks for a sign of life, and tries again at once without a connection", async () => {
    const { browser, room } = await inRoom();
    browser.window.dispatchEvent(new Event("online"));
    assert.equal(browser.socket.types().at(-1), "ping");
    // There is no answer: the connection is half-open.
    await browser.run(2.1);
    assert.notEqual(room.signalingStatus.type, "connected");
    assert.equal(browser.socket.closedWith, 1000);
    room.reconnectNow();
    assert.equal(browser.requests.length, 1);
});

test("a token provider is asked before an attempt; one that fails is asked again", async () => {
    const asked = [];
    const { browser, result } = connecting({}, {
        token: (request) => {
            asked.push(request.reason);
            if (asked.length === 1) throw new Error("not now");
            return { value: "secret", validFor: 60 };
        },
    });
    await browser.run(1);
    browser.socket.open();
    assert.equal(browser.socket.sent[0].token, "secret");
    browser.socket.receive(joinedOnWire());
    await result;
    assert.deepEqual(asked, ["firstJoin", "firstJoin"]);
});

test("a signal for an ended room, or nonsense of the server, breaks nothing", async () => {
    const { browser, room } = await inRoom([otherOnWire("a")]);
    const events = collect(room.events());
    browser.socket.receive({ type: "news", seq: 1 });
    browser.socket.receive("nonsense");
    await browser.settle();
    assert.deepEqual(events.filter(({ type }) => type === "error").map(({ error }) => error.protocolCode),
        ["unknown_type", "malformed"]);
    assert.notEqual(room.signalingStatus.type, "connected");
});
