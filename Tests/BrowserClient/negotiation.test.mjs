import assert from "node:assert/strict";
import { test } from "node:test";
import { NegotiationMachine } from "../../Sources/RoomPage/Client/negotiation-machine.js";
import { PeerMachine } from "../../Sources/RoomPage/Client/peer-machine.js";
import {
    alive, answer, bodies, candidate, commands, configuration, creations, failure, offer, other, Pair, participant,
    path, rebuildRequests, restartRequests, restarts, SeededGenerator, signal, state, suspect,
} from "./pair-support.mjs";

test("the smaller id offers and the other answers", () => {
    const pair = new Pair();
    pair.connect();
    assert.deepEqual(bodies(pair.actions.a), [offer()]);
    assert.deepEqual(bodies(pair.actions.b), [answer()]);
    assert.equal(pair.machines.a.connection, pair.machines.b.connection);
    assert.match(pair.machines.a.connection, /^[0-9a-f]{16}$/);
    for (const side of ["a", "b"]) assert.deepEqual(pair.machines[side].status, { type: "connected" });
});

test("both sides restarting in the same tick make one restart", () => {
    for (let seed = 0; seed < 200; seed++) {
        const pair = new Pair({}, seed);
        pair.connect();
        pair.now = 1;
        for (const side of ["a", "b"]) pair.fact(side, state("disconnected"));
        const random = new SeededGenerator(seed);
        for (let step = 0; step < 40; step++) pair.deliver(random.below(2) ? "a" : "b");
        assert.equal(restarts(pair.actions.a), 1, `seed ${seed}`);
        assert.equal(restartRequests(pair.actions.b), 1, `seed ${seed}`);
        for (const side of ["a", "b"]) pair.fact(side, state("connected"));
        for (const side of ["a", "b"]) assert.equal(pair.machines[side].status.type, "connected");
    }
});

test("an offer that was refused does not keep the next one waiting", () => {
    const pair = new Pair();
    pair.connect();
    const id = pair.machines.b.connection;
    assert.ok(commands(pair.receive("b", signal(id, 2, offer("refused"), "a"))).length);
    pair.fact("b", { type: "descriptionRefused", value: failure("not acceptable") });
    pair.fact("b", state("connected"));
    assert.deepEqual(commands(pair.receive("b", signal(id, 3, offer("new"), "a")))[0],
        { type: "setRemoteDescription", value: { kind: "offer", text: "new" } });
});

test("a restart that cannot be prepared leaves the path alone, and the next one works", () => {
    const pair = new Pair();
    pair.connect();
    pair.now = 20;
    pair.answersDescriptions = false;
    const shortage = { type: "notPrepared", value: { ...failure("no port"), code: "resourceExhausted" } };
    assert.equal(restarts(pair.restart("a")), 1);
    const actions = pair.fact("a", shortage);
    assert.equal(pair.machines.a.status.type, "connected");
    assert.equal(creations(actions) + restarts(actions), 0);
    assert.equal(creations(pair.run(60).a), 0);
    pair.answersDescriptions = true;
    assert.equal(restarts(pair.restart("a")), 1);
    pair.answersDescriptions = false;
    pair.deliver("b");
    assert.deepEqual(pair.fact("b", shortage), []);
    pair.answersDescriptions = true;
    pair.run(70);
    assert.equal(creations(pair.actions.a), 1);
    assert.equal(pair.machines.a.connection, pair.machines.b.connection);
});

test("a stale answer is dropped", () => {
    const pair = new Pair();
    pair.connect();
    pair.fact("a", state("disconnected"));
    const id = pair.machines.a.connection;
    for (const [connection, negotiation] of [[id, 1], [id, 3], ["x", 2]])
        assert.deepEqual(commands(pair.receive("a", signal(connection, negotiation, answer("stale"), "b"))), []);
    const right = signal(id, 2, answer(), "b");
    assert.equal(commands(pair.receive("a", right)).length, 1);
    assert.deepEqual(commands(pair.receive("a", right)), [], "the same answer again is stale too");
});

test("signals of another session are dropped", () => {
    const pair = new Pair();
    pair.begin("b");
    assert.deepEqual(pair.receive("b", { ...signal("c", 1, offer(), "a"), session: "former" }), []);
});

test("candidates that come before their description are kept within a limit", () => {
    const pair = new Pair();
    pair.begin("b");
    for (let number = 0; number < 100; number++)
        assert.deepEqual(pair.receive("b", signal("c", 1, candidate(`${number}`), "a")), []);
    const taken = commands(pair.receive("b", signal("c", 1, offer(), "a")));
    assert.deepEqual(taken.slice(0, 2), [
        { type: "create", isOfferer: false, iceServers: [] },
        { type: "setRemoteDescription", value: { kind: "offer", text: "offer" } },
    ]);
    assert.deepEqual(taken.slice(2).map(({ value }) => value.text), [...Array(64).keys()].map(String));
});

test("candidates of the next round wait for it, and those of an old one are dropped", () => {
    const pair = new Pair();
    pair.connect();
    const id = pair.machines.b.connection;
    const receive = (body, negotiation) => commands(pair.receive("b", signal(id, negotiation, body, "a")));
    const adds = (text) => ({ type: "addRemoteCandidate", value: { text } });
    assert.deepEqual(receive(candidate("new"), 2), []);
    assert.deepEqual(receive(candidate("current"), 1), [adds("current")]);
    assert.deepEqual(receive(offer("again"), 2)[1], adds("new"));
    assert.deepEqual(receive(candidate("old"), 1), []);
    assert.deepEqual(receive({ type: "endOfCandidates", usernameFragment: "f" }, 2),
        [{ type: "addRemoteCandidate", value: { text: "", usernameFragment: "f" } }]);
});

test("a new connection of the offerer replaces the old one, and its late signals and facts are dropped", () => {
    const pair = new Pair();
    pair.connect();
    const old = pair.machines.b.connection;
    const actions = pair.receive("b", signal("new", 1, offer(), "a"));
    assert.ok(actions.some(({ value0, value1 }) => value0 === old && value1?.type === "close"));
    assert.equal(pair.machines.b.connection, "new");
    for (const negotiation of [1, 2])
        assert.deepEqual(pair.receive("b", signal(old, negotiation, offer(), "a")), []);
    assert.deepEqual(pair.fact("b", state("disconnected"), old), []);
    assert.deepEqual(pair.fact("b", { type: "closed", value: failure() }, old), []);
});

test("an offer that comes again does not make anew what has ended", () => {
    const pair = new Pair();
    pair.connect();
    const id = pair.machines.b.connection;
    pair.fact("b", { type: "closed", value: failure() });
    assert.deepEqual(pair.receive("b", signal(id, 1, offer(), "a")), []);
    assert.equal(rebuildRequests(pair.receive("b", signal(id, 2, offer(), "a"))), 1);
});

test("a restart of a connection that is unknown is answered by a rebuild request", () => {
    const pair = new Pair();
    pair.begin("b");
    assert.equal(rebuildRequests(pair.receive("b", signal("lost", 4, offer(), "a"))), 1);
});

test("a newer offer waits until the older is answered", () => {
    const pair = new Pair();
    pair.connect();
    pair.answersDescriptions = false;
    const id = pair.machines.b.connection;
    for (const negotiation of [2, 3, 4]) {
        const taken = commands(pair.receive("b", signal(id, negotiation, offer(`${negotiation}`), "a")));
        assert.equal(taken.length === 0, negotiation > 2);
    }
    const actions = pair.fact("b", { type: "localDescription", value: { kind: "answer", text: "answer" } });
    assert.deepEqual(bodies(actions), [answer()]);
    assert.deepEqual(commands(actions), [{ type: "setRemoteDescription", value: { kind: "offer", text: "4" } }]);
});

test("a restart that is asked for while one is in flight waits for its answer", () => {
    const machine = new NegotiationMachine(true, 64);
    const random = new SeededGenerator(1);
    machine.rebuild("", random);
    machine.localDescription({ kind: "offer", text: "o" });
    const id = machine.connection;
    machine.received(signal(id, 1, answer(), "b"));
    machine.restart(false, "", random);
    machine.localDescription({ kind: "offer", text: "o2" });
    assert.deepEqual(machine.restart(false, "", random), []);
    assert.deepEqual(machine.received(signal(id, 2, answer(), "b")).at(-1), { type: "restartPath", value: id });
    assert.ok(machine.isNegotiating);
});

/** Transports that know which description answers which, and a path between them that delays and repeats. */
class UnreliablePair {
    now = 0;
    timers = {};
    connections = { a: new Map(), b: new Map() };
    facts = { a: [], b: [] };
    onTheWay = { a: [], b: [] };
    late = { a: [], b: [] };
    arrived = { a: [], b: [] };
    complaints = [];

    constructor(seed) {
        this.random = new SeededGenerator(seed);
        this.machines = {};
        for (const side of ["a", "b"])
            this.machines[side] =
                new PeerMachine(participant(other(side)), side, configuration({ budgets: { spread: 1 } }), []);
        for (const side of ["b", "a"]) this.act(side, (machine, now, random) => machine.begin(now, random));
    }

    disturb(steps) {
        for (let step = 0; step < steps; step++) {
            const side = this.random.below(2) ? "a" : "b";
            const dice = this.random.below(16);
            if (dice < 5) this.tellFact(side);
            else if (dice < 11) this.deliver(side, true);
            else if (dice === 11) this.deliverLate(side);
            else if (dice === 12) {
                const arrived = this.arrived[side];
                if (arrived.length) this.late[side].push(arrived[this.random.below(arrived.length)]);
            } else if (dice === 13) this.fireTimer(5);
            else if (dice === 14) this.settle();
            else this.happen(side);
        }
    }

    /** Everything comes in the end, and nothing goes wrong any more. */
    calmDown() {
        while (this.late.a.length || this.late.b.length) {
            for (const side of ["a", "b"]) this.deliverLate(side);
            if (this.random.below(2)) this.tellFact("a");
            if (this.random.below(2)) this.deliver("b", false);
        }
        const end = this.now + 600;
        do {
            while (this.tellFact("a") || this.tellFact("b") || this.deliver("a") || this.deliver("b"));
            this.settle();
        } while (this.fireTimer(end - this.now));
        for (const side of ["a", "b"]) {
            const { type } = this.machines[side].status;
            if (type !== "connected") this.complaints.push(`${side} is ${type}`);
        }
        if (!this.agreed) this.complaints.push("the two have not described the same round of the same connection");
    }

    happen(side) {
        const id = this.machines[side].connection;
        if (id === undefined) return;
        const handle = (fact) => this.act(side, (machine, now, random) => machine.handle(fact, id, now, random));
        switch (this.random.below(7)) {
            case 0: return handle(state("disconnected"));
            case 1: return handle(suspect(this.now));
            case 2:
                if (this.connections[side].has(id)) this.connections[side].get(id).isClosed = true;
                return handle({ type: "closed", value: failure("failed") });
            case 3: return this.act(side, (machine, now, random) => machine.restart(now, random));
            case 4:
                return this.act(side, (machine, now, random) => machine.checkPath("reconnectRequested", now, random));
            default:
                // One of them rejoins: what was under way is lost, or comes over an older connection.
                for (const side of ["a", "b"]) {
                    this.late[side].push(...this.onTheWay[side].filter(() => this.random.below(2)));
                    this.onTheWay[side] = [];
                }
                this.act(side, (machine, now, random) => machine.rejoined("rejoined", now, random));
                this.act(other(side), (machine, now, random) => machine.rejoined("peerRejoined", now, random));
        }
    }

    tellFact(side) {
        const next = this.facts[side].shift();
        if (next) this.act(side, (machine, now, random) => machine.handle(next[1], next[0], now, random));
        return next !== undefined;
    }

    receive(side, signal) {
        this.act(side, (machine, now, random) => machine.received(signal, now, random));
    }

    deliver(side, mayDelay = false) {
        const next = this.onTheWay[side].shift();
        if (!next) return false;
        if (mayDelay && this.random.below(8) === 0) this.late[side].push(next);
        else {
            this.arrived[side].push(next);
            this.receive(side, next);
        }
        return true;
    }

    deliverLate(side) {
        const late = this.late[side];
        if (late.length) this.receive(side, late.splice(this.random.below(late.length), 1)[0]);
    }

    fireTimer(limit) {
        const next = Object.entries(this.timers).sort((x, y) => x[1] - y[1] || (x[0] < y[0] ? -1 : 1))[0];
        if (!next || next[1] > this.now + limit) return false;
        delete this.timers[next[0]];
        this.now = Math.max(this.now, next[1]);
        this.act(next[0], (machine, now, random) => machine.timerFired("recovery", true, now, random));
        return true;
    }

    /** The connection whose newest round both have described to each other. */
    get agreed() {
        const id = this.machines.a.connection;
        const a = this.connections.a.get(id);
        const b = this.connections.b.get(id);
        const isAgreed = id !== undefined && this.machines.b.connection === id && a && b && !a.isClosed &&
            !b.isClosed && a.local === b.remote && b.local === a.remote;
        return isAgreed ? id : undefined;
    }

    /** A path comes up; or an end whose other end is gone hears nothing any more. */
    settle() {
        const id = this.agreed;
        for (const side of ["a", "b"]) {
            const { connection, status } = this.machines[side];
            const handle = (fact) =>
                this.act(side, (machine, now, random) => machine.handle(fact, connection, now, random));
            if (id === undefined) {
                const far = this.connections[other(side)].get(connection);
                if (connection !== undefined && status.type === "connected" && (far?.isClosed ?? true))
                    handle(suspect(this.now));
            } else for (const fact of [path(), state("connected"), alive]) handle(fact);
        }
    }

    act(side, body) {
        for (const action of body(this.machines[side], this.now, this.random)) {
            if (action.type === "signal")
                this.onTheWay[other(side)].push({ ...action.value, peer: side, session: `s-${side}` });
            else if (action.type === "scheduleTimer" && action.value === "recovery") this.timers[side] = action.at;
            else if (action.type === "command") this.perform(action.value1, action.value0, side);
        }
    }

    perform(command, id, side) {
        const connections = this.connections[side];
        const connection = connections.get(id);
        switch (command.type) {
            case "create":
                if (connection) this.complaints.push(`${side} makes the connection ${id} again`);
                if ([...connections.values()].some(({ isClosed }) => !isClosed))
                    this.complaints.push(`${side} has two connections`);
                connections.set(id, { offers: 0, local: "", remote: "", isClosed: false });
                break;
            case "close":
                if (connection) connection.isClosed = true;
                break;
            case "makeOffer": case "restartPath":
                if (!connection || connection.isClosed) break;
                connection.offers += 1;
                connection.local = `${id}/${connection.offers}`;
                this.describe(connection.local, "offer", id, side);
                break;
            case "setRemoteDescription": {
                const { kind, text } = command.value;
                if (!connection || connection.isClosed) {
                    this.complaints.push(`${side} describes a connection that is no more`);
                    break;
                }
                if (kind === "answer" && text !== `answer to ${connection.local}`)
                    this.complaints.push(`${side} takes ${text} for its offer ${connection.local}`);
                if (kind === "offer") {
                    const number = Number(text.split("/").at(-1));
                    if (!text.startsWith(`${id}/`) || number <= connection.offers)
                        this.complaints.push(`${side} takes ${text} after ${connection.remote}`);
                    connection.offers = number;
                    connection.local = `answer to ${text}`;
                }
                connection.remote = text;
                if (kind === "offer") this.describe(connection.local, "answer", id, side);
                break;
            }
            case "addRemoteCandidate":
                if (command.value.usernameFragment !== connection?.remote)
                    this.complaints.push(`${side} takes a candidate of an earlier round`);
        }
    }

    describe(text, kind, id, side) {
        // The generation before says nothing any more.
        this.facts[side] = this.facts[side].filter(
            ([of, { type }]) => of !== id || (type !== "localCandidate" && type !== "endOfLocalCandidates"));
        this.facts[side].push(
            [id, { type: "localDescription", value: { kind, text } }],
            [id, { type: "localCandidate", value: { text: "candidate", usernameFragment: text } }],
            [id, { type: "endOfLocalCandidates", usernameFragment: text }]);
    }
}

test("late and repeated signals never disturb the newest round", () => {
    for (let seed = 0; seed < 300; seed++) {
        const pair = new UnreliablePair(seed);
        pair.disturb(120);
        pair.calmDown();
        assert.deepEqual(pair.complaints, [], `seed ${seed}`);
    }
});
