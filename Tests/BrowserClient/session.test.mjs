// The session: who is there after a first join, a resume and a rejoin; hosts, attributes, ICE servers, refusals.
import assert from "node:assert/strict";
import { test } from "node:test";
import { machineConfiguration } from "../../Sources/RoomPage/Client/configuration.js";
import { ICEServerMachine } from "../../Sources/RoomPage/Client/ice-server-machine.js";
import { flawOfURL } from "../../Sources/RoomPage/Client/ice-server-selection.js";
import { Refusals } from "../../Sources/RoomPage/Client/refusals.js";
import { RoomSessionMachine } from "../../Sources/RoomPage/Client/room-session-machine.js";
import { joined, other } from "./room-support.mjs";

const names = (actions) => actions.map(({ type }) => type);
const find = (actions, type) => actions.find((action) => action.type === type);

function machine(configuration = {}) {
    return new RoomSessionMachine(machineConfiguration({ room: "r", role: "host", name: "n", ...configuration }));
}

/** A machine that is in the room with `a` and `b`. */
function inside() {
    const session = machine();
    const actions = session.joined(joined({ roster: [other("b"), other("a")] }), 0);
    assert.deepEqual(names(actions), ["joined", "peerJoined", "peerJoined"]);
    assert.deepEqual(session.participants.map(({ id }) => id), ["a", "b"]);
    return session;
}

test("before the first join hello has no session, afterwards the newest token", () => {
    const session = inside();
    assert.equal(machine().hello("t", 0, false, 1).resume, undefined);
    session.received({ type: "hostChanged", value: "-", term: 0, sessionToken: "t2" }, false, 1);
    assert.deepEqual(session.hello(undefined, 7, true, 3).resume,
        { sessionToken: "t2", received: 7, mustRejoin: true, attempt: 3 });
});

test("after a resume those who are not in the roster have left", () => {
    const session = inside();
    const actions = session.joined(joined({ isResumed: true, roster: [other("b"), other("c")] }), 1);
    assert.deepEqual(names(actions), ["joined", "peerLeft", "peerJoined"]);
    assert.equal(find(actions, "peerLeft").reason, "left");
});

test("after a rejoin those who are not in the roster are waited for, and given up when the server was asked", () => {
    const session = inside();
    let actions = session.joined(joined({ epoch: 2, roster: [other("b", { epoch: 2 })], grace: 20 }), 1);
    assert.deepEqual(names(actions), ["joined", "peerMissed", "peerChanged", "scheduleTimer"]);
    assert.equal(find(actions, "peerChanged").hasRejoined, true);
    assert.equal(find(actions, "scheduleTimer").at, 21);
    const fire = (now, isAlive = false) => session.timerFired(true, false, () => isAlive, now);
    assert.deepEqual(names(fire(21, true)), ["scheduleTimer"]);
    assert.deepEqual(names(fire(22)), ["askServer", "scheduleTimer"]);
    assert.deepEqual(names(fire(23)), ["peerLeft"]);
    actions = session.joined(joined({ epoch: 3, roster: [other("b", { epoch: 2 }), other("a")] }), 30);
    assert.ok(find(actions, "peerJoined"));
});

test("a missed participant that returns is the same one, and its name given to another one ends it", () => {
    const session = inside();
    session.joined(joined({ epoch: 2 }), 1);
    const back = session.received({ type: "peerJoined", value: other("a", { epoch: 2 }) }, false, 2);
    assert.deepEqual(names(back).slice(0, 2), ["peerChanged", "peerReturned"]);
    assert.equal(find(back, "peerChanged").hasRejoined, false);
    const taken = session.received({ type: "peerJoined", value: other("x", { name: "b" }) }, false, 3);
    assert.deepEqual(names(taken).slice(0, 2), ["peerLeft", "peerJoined"]);
});

test("a participant with another session is another one; repeated news of before the roster are ignored", () => {
    const session = inside();
    const renewed = session.received({ type: "peerJoined", value: other("a", { session: "new" }) }, false, 1);
    assert.deepEqual(names(renewed), ["peerLeft", "peerJoined"]);
    const late = { type: "peerLeft", value0: "a", value1: "s-a", reason: "left" };
    assert.deepEqual(session.received(late, false, 2), []);
    assert.deepEqual(session.received({ ...late, value1: "new" }, true, 2), []);
    assert.deepEqual(names(session.received({ ...late, value1: "new" }, false, 2)), ["peerLeft"]);
});

test("who says over its connection that it leaves has left, whatever the server says later", () => {
    const session = inside();
    assert.deepEqual(names(session.peerLeaving("a")), ["peerLeft"]);
    assert.deepEqual(names(session.received({ type: "peerJoined", value: other("a") }, false, 1)), []);
});

test("the host with the highest term counts, and only it sets attributes", () => {
    const session = inside();
    assert.deepEqual(names(session.updateAttributes({ map: "desert" })), ["attributesChanged", "updateRoom"]);
    assert.deepEqual(session.updateAttributes({ map: "desert" }), []);
    const change = session.received({ type: "hostChanged", value: "a", term: 2, sessionToken: "t" }, false, 1);
    assert.deepEqual(find(change, "hostChanged"), { type: "hostChanged", value: "a", term: 2 });
    assert.equal(session.membership.isHost, false);
    assert.deepEqual(session.participants.map(({ isHost }) => isHost), [true, false]);
    assert.deepEqual(names(session.updateAttributes({})), ["updateRefused"]);
});

test("the host tells a server that has lost its state of the attributes", () => {
    const session = inside();
    session.updateAttributes({ map: "desert" });
    const actions = session.joined(joined({ epoch: 2, roster: [other("a"), other("b")] }), 5);
    assert.deepEqual(find(actions, "updateRoom").value, { version: 1, values: { map: "desert" } });
    assert.equal(find(actions, "attributesChanged"), undefined);
});

test("signals of a session that has ended are dropped", () => {
    const session = inside();
    const signal = (value) => session.received({ type: "signal", value: { peer: "a", ...value } }, false, 1);
    assert.deepEqual(names(signal({ session: "s-a" })), ["signal"]);
    assert.deepEqual(signal({ session: "old" }), []);
});

test("a session token that is not accepted is given up once", () => {
    const session = inside();
    assert.ok(session.forgetSession());
    assert.equal(session.hello(undefined, 0, true, 1).resume, undefined);
    assert.ok(!session.forgetSession());
});

test("ICE servers are merged, and fetched again when 0.7 of their life is over", () => {
    const session = machine({ ice: { servers: [{ urls: ["stun:a.example"] }], policy: "all" } });
    const server = { urls: ["turn:b.example"], username: "u", credential: "c" };
    const actions = session.joined(joined({ iceServers: { servers: [server], ttl: 100 } }), 0);
    assert.deepEqual(find(actions, "iceServersChanged").value.map(({ urls }) => urls[0]),
        ["stun:a.example", "turn:b.example"]);
    assert.equal(find(actions, "scheduleTimer").at, 70);
    assert.deepEqual(names(session.timerFired(true, false, () => false, 70)), ["refreshICEServers"]);
});

test("a provider that fails is asked again after 5, 10, 20 s, and reported once", () => {
    const ice = new ICEServerMachine(machineConfiguration(
        { room: "r", role: "host", name: "n", hasICEServerProvider: true }));
    assert.deepEqual(names(ice.attempted(0)), ["requestFromProvider"]);
    const delays = [5, 10, 20];
    let now = 0;
    for (const [index, delay] of delays.entries()) {
        const actions = ice.providerFailed({ description: "no" }, now);
        assert.equal(names(actions).includes("providerFailed"), index === 0);
        assert.equal(ice.nextDeadline(false), now + delay);
        now += delay;
        assert.deepEqual(names(ice.timePassed(false, now)), ["requestFromProvider"]);
    }
});

test("URLs of ICE servers that cannot be used are named", () => {
    const usable = ["stun:a.example", "stun:a.example:3478?transport=udp", "turn:[2001:db8::1]:3478?transport=tcp",
        "TURNS:b.example"];
    const server = { urls: [], username: "u", credential: "c" };
    for (const url of usable) assert.equal(flawOfURL(url, server), undefined, url);
    const unusable = ["http://a", "stun:", "stun:a b", "stun:a:0", "stun:a:99999", "stun:[x]", "stun:a?transport=tcp",
        "turn:a?foo", "stun:a:", "stun:[a@b", "stun:[a@b/]", "stun:[a@b?]", "turn:[a@b", "stun:[x@[::1]",
        "stun:[192.0.2.1]"];
    for (const url of unusable) assert.match(flawOfURL(url, server) ?? "", /cannot be used/, url);
    assert.match(flawOfURL("turn:a", { urls: [] }), /username/);
    assert.ok(!flawOfURL("turn:user:secret@host", server).includes("secret"));
});

test("refusals end the room, or lead to another attempt", () => {
    const judge = (code, values = {}, { isGreeting = true, isFirstJoin = true, waits = false } = {}) =>
        new Refusals().judge(
            { code, message: "m", isRetryable: false, isFatal: true, ...values }, isGreeting, isFirstJoin, waits, 0);
    assert.deepEqual(judge("kicked"), { type: "end", value: { type: "kicked", message: "m" } });
    assert.equal(judge("room_not_found").type, "end");
    assert.equal(judge("room_not_found", {}, { waits: true }).type, "tryAgain");
    assert.equal(judge("name_taken", {}, { isFirstJoin: false }).type, "tryAgain");
    assert.equal(judge("unauthorized").type, "refreshCredential");
    assert.equal(judge("shutting_down", { isRetryable: true }).type, "tryAgain");
    assert.equal(judge("malformed", {}, { isGreeting: false }).type, "rejoin");
    assert.equal(judge("peer_not_found", { isFatal: false }, { isGreeting: false }).type, "report");
    const refusals = new Refusals();
    const replaced = { code: "replaced", message: "m", isRetryable: false, isFatal: true };
    assert.equal(refusals.judge(replaced, false, false, false, 0).type, "tryAgain");
    assert.equal(refusals.judge(replaced, false, false, false, 20).value.type, "replaced");
});
