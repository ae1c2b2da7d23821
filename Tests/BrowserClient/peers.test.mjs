import assert from "node:assert/strict";
import { test } from "node:test";
import { OfferPace } from "../../Sources/RoomPage/Client/offer-pace.js";
import { PeerMachine } from "../../Sources/RoomPage/Client/peer-machine.js";
import { PeersMachine } from "../../Sources/RoomPage/Client/peers-machine.js";
import { StallMachine } from "../../Sources/RoomPage/Client/stall-machine.js";
import {
    alive, answer, configuration, failure, offer, Pair, participant, path, SeededGenerator, signal, state, suspect,
} from "./pair-support.mjs";

/** The machines of all peers of the participant `us`. */
class Driver {
    now = 0;
    offersAt = undefined;
    random = new SeededGenerator(1);
    all = [];

    constructor(us, others, changes = {}) {
        this.configuration = configuration(changes);
        this.peers = new PeersMachine(this.configuration);
        for (const id of others)
            this.feed(this.peers.joined(
                new PeerMachine(participant(id), us, this.configuration, []), this.now, this.random));
        this.begin();
    }

    feed(actions) {
        this.all.push(...actions);
        for (const action of actions) if (action.type === "scheduleOffersTimer") this.offersAt = action.at;
        return actions;
    }

    begin() {
        return this.feed(this.peers.begin(this.now, this.random));
    }

    receive(signal) {
        return this.feed(this.peers.received(signal, this.now, this.random));
    }

    fact(id, fact) {
        const [{ value1 }] = this.commands(this.all, "create", id).slice(-1);
        return this.feed(this.peers.handle(fact, id, value1.value0, this.now, this.random));
    }

    /** Answers what is asked for, and fires the offers' timer, until `seconds`. */
    run(seconds) {
        const actions = [];
        while (this.offersAt !== undefined && this.offersAt <= seconds) {
            this.now = Math.max(this.now, this.offersAt);
            this.offersAt = undefined;
            const fired = this.feed(this.peers.offersTimerFired(this.now, this.random));
            actions.push(...fired);
            this.answer(fired);
        }
        this.now = seconds;
        return actions;
    }

    answer(actions) {
        for (const { value0: id, value1: { value0: connection } } of this.commands(actions, "setRemoteDescription"))
            this.feed(this.peers.handle(
                { type: "localDescription", value: { kind: "answer", text: "answer" } }, id, connection, this.now,
                this.random));
    }

    commands(actions, name, id) {
        return actions.filter(({ type, value0, value1 }) => type === "peer" && (id ?? value0) === value0 &&
            value1.type === "command" && value1.value1.type === name);
    }

    creations(actions) {
        return this.commands(actions, "create").length;
    }
}

const ids = (from, to) => [...Array(to - from).keys()].map((index) => `p${from + index}`);
const makeOffer = (number, from = "a", negotiation = 1) => signal(`c${number}`, negotiation, offer(`${number}`), from);

test("eight of ours connect at a time, in the order of their ids; answerers wait at once", () => {
    const driver = new Driver("m", [...ids(10, 30), "a"]);
    assert.equal(driver.creations(driver.all), 8);
    assert.deepEqual(driver.peers.status("p29"), { type: "waiting" });
    assert.deepEqual(driver.peers.status("a"), { type: "connecting" });
    assert.equal(driver.creations(driver.begin()), 0);
    driver.fact("p10", state("connected"));
    assert.equal(driver.creations(driver.begin()), 1);
    assert.ok(driver.peers.isConnected("p10"));
});

test("of a burst of offers few make connections, and the newest is answered", () => {
    const driver = new Driver("m", ["a"]);
    for (let number = 0; number < 590; number++) driver.answer(driver.receive(makeOffer(number)));
    assert.equal(driver.creations(driver.all), 8);
    const later = driver.run(5);
    const answered = driver.commands(later, "setRemoteDescription").map(({ value1 }) => value1.value1.value.text);
    assert.deepEqual(answered, ["589"]);
    assert.ok(driver.peers.isCurrent("c589", "a"));
});

test("a steady flood is answered at its pace, and a participant that left has no share", () => {
    const pace = new OfferPace(configuration());
    let count = 0;
    for (let step = 0; step < 80; step++) {
        const now = step / 8;
        while (pace.next(now)) count += 1;
        for (let number = 0; number < 10; number++) if (pace.admits(makeOffer(step * 10 + number), now)) count += 1;
    }
    assert.ok(count >= 26 && count <= 29, `${count}`);
    pace.forget("a");
    assert.equal(pace.nextDeadline, undefined);
});

test("offers of others do not wait for those of one", () => {
    const driver = new Driver("m", ["a", "b"]);
    for (let number = 0; number < 50; number++) driver.receive(makeOffer(number));
    assert.equal(driver.creations(driver.receive(makeOffer(1000, "b"))), 1);
});

test("a shortage is reported once until there is a path", () => {
    const driver = new Driver("a", ["z"]);
    const shortage = { type: "gatheringFailed", value: failure("no port") };
    const reports = (fact) => driver.fact("z", fact).filter(({ type }) => type === "reportShortage");
    assert.deepEqual(reports(shortage), [{ type: "reportShortage", value0: "z", value1: failure("no port") }]);
    assert.equal(reports(shortage).length, 0);
    reports(path());
    assert.equal(reports(shortage).length, 1);
});

test("a participant that a rejoin did not find is not reachable until it returns", () => {
    const driver = new Driver("a", ["z"]);
    driver.fact("z", { type: "localDescription", value: { kind: "offer", text: "offer" } });
    const [{ value1: { value0: connection } }] = driver.commands(driver.all, "create");
    driver.receive(signal(connection, 1, answer(), "z"));
    driver.fact("z", state("connected"));
    driver.feed(driver.peers.missed("z", driver.now, driver.random));
    assert.deepEqual([...driver.peers.missing], ["z"]);
    const held = driver.fact("z", state("disconnected"));
    assert.equal(driver.commands(held, "restartPath").length, 0);
    const back = driver.feed(driver.peers.returned("z", driver.now, driver.random));
    assert.equal(driver.commands(back, "restartPath").length, 1);
    assert.equal(driver.peers.missing.size, 0);
});

test("who leaves has its connection closed, and is forgotten", () => {
    const driver = new Driver("a", ["z"]);
    const actions = driver.feed(driver.peers.left("z", driver.now, driver.random));
    assert.equal(driver.commands(actions, "close").length, 1);
    assert.deepEqual([...driver.peers.participants], []);
    assert.deepEqual(driver.receive(signal("x", 1, offer(), "z")), []);
});

// Stalls

/** The timers of the stall machine of `a`, fired up to `seconds`. Returns its reports. */
function stalls(pair, seconds, isSignalingUp = true) {
    const found = [];
    const collect = () => {
        while (pair.seen < pair.actions.a.length) {
            const { type, value, value1, at } = pair.actions.a[pair.seen++];
            if (type === "reportStall" || type === "resolveStall") found.push([type, value.code]);
            if (type === "scheduleTimer" && value === "stall") pair.stallAt = at;
            if (type === "cancelTimer" && value === "stall") pair.stallAt = undefined;
            if (type === "command" && value1.type === "diagnose")
                pair.fact("a", { type: "diagnosed", value: pair.diagnosis });
        }
    };
    pair.seen ??= 0;
    collect();
    while (pair.stallAt !== undefined && pair.stallAt <= seconds) {
        pair.now = Math.max(pair.now, pair.stallAt);
        pair.act("a", (machine, now, random) => machine.timerFired("stall", isSignalingUp, now, random));
        collect();
    }
    pair.now = seconds;
    return found;
}

test("a pair that does not connect is told why, once, and rarely again", () => {
    const pair = new Pair();
    pair.act("a", (machine, now, random) => machine.appeared(now, random));
    pair.begin("a");
    assert.deepEqual(stalls(pair, 7.9), []);
    assert.deepEqual(stalls(pair, 60), [["reportStall", "noAnswer"]]);
    assert.deepEqual(stalls(pair, 140), [["reportStall", "noAnswer"]]);
    assert.deepEqual(stalls(pair, 200, false), [["reportStall", "signalingDown"]]);
});

test("the transport is asked where the room does not know the reason", () => {
    const pair = new Pair();
    pair.act("a", (machine, now, random) => machine.appeared(now, random));
    for (const side of ["b", "a"]) pair.begin(side);
    pair.deliverAll();
    pair.diagnosis = { code: "checksUnanswered", message: "", cure: "" };
    assert.deepEqual(stalls(pair, 10), [["reportStall", "checksUnanswered"]]);
    pair.fact("a", state("connected"));
    assert.deepEqual(stalls(pair, 11), [["resolveStall", "checksUnanswered"]]);
});

test("data without an acknowledgement is a stall, until it is acknowledged", () => {
    const pair = Pair.connected();
    pair.fact("a", { type: "unacknowledged" });
    assert.deepEqual(stalls(pair, 20.1), [["reportStall", "notAcknowledged"]]);
    pair.fact("a", { type: "acknowledged" });
    assert.deepEqual(stalls(pair, 21), [["resolveStall", "notAcknowledged"]]);
});

test("a look that comes far too late judges nothing", () => {
    const machine = new StallMachine(configuration());
    assert.deepEqual(machine.disconnected(0), [{ type: "scheduleTimer", at: 8 }]);
    assert.deepEqual(machine.timerFired(100), [{ type: "scheduleTimer", at: 108 }]);
    assert.deepEqual(machine.timerFired(108), [{ type: "scheduleTimer", at: 116 }, { type: "inquire" }]);
});

test("a first connection that is suspect and alive again stays what it is", () => {
    const pair = Pair.connected();
    pair.fact("b", suspect(20));
    pair.fact("b", alive);
    assert.deepEqual(pair.machines.b.status, { type: "connected" });
});
