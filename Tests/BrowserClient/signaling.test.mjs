// Signaling: attempts, streams, signs of life, credentials; the messages on the wire; WebSockets as browsers have them.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Backoff } from "../../Sources/RoomPage/Client/backoff.js";
import { BrowserSignaling } from "../../Sources/RoomPage/Client/browser-signaling.js";
import { backoffConfiguration, machineConfiguration } from "../../Sources/RoomPage/Client/configuration.js";
import { PageEvents } from "../../Sources/RoomPage/Client/page-events.js";
import { decodeServerMessage, encodeClientMessage } from "../../Sources/RoomPage/Client/protocol-codec.js";
import { below, duration, uniform } from "../../Sources/RoomPage/Client/random.js";
import { SignalingMachine } from "../../Sources/RoomPage/Client/signaling-machine.js";
import { plus } from "../../Sources/RoomPage/Client/time.js";
import { SeededGenerator } from "./pair-support.mjs";
import { FakeBrowser, joined, joinedOnWire } from "./room-support.mjs";

const names = (actions) => actions.map(({ type }) => type);
const find = (actions, type) => actions.find((action) => action.type === type);
const sent = (actions) => actions.filter(({ type }) => type === "send").map(({ value0 }) => value0);
const update = (text) => ({ type: "update", metadata: { text } });

/** A machine that has been let in at time 0, over the connection of generation 1. */
function admitted(values = {}, configuration = {}) {
    const random = new SeededGenerator(1);
    const machine = new SignalingMachine(
        machineConfiguration({ room: "r", role: "host", name: "n", ...configuration }));
    machine.start(0);
    machine.transportConnected(1, 0);
    machine.sendHello({});
    const actions = machine.received({ message: { type: "joined", value: joined(values) } }, 1, 0, random);
    return { machine, random, actions };
}

test("an attempt opens a transport, greets, and is connected by joined", () => {
    const machine = new SignalingMachine(machineConfiguration({ room: "r", role: "host", name: "n" }));
    assert.deepEqual(names(machine.start(0)), ["changeStatus", "openTransport", "scheduleTimer"]);
    const hello = find(machine.transportConnected(1, 0.1), "requestHello");
    assert.deepEqual(hello, {
        type: "requestHello", token: undefined, received: 0, mustRejoin: false, attempt: 1,
    });
    const { actions } = admitted();
    assert.deepEqual(find(actions, "changeStatus").value, { type: "connected" });
    assert.equal(actions.at(-1).value.type, "joined");
});

test("delays between attempts are random up to a step that doubles, and a stable connection begins anew", () => {
    const random = new SeededGenerator(1);
    const backoff = new Backoff(backoffConfiguration);
    const limits = [0.1, 0.2, 0.4, 0.8, 1, 1];
    for (const limit of limits) {
        const delay = backoff.nextDelay(0, random);
        assert.ok(delay >= 0 && delay <= limit, `${delay} is over ${limit}`);
    }
    backoff.stabilized();
    assert.ok(backoff.nextDelay(9, random) <= 0.1);
});

test("the longest step grows with the age of an outage", () => {
    const backoff = new Backoff(backoffConfiguration);
    assert.equal(backoff.cap(30), 1);
    assert.equal(backoff.cap(90), 3);
    assert.equal(backoff.cap(3000), 10);
});

test("a closed transport waits as long as the backoff says, and a stable connection begins it anew", () => {
    const { machine, random } = admitted();
    // The same draws as the machine's.
    const twin = new SeededGenerator(1);
    const backoff = new Backoff(backoffConfiguration);
    const close = (generation, now) => {
        machine.transportClosed(generation, undefined, now, random);
        const { nextAttemptAt, attempt } = machine.status;
        assert.equal(nextAttemptAt, plus(now, backoff.nextDelay(now, twin)));
        return attempt;
    };
    const enter = (generation, now) => {
        machine.timerFired({ type: "attempt" }, now, random);
        machine.transportConnected(generation, now);
        machine.received({ message: { type: "joined", value: joined({ epoch: generation }) } }, generation, now, random);
    };
    assert.equal(close(1, 1), 2);
    enter(2, 2);
    assert.equal(close(2, 3), 3, "it was not connected for long enough");
    enter(3, 4);
    machine.timerFired({ type: "connection", value: "stability" }, 9, random);
    backoff.stabilized();
    assert.equal(close(3, 9), 1);
});

test("a resume repeats what the server has not got, under its numbers", () => {
    const { machine, random } = admitted();
    assert.equal(sent(machine.send(update("a"), 1, random))[0].sequence, 1);
    machine.send(update("b"), 1, random);
    machine.transportClosed(1, undefined, 2, random);
    machine.send(update("c"), 2, random);
    machine.timerFired({ type: "attempt" }, 5, random);
    const hello = find(machine.transportConnected(2, 5), "requestHello");
    assert.equal(hello.mustRejoin, false);
    machine.sendHello({});
    const actions = machine.received(
        { message: { type: "joined", value: joined({ isResumed: true, received: 1 }) } }, 2, 5, random);
    assert.deepEqual(sent(actions).map(({ sequence, message }) => [sequence, message.metadata.text]),
        [[2, "b"], [3, "c"]]);
});

test("a rejoin sends the latest metadata only, under new numbers, and no signal", () => {
    const { machine, random } = admitted();
    for (const text of ["a", "b"]) machine.send(update(text), 1, random);
    machine.send({ type: "signal", value: { peer: "p", body: { type: "restartRequest", reason: "" } } }, 1, random);
    machine.transportClosed(1, undefined, 2, random);
    machine.timerFired({ type: "attempt" }, 5, random);
    machine.transportConnected(2, 5);
    const actions = machine.received({ message: { type: "joined", value: joined({ epoch: 2 }) } }, 2, 5, random);
    assert.deepEqual(sent(actions).map(({ sequence, message }) => [sequence, message.metadata.text]), [[1, "b"]]);
});

test("after a gap the connection ends, and the next hello asks for a rejoin", () => {
    const { machine, random } = admitted();
    const message = { type: "roomChanged", value: { version: 1, values: {} } };
    assert.ok(find(machine.received({ sequence: 1, message }, 1, 1, random), "deliver"));
    assert.equal(find(machine.received({ sequence: 1, message }, 1, 1, random), "deliver"), undefined);
    assert.deepEqual(find(machine.received({ sequence: 3, message }, 1, 1, random), "abortTransport").value, 1);
    machine.timerFired({ type: "attempt" }, 5, random);
    const hello = find(machine.transportConnected(2, 5), "requestHello");
    assert.deepEqual([hello.received, hello.mustRejoin], [1, true]);
});

test("silence is answered by a ping, and no answer to it ends the connection", () => {
    const { machine, random } = admitted();
    const liveness = { type: "connection", value: "liveness" };
    const ping = machine.timerFired(liveness, 5, random);
    assert.deepEqual(sent(ping)[0].message, { type: "ping", id: 1 });
    assert.deepEqual(names(machine.timerFired(liveness, 10, random)).slice(0, 1), ["abortTransport"]);
    assert.equal(machine.status.cause.cause, "silence");
});

test("a check that is far too late leads to a ping, not to an end", () => {
    const { machine, random } = admitted();
    machine.timerFired({ type: "connection", value: "liveness" }, 5, random);
    const actions = machine.checkLateness(60, random);
    assert.deepEqual(sent(actions)[0].message, { type: "ping", id: 2 });
    assert.ok(machine.isConnected && machine.isCatchingUp);
    machine.received({ message: { type: "pong", id: 2 } }, 1, 60.1, random);
    assert.ok(!machine.isCatchingUp);
});

test("numbered messages are acknowledged with the next message, after 0.2 s, or at the 16th", () => {
    const { machine, random } = admitted();
    const receive = (sequence) => machine.received(
        { sequence, message: { type: "roomChanged", value: { version: 1, values: {} } } }, 1, 1, random);
    receive(1);
    assert.equal(sent(machine.send(update("a"), 1, random))[0].ack, 1);
    for (let sequence = 2; sequence < 17; sequence += 1) assert.equal(sent(receive(sequence)).length, 0);
    assert.deepEqual(sent(receive(17))[0].message, { type: "ack", received: 17 });
    receive(18);
    const ack = machine.timerFired({ type: "connection", value: "acknowledgement" }, 1.2, random);
    assert.deepEqual(sent(ack)[0].message, { type: "ack", received: 18 });
});

test("more than the queue holds is dropped, reported, and rejoined", () => {
    const { machine, random } = admitted();
    machine.transportClosed(1, undefined, 1, random);
    let overflow;
    for (let count = 0; count <= 1024 && !overflow; count += 1) {
        overflow = find(machine.send(update("a"), 1, random), "overflow");
    }
    assert.equal(overflow.dropped, 1024);
    assert.equal(machine.queuedMessages, 1);
    machine.timerFired({ type: "attempt" }, 9, random);
    assert.ok(find(machine.transportConnected(2, 9), "requestHello").mustRejoin);
});

test("a refused credential is fetched again at once, a second time behind a delay, and not for another reason", () => {
    const random = new SeededGenerator(1);
    const machine = new SignalingMachine(
        machineConfiguration({ room: "r", role: "guest", name: "n", hasCredentialProvider: true }));
    assert.equal(find(machine.start(0), "requestCredential").forced, false);
    machine.credentialReady("one", undefined, 0);
    machine.transportConnected(1, 0);
    const refusal = (code) => ({ description: "no", isRetryable: false, cause: "refused", code });
    const actions = machine.refreshCredential(refusal("unauthorized"), 1, random);
    assert.equal(find(actions, "requestCredential").forced, true);
    machine.credentialReady("two", undefined, 1);
    machine.transportConnected(2, 1);
    assert.ok(!machine.refreshCredential(refusal("unauthorized"), 2, random));
    assert.ok(machine.refreshCredential(refusal("token_expired"), 2, random));
    assert.ok(machine.status.nextAttemptAt > 2);
});

test("waiting for a room that does not exist is no silence", () => {
    const random = new SeededGenerator(1);
    const machine = new SignalingMachine(
        machineConfiguration({ room: "r", role: "guest", waitsForRoom: true, name: "n" }));
    machine.start(0);
    machine.transportConnected(1, 0);
    machine.received({ message: { type: "waiting", pingInterval: 5, pingDeadline: 5 } }, 1, 1, random);
    assert.equal(machine.status.cause.cause, "waitingForRoom");
    assert.deepEqual(names(machine.timerFired({ type: "attempt" }, 9, random)), ["scheduleTimer"]);
    assert.ok(names(machine.timerFired({ type: "attempt" }, 11, random)).includes("abortTransport"));
});

// Random values

test("random numbers are made of 64 bits as Swift makes them", () => {
    const list = (...values) => ({ next: () => BigInt(values.shift()) });
    // The upper half of the product with the number of values.
    assert.equal(uniform(list(2n ** 63n + 1n), 0, 9), 5);
    assert.equal(uniform(list(2n ** 64n - 1n), 0, 9), 9);
    // 0 is below the threshold of 10, which is (2⁶⁴ − 10) % 10 = 6: another number is drawn.
    assert.equal(below(list(0n, 2n ** 63n + 1n), 10n), 5n);
    assert.equal(duration(list(2n ** 63n), 1), 0.5);
    assert.equal(duration(list(), 0), 0);
});

// Messages

test("client messages have their form on the wire", () => {
    const encode = (envelope) => JSON.parse(encodeClientMessage(envelope));
    assert.deepEqual(
        encode({
            message: {
                type: "hello", value: {
                    version: 1, minimumVersion: 1, room: "r", role: "guest", waitsForRoom: true, name: "n",
                    metadata: { a: "b" }, token: "t", capabilities: ["delivery.v1"],
                    resume: { sessionToken: "x", received: 3, mustRejoin: true, attempt: 2 },
                },
            },
        }), {
            type: "hello", version: 1, minimumVersion: 1, room: "r", role: "guest", wait: true, name: "n",
            metadata: { a: "b" }, token: "t", capabilities: ["delivery.v1"],
            resume: { sessionToken: "x", received: 3, mustRejoin: true, attempt: 2 },
        });
    const head = { peer: "p", session: "s", connection: "c", negotiation: 1 };
    const signal = (body) => encode({ sequence: 4, ack: 2, message: { type: "signal", value: { ...head, body } } });
    assert.deepEqual(signal({ type: "description", value: { kind: "offer", text: "v=0" } }),
        { type: "signal", ...head, description: { type: "offer", sdp: "v=0" }, seq: 4, ack: 2 });
    assert.deepEqual(
        signal({ type: "candidate", value: { text: "c", mediaID: "0", mediaLineIndex: 0, usernameFragment: "u" } })
            .candidate, { candidate: "c", sdpMid: "0", sdpMLineIndex: 0, usernameFragment: "u" });
    assert.deepEqual(signal({ type: "endOfCandidates", usernameFragment: "u" }).endOfCandidates,
        { usernameFragment: "u" });
    assert.deepEqual(encode({ message: { type: "kick", value: "p", reason: "r" } }),
        { type: "kick", participant: "p", reason: "r" });
    assert.deepEqual(encode({ message: { type: "updateRoom", value: { version: 2, values: { a: "b" } } } }),
        { type: "updateRoom", attributes: { a: "b" }, attributesVersion: 2 });
});

test("server messages are read, and their limits kept", () => {
    const read = (message) => decodeServerMessage(JSON.stringify(message));
    assert.deepEqual(read(joinedOnWire()).message.value, joined({ iceServers: { servers: [], ttl: undefined } }));
    assert.deepEqual(read({ type: "peerLeft", seq: 3, participant: "p", session: "s", reason: "timed_out" }), {
        sequence: 3, ack: undefined, message: { type: "peerLeft", value0: "p", value1: "s", reason: "timedOut" },
    });
    assert.deepEqual(read({ type: "goingAway", retryAfter: { earliest: 1, latest: 2 } }).message,
        { type: "goingAway", retryAfter: { lowerBound: 1, upperBound: 2 } });
    assert.equal(read({ type: "error", code: "kicked", message: "a\u0007b", fatal: true }).message.value.message,
        "a\ufffdb");
    const refusals = [
        ["nonsense", "malformed", true], ["[1]", "malformed", true], ['{"type":"joined","version":2}',
            "version_mismatch", true], ['{"type":"new","seq":7}', "unknown_type", false],
        ['{"type":"ping","id":-1}', "malformed", true], ['{"type":"ping","id":1,"seq":0}', "malformed", true],
        [JSON.stringify({ type: "roomChanged", seq: 2, attributes: { a: "x".repeat(1025) } }), "limit_exceeded", false],
        [`{"type":"ping","id":1,"x":"${"x".repeat(1 << 20)}"}`, "limit_exceeded", true],
        ['{"type":"constructor"}', "unknown_type", false],
        ['{"type":"signal","peer":"p q","session":"s","connection":"c","negotiation":1}', "malformed", true],
        [JSON.stringify({
            type: "signal", peer: "p", session: "s", connection: "c", negotiation: 1,
            description: { type: ["offer"], sdp: "v=0" },
        }), "malformed", true],
        // Too many are too many, whatever they hold.
        [JSON.stringify({ type: "roomChanged", attributes: { ...Array(17).fill(1) } }), "limit_exceeded", false],
    ];
    for (const [text, code, isFatal] of refusals) {
        assert.throws(() => decodeServerMessage(text), (error) => {
            assert.deepEqual([error.code, error.isFatal], [code, isFatal], text.slice(0, 60));
            return true;
        });
    }
    assert.throws(() => decodeServerMessage('{"type":"new","seq":7}'), (error) => error.sequence === 7);
    assert.throws(() => read({ type: "hostChanged", participant: "p".repeat(65) }),
        ({ message }) => message === "The field participant is over its limit of 64 bytes.");
});

// WebSockets

function signaling(url = "ws://rooms.example/base") {
    const browser = new FakeBrowser();
    const events = [];
    return { browser, events, shell: new BrowserSignaling(url, (event) => events.push(event), browser.environment) };
}

test("the first attempt opens the given address at once", () => {
    const { browser, events, shell } = signaling();
    shell.open(1);
    assert.equal(browser.socket.url, "ws://rooms.example/base");
    browser.socket.open();
    shell.send({ message: { type: "leave" } }, 1);
    browser.socket.receive({ type: "ping", id: 1 });
    browser.socket.receive("{");
    browser.socket.end(1000);
    assert.deepEqual(names(events), ["transportConnected", "received", "receivedMalformed", "transportClosed"]);
    assert.deepEqual(browser.socket.types(), ["leave"]);
    assert.equal(events.at(-1).value1, undefined);
});

test("behind a failure the server is asked over HTTP first, and the path is a new one", async () => {
    const { browser, events, shell } = signaling();
    shell.open(1);
    browser.socket.end();
    assert.deepEqual(names(events), ["transportFailed"]);
    shell.open(2);
    assert.equal(browser.sockets.length, 1);
    assert.equal(browser.requests[0].url, "http://rooms.example/health");
    assert.equal(browser.requests[0].options.mode, "same-origin");
    browser.requests[0].answer();
    await browser.settle();
    assert.match(browser.socket.url, /^ws:\/\/rooms\.example\/base\/[a-z0-9]+$/);
    browser.socket.open();
    browser.socket.end(1000);
    shell.open(3);
    assert.equal(browser.socket.url, "ws://rooms.example/base");
});

test("a server that is not there costs no WebSocket; a page that forbids the question is not kept out", async () => {
    const { browser, events, shell } = signaling();
    shell.open(1);
    browser.socket.end();
    for (let generation = 2; generation < 5; generation += 1) {
        shell.open(generation);
        browser.requests.at(-1).fail(new TypeError("refused"));
        await browser.settle();
        assert.equal(events.at(-1).type, "transportFailed");
    }
    assert.equal(browser.sockets.length, 1);
    shell.open(5);
    assert.equal(browser.sockets.length, 2);
});

test("a server that is full says when to come back", async () => {
    const { browser, events, shell } = signaling();
    shell.open(1);
    browser.socket.end();
    shell.open(2);
    browser.requests[0].answer(503, { "Retry-After": "4" });
    await browser.settle();
    assert.deepEqual(events.at(-1).value1.retryAfter, { lowerBound: 4, upperBound: 5 });
});

test("a socket that the browser holds back is given up soon, and the given path is tried again", async () => {
    const { browser, events, shell } = signaling();
    shell.open(1);
    browser.socket.end();
    shell.open(2);
    browser.requests[0].answer();
    await browser.run(1.9);
    assert.equal(events.length, 1);
    await browser.run(0.2);
    assert.equal(events.at(-1).value1.description, "connecting took too long");
    assert.equal(browser.socket.closedWith, "none");
    shell.open(3);
    browser.requests[1].answer();
    await browser.settle();
    assert.equal(browser.socket.url, "ws://rooms.example/base");
});

test("what was aborted is not heard of any more", async () => {
    const { browser, events, shell } = signaling();
    shell.open(1);
    shell.abort(1);
    browser.socket.open();
    browser.socket.end();
    shell.open(2);
    shell.abort(2);
    await browser.run(20);
    assert.deepEqual(events, []);
});

// The page

test("a page that comes back reports its network; sleep shows in the clocks, freezing in a late timer", async () => {
    const browser = new FakeBrowser();
    const events = [];
    const page = new PageEvents({
        networkChanged: () => events.push("networkChanged"), woke: (sleep) => events.push(Math.round(sleep)),
        unloaded: () => events.push("unloaded"),
    }, browser.environment.pageEvents);
    await browser.run(10);
    assert.deepEqual(events, []);
    browser.window.dispatchEvent(new Event("online"));
    browser.document.visibilityState = "hidden";
    browser.document.dispatchEvent(new Event("visibilitychange"));
    browser.document.visibilityState = "visible";
    browser.document.dispatchEvent(new Event("visibilitychange"));
    assert.deepEqual(events.splice(0), ["networkChanged", "networkChanged"]);
    browser.slept = 300;
    await browser.run(1);
    assert.deepEqual(events.splice(0), [300]);
    browser.time.suspend(browser.time.now + 60);
    await browser.run(1);
    assert.deepEqual(events.splice(0), ["networkChanged"]);
    browser.window.dispatchEvent(Object.assign(new Event("pagehide"), { persisted: true }));
    browser.window.dispatchEvent(Object.assign(new Event("pagehide"), { persisted: false }));
    page.stop();
    browser.window.dispatchEvent(new Event("online"));
    assert.deepEqual(events, ["unloaded"]);
});
