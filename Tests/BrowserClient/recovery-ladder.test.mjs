import assert from "node:assert/strict";
import { test } from "node:test";
import {
    alive, commands, creations, failure, incidents, Pair, path, probes, rebuildRequests, restartRequests, restarts,
    state, suspect,
} from "./pair-support.mjs";

const closed = (value) => ({ type: "closed", value });
const checkPath = (pair, cause) => pair.act("a", (machine, now, random) => machine.checkPath(cause, now, random));
const wake = (pair, sleep) => pair.act("a", (machine, now, random) => machine.woke(sleep, now, random));
const rejoin = (pair, side, cause) =>
    pair.act(side, (machine, now, random) => machine.rejoined(cause, now, random));
const networkChanged = (pair, change, isOther = false) =>
    pair.act("a", (machine, now, random) => machine.networkChanged(change, isOther, now, random));
const iceServersChanged = (pair, servers, ttl) =>
    pair.act("a", (machine, now, random) => machine.iceServersChanged(servers, ttl, now, random));
const status = (pair, side = "a") => pair.machines[side].status;

/** The times, in tenths of a second after 20 s, at which `a` did what `count` counts. */
function times(pair, ticks, count, options = {}) {
    const found = [];
    for (let tick = 1; tick <= ticks; tick++) {
        const actions = pair.run(20 + tick / 10, options.delivers ?? false).a;
        if (count(actions) > 0) found.push(tick / 10);
        options.after?.();
    }
    return found;
}

/** Checks that the fact ends the recovery of `a`, without a later step. Returns the incidents that its data ends. */
function endedBy(pair, fact) {
    pair.fact("a", fact);
    assert.deepEqual(status(pair), { type: "connected" });
    const ended = incidents(pair.fact("a", { type: "dataArrived" }));
    const later = pair.run(60).a;
    assert.equal(restarts(later) + creations(later), 0);
    return ended;
}

test("evidence that is merely late is waited for", () => {
    const pair = Pair.connected();
    pair.fact("a", suspect(20));
    assert.deepEqual(status(pair), { type: "recovering", value: "wait", attempt: 1, since: 20 });
    pair.run(21.9);
    assert.deepEqual(endedBy(pair, alive).map(({ rung }) => rung), ["wait"]);
});

/** As an association whose timer comes, each time, while the path is being replaced. */
test("paths that go silent as soon as they are found lead to a new connection", () => {
    for (const side of ["a", "b"]) {
        const pair = Pair.connected();
        let silent = 20;
        for (let round = 0; round < 2; round++) {
            pair.fact(side, suspect(silent));
            assert.equal(restarts(pair.run(silent + 2).a), 1);
            pair.fact(side, alive);
            silent += 2.5;
            assert.equal(creations(pair.run(silent + 0.9).a), 0);
        }
        pair.fact(side, suspect(silent));
        const actions = pair.run(silent + 2).a;
        assert.deepEqual([restarts(actions), creations(actions)], [0, 1]);
    }
});

test("a suspect peer is told that it is not heard", () => {
    const pair = Pair.connected();
    assert.deepEqual(commands(pair.fact("a", suspect(20))), [{ type: "sendHint", value: "unheard" }]);
});

test("two seconds of silence lead to a restart; the answering side asks for it", () => {
    const pair = Pair.connected();
    pair.run(21);
    pair.fact("a", suspect(20.5));
    assert.equal(restarts(pair.run(22.4).a), 0);
    assert.equal(restarts(pair.run(22.5).a), 1);
    const other = Pair.connected();
    other.fact("b", suspect(20));
    const actions = other.run(22);
    assert.equal(restartRequests(actions.b), 1);
    assert.equal(restarts(actions.a), 1);
});

test("a path that is lost is restarted at once, and again with growing patience while it is not up", () => {
    const pair = Pair.connected();
    assert.equal(restarts(pair.fact("a", state("disconnected"))), 1);
    pair.inFlight = { a: [], b: [] };
    assert.deepEqual(times(pair, 300, restarts).slice(0, 4), [2.5, 6, 10.5, 16]);
});

test("restarts that bring a path without a sign of life lead to a rebuild after 15 s", () => {
    const pair = Pair.connected();
    pair.fact("a", state("disconnected"));
    pair.deliverAll();
    pair.fact("a", path());
    const before = creations(pair.actions.a);
    pair.run(34.9);
    assert.equal(creations(pair.actions.a), before);
    pair.run(36);
    assert.equal(creations(pair.actions.a), before + 1);
    assert.equal(pair.machines.a.connection, pair.machines.b.connection);
    for (const side of ["a", "b"]) pair.fact(side, state("connected"));
    assert.deepEqual(incidents(pair.fact("a", { type: "dataArrived" })).map(({ rung }) => rung), ["rebuild"]);
});

test("restarts that bring no path keep the connection for a minute", () => {
    const pair = Pair.connected();
    for (const side of ["a", "b"]) pair.fact(side, suspect(20));
    const before = creations(pair.actions.a);
    pair.run(79);
    assert.ok(restarts(pair.actions.a) > 8);
    assert.equal(creations(pair.actions.a), before);
    assert.equal(rebuildRequests(pair.actions.b), 0);
    pair.fact("a", alive);
    assert.deepEqual(incidents(pair.fact("a", { type: "dataArrived" })).map(({ rung }) => rung), ["restart"]);
    pair.run(100);
    assert.equal(rebuildRequests(pair.actions.b), 1, "not for ever");
});

test("a first connection that takes too long is rebuilt with growing patience", () => {
    const pair = new Pair();
    pair.begin("a");
    const found = [];
    for (let second = 1; second <= 120; second++) if (creations(pair.run(second, false).a) > 0) found.push(second);
    assert.deepEqual(found, [10, 20, 40, 70, 110]);
});

test("a connection that fails is rebuilt at once, and then with growing delays", () => {
    const pair = Pair.connected();
    assert.equal(creations(pair.fact("a", closed(failure()))), 1);
    const after = () => pair.fact("a", closed(failure()));
    assert.deepEqual(times(pair, 400, creations, { after }), [1, 3, 7, 15, 31]);
});

test("a failure of the answering side is a rebuild request", () => {
    const pair = Pair.connected();
    pair.fact("b", closed(failure()));
    pair.deliverAll();
    assert.equal(rebuildRequests(pair.actions.b), 1);
    assert.equal(creations(pair.actions.a), 2);
    assert.equal(pair.machines.a.connection, pair.machines.b.connection);
});

test("a connection closed in order is rebuilt only after a while", () => {
    const pair = Pair.connected();
    assert.equal(creations(pair.fact("a", closed())), 0);
    assert.equal(creations(pair.run(21.9).a), 0);
    assert.equal(creations(pair.run(22).a), 1);
});

test("a closed channel is no connection until it is open again, or a new connection is made", () => {
    const pair = Pair.connected();
    pair.fact("a", { type: "channelClosed" });
    assert.ok(pair.machines.a.isRecovering);
    pair.fact("a", alive);
    assert.ok(pair.machines.a.isRecovering, "a sign of life carries no messages");
    pair.run(21);
    assert.deepEqual(endedBy(pair, state("connected")).map(({ cause }) => cause), ["channelClosed"]);
    const other = Pair.connected();
    other.fact("a", { type: "channelClosed" });
    assert.equal(creations(other.run(21.9).a), 0);
    assert.equal(creations(other.run(22).a), 1);
});

test("a refused description leads to a rebuild on either side", () => {
    const fact = { type: "descriptionRefused", value: failure("x") };
    assert.equal(creations(Pair.connected().fact("a", fact)), 1);
    assert.equal(rebuildRequests(Pair.connected().fact("b", fact)), 1);
});

test("while signaling is down steps are held, and made at once when it is back", () => {
    const pair = Pair.connected();
    pair.setReachable("a", false);
    assert.equal(restarts(pair.fact("a", state("disconnected"))), 0);
    assert.equal(restarts(pair.run(60).a), 0);
    assert.deepEqual(status(pair), { type: "recovering", value: "restart", attempt: 1, since: 20 });
    assert.equal(restarts(pair.setReachable("a", true)), 1);
});

test("a step that was held is made after a rejoin, whatever the policy", () => {
    for (const rejoinPolicy of ["all", "broken", "none"]) {
        const pair = Pair.connected({ rejoinPolicy });
        pair.setReachable("a", false);
        pair.fact("a", state("disconnected"));
        assert.equal(restarts(rejoin(pair, "a", "rejoined")), 1, rejoinPolicy);
        pair.setReachable("b", false);
        pair.fact("b", closed(failure()));
        assert.equal(rebuildRequests(rejoin(pair, "b", "peerRejoined")), 1, rejoinPolicy);
    }
});

test("a path that comes back by itself makes a held step needless", () => {
    const pair = Pair.connected();
    pair.setReachable("a", false);
    pair.fact("a", state("disconnected"));
    pair.fact("a", state("connected"));
    assert.deepEqual(status(pair), { type: "connected" });
    assert.equal(restarts(pair.setReachable("a", true)), 0);
    assert.equal(restarts(pair.run(23).a), 1, "the probe of the return is not answered");
});

test("after a rejoin healthy paths are renewed as the policy says, by the offerer", () => {
    for (const [rejoinPolicy, expected] of [["all", 1], ["broken", 0], ["none", 0]]) {
        const pair = Pair.connected({ rejoinPolicy });
        rejoin(pair, "a", "rejoined");
        pair.fact("a", alive);
        assert.equal(restarts(pair.run(21).a), expected, rejoinPolicy);
        assert.equal(restartRequests(rejoin(pair, "b", "peerRejoined")), 0, rejoinPolicy);
    }
});

test("a change of the network probes, and restarts without an answer only", () => {
    const pair = Pair.connected();
    assert.equal(probes(networkChanged(pair, {})), 1);
    pair.fact("a", alive);
    assert.equal(restarts(pair.run(25).a), 0);
    networkChanged(pair, {});
    assert.equal(restarts(pair.run(25.4).a), 0);
    assert.equal(restarts(pair.run(25.5).a), 1);
});

test("a path whose address is gone is replaced at once", () => {
    const pair = Pair.connected();
    pair.fact("a", path({ localAddress: "192.0.2.1" }));
    assert.equal(restarts(networkChanged(pair, { addresses: ["192.0.2.1"] })), 0);
    assert.equal(restarts(networkChanged(pair, { addresses: ["192.0.2.9"] })), 1);
});

test("a timer that comes an hour late leads to a probe first", () => {
    const pair = Pair.connected();
    pair.fact("a", suspect(20));
    pair.now = 3620;
    delete pair.timers.a;
    const late = pair.act("a", (machine, now, random) => machine.timerFired("recovery", true, now, random));
    assert.equal(probes(late), 1);
    assert.equal(restarts(late), 0);
    assert.equal(restarts(pair.run(3620.5).a), 1);
});

test("timers that fire twice or too early do nothing", () => {
    const pair = Pair.connected();
    pair.fact("a", suspect(20));
    pair.now = 21;
    const fire = () => pair.act("a", (machine, now, random) => machine.timerFired("recovery", true, now, random));
    assert.deepEqual(fire(), [{ type: "scheduleTimer", value: "recovery", at: 22 }]);
    pair.run(22);
    assert.equal(restarts(fire()), 0);
});

test("a flood of requests is paced", () => {
    const pair = Pair.connected();
    const id = pair.machines.a.connection;
    for (let tick = 0; tick < 100; tick++) {
        for (const reason of ["x", "y"])
            pair.receive("a", {
                peer: "b", session: "s-b", connection: id, negotiation: pair.actions.a.filter(
                    ({ type, value }) => type === "signal" && value.body.type === "description").length,
                body: { type: "restartRequest", reason },
            });
        pair.run(20 + tick / 10);
    }
    assert.ok(restarts(pair.actions.a) <= 21);
});

test("an incident tells its steps in order", () => {
    const pair = Pair.connected();
    pair.fact("a", suspect(20));
    pair.run(22.1);
    pair.fact("a", { type: "endOfLocalCandidates", usernameFragment: "f" });
    pair.fact("a", { type: "checked" });
    pair.run(22.2);
    pair.fact("a", path());
    pair.run(22.3);
    assert.deepEqual(incidents(pair.fact("a", state("connected"))), [], "its first data is to come");
    pair.now = 22.4;
    const [incident] = incidents(pair.fact("a", { type: "dataArrived" }));
    assert.deepEqual([incident.cause, incident.rung, incident.outcome], ["silence", "restart", "recovered"]);
    assert.deepEqual(incident.steps.map(({ kind }) => kind), [
        "detected", "restartRequested", "described", "answered", "gathered", "checked", "nominated", "connected",
        "recovered", "firstData",
    ]);
    assert.deepEqual([incident.startedAt, incident.endedAt, incident.steps.at(-1).at], [20, 22.3, 22.4]);
    assert.deepEqual(pair.fact("a", { type: "dataArrived" }), [], "reported once");
});

test("an incident of a pair that says nothing is reported a second later", () => {
    const pair = Pair.connected();
    pair.fact("a", suspect(20));
    pair.run(21);
    pair.fact("a", alive);
    assert.deepEqual(incidents(pair.run(21.9).a), []);
    const [incident] = incidents(pair.run(22).a);
    assert.equal(incident.endedAt, 21);
    assert.equal(incident.steps.at(-1).kind, "recovered");
});

test("a planned restart has ended when its path is there, or when none is found", () => {
    const pair = Pair.connected();
    pair.restart("a");
    pair.run(20.2);
    assert.deepEqual(incidents(pair.actions.a), [], "answered, and no path yet");
    assert.deepEqual(incidents(pair.fact("a", path())).map(({ endedAt }) => endedAt), [20.2]);
    assert.equal(restarts(pair.run(60).a), 0);
    const other = Pair.connected();
    other.restart("a");
    assert.equal(restarts(other.run(60).a), 0);
    assert.deepEqual(incidents(other.actions.a).map(({ endedAt }) => endedAt), [22.5]);
});

test("a path of an older generation is not taken for the new one's", () => {
    const pair = Pair.connected();
    const local = (usernameFragment) =>
        pair.fact("a", { type: "localCandidate", value: { text: "x", usernameFragment } });
    local("old");
    pair.fact("a", path({ usernameFragment: "old" }));
    pair.restart("a");
    local("new");
    pair.deliverAll();
    const count = incidents(pair.actions.a).length;
    pair.fact("a", path({ remote: "srflx", usernameFragment: "old" }));
    assert.equal(incidents(pair.actions.a).length, count, "the restart goes on");
    pair.fact("a", path({ usernameFragment: "new" }));
    assert.equal(incidents(pair.actions.a).length, count + 1);
});

test("a first connection that finds no path is given a new one at once, and no rebuild", () => {
    for (const sides of [["a"], ["b"], ["a", "b"], ["a", "a"]]) {
        const pair = new Pair();
        for (const side of ["b", "a"]) pair.begin(side);
        pair.deliverAll();
        pair.run(3);
        for (const side of sides) pair.fact(side, state("disconnected"));
        pair.deliverAll();
        assert.equal(restarts(pair.actions.a), 1, `${sides}`);
        assert.deepEqual(status(pair), { type: "connecting" });
        pair.run(60);
        assert.equal(creations(pair.actions.a), 1, `${sides}`);
        assert.ok(restarts(pair.actions.a) < 20);
    }
});

test("after a sleep a path is asked, lives on when it answers, and is restarted when it does not", () => {
    const pair = Pair.connected();
    assert.equal(probes(wake(pair, 3600)), 1);
    assert.deepEqual(incidents(pair.fact("a", alive)), [], "nothing was wrong");
    assert.equal(restarts(pair.run(60).a), 0);
    wake(pair, 3600);
    assert.equal(restarts(pair.run(60.4).a), 0);
    assert.equal(restarts(pair.run(60.5).a), 1);
});

test("a participant that leaves ends its incident and its connection", () => {
    const pair = Pair.connected();
    pair.fact("a", state("disconnected"));
    const id = pair.machines.a.connection;
    const actions = pair.act("a", (machine, now, random) => machine.end(now, random));
    assert.ok(actions.some(({ value0, value1 }) => value0 === id && value1.type === "close"));
    assert.deepEqual(incidents(actions).map(({ outcome }) => outcome), ["participantLeft"]);
    assert.deepEqual(pair.run(100).a, []);
});

test("a relayed path is moved to fresh credentials before the old ones expire", () => {
    const pair = Pair.connected();
    pair.fact("a", path({ local: "relay" }));
    const servers = [{ urls: ["turn:x"] }];
    iceServersChanged(pair, servers, 3600);
    assert.equal(restarts(pair.run(22).a), 0);
    pair.now = 2500;
    iceServersChanged(pair, servers, 3600);
    const moved = commands(pair.run(2502).a).find(({ type }) => type === "restartPath");
    assert.deepEqual(moved, { type: "restartPath", iceServers: servers });
});

test("a check of the path restarts it where it is not answered, and again", () => {
    const pair = Pair.connected();
    checkPath(pair, "networkChanged");
    assert.equal(restarts(pair.run(22).a), 1);
    assert.deepEqual(incidents(pair.actions.a), [], "an answer over signaling shows nothing of the path");
    assert.equal(restarts(pair.run(24).a), 1, "again, since no path came of it");
});
