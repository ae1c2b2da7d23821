// Two peer machines in virtual time, whose signals can be held back, lost or reordered by a test.
import { recoveryConfiguration } from "../../Sources/RoomPage/Client/configuration.js";
import { PeerMachine } from "../../Sources/RoomPage/Client/peer-machine.js";

/** SplitMix64, as in RoomCore: the same seed gives the same numbers. */
export class SeededGenerator {
    #state;

    constructor(seed) {
        this.#state = BigInt(seed);
    }

    next() {
        const mask = (1n << 64n) - 1n;
        this.#state = (this.#state + 0x9e3779b97f4a7c15n) & mask;
        let mixed = this.#state;
        mixed = ((mixed ^ (mixed >> 30n)) * 0xbf58476d1ce4e5b9n) & mask;
        mixed = ((mixed ^ (mixed >> 27n)) * 0x94d049bb133111ebn) & mask;
        return mixed ^ (mixed >> 31n);
    }

    /** A whole number below `limit`. */
    below(limit) {
        return Number(this.next() % BigInt(limit));
    }
}

export const participant = (id) => ({ id, session: `s-${id}` });
export const other = (side) => (side === "a" ? "b" : "a");
export const configuration = (changes = {}) => ({
    ...recoveryConfiguration, ...changes, budgets: { ...recoveryConfiguration.budgets, spread: 0, ...changes.budgets },
});
export const offer = (text = "offer") => ({ type: "description", value: { kind: "offer", text } });
export const answer = (text = "answer") => ({ type: "description", value: { kind: "answer", text } });
export const candidate = (text) => ({ type: "candidate", value: { text } });
export const signal = (connection, negotiation, body, from) =>
    ({ peer: from, session: `s-${from}`, connection, negotiation, body });
export const failure = (description = "boom") => ({ description, isRefusal: false });
export const state = (value) => ({ type: "state", value });
export const suspect = (since) => ({ type: "liveness", value: { type: "suspect", since } });
export const alive = { type: "liveness", value: { type: "alive" } };
export const path = (values = {}) =>
    ({ type: "pathChanged", value: { local: "host", remote: "host", summary: "", ...values } });

export const commands = (actions) => actions.filter(({ type }) => type === "command").map(({ value1 }) => value1);
const count = (actions, name) => commands(actions).filter(({ type }) => type === name).length;
export const creations = (actions) => count(actions, "create");
export const restarts = (actions) => count(actions, "restartPath");
export const probes = (actions) => count(actions, "probe");
export const bodies = (actions) => actions.filter(({ type }) => type === "signal").map(({ value }) => value.body);
const requests = (actions, name) => bodies(actions).filter(({ type }) => type === name).length;
export const restartRequests = (actions) => requests(actions, "restartRequest");
export const rebuildRequests = (actions) => requests(actions, "rebuildRequest");
export const incidents = (actions) => actions.filter(({ type }) => type === "report").map(({ value }) => value);

/** `a` is the offerer. */
export class Pair {
    now = 0;
    /** Signals on their way to the side. */
    inFlight = { a: [], b: [] };
    timers = {};
    actions = { a: [], b: [] };
    /** Connections answer descriptions by themselves. */
    answersDescriptions = true;

    constructor(changes = {}, seed = 1) {
        this.random = new SeededGenerator(seed);
        this.machines = {};
        for (const side of ["a", "b"])
            this.machines[side] = new PeerMachine(participant(other(side)), side, configuration(changes), []);
    }

    act(side, body) {
        const actions = body(this.machines[side], this.now, this.random);
        this.actions[side].push(...actions);
        for (const action of actions) {
            if (action.type === "signal") {
                // The server stamps the sender.
                this.inFlight[other(side)].push({ ...action.value, peer: side, session: `s-${side}` });
            } else if (action.type === "scheduleTimer" && action.value === "recovery") this.timers[side] = action.at;
            else if (action.type === "command" && this.answersDescriptions) this.#perform(action, side);
        }
        return actions;
    }

    /** Acts like a transport. */
    #perform({ value0: id, value1: command }, side) {
        if (command.type === "makeOffer" || command.type === "restartPath")
            this.fact(side, { type: "localDescription", value: { kind: "offer", text: "offer" } }, id);
        else if (command.type === "setRemoteDescription" && command.value.kind === "offer")
            this.fact(side, { type: "localDescription", value: { kind: "answer", text: "answer" } }, id);
    }

    fact(side, fact, id = this.machines[side].connection) {
        return id === undefined ? [] : this.act(side, (machine, now, random) => machine.handle(fact, id, now, random));
    }

    receive(side, signal) {
        return this.act(side, (machine, now, random) => machine.received(signal, now, random));
    }

    /** Delivers the oldest signal to the side. False: there was none. */
    deliver(side) {
        const signal = this.inFlight[side].shift();
        if (signal) this.receive(side, signal);
        return signal !== undefined;
    }

    deliverAll() {
        for (let count = 0; count < 1000 && (this.deliver("a") || this.deliver("b")); count++);
    }

    begin(side) {
        return this.act(side, (machine, now, random) => machine.begin(now, random));
    }

    connect() {
        this.begin("b");
        this.begin("a");
        this.deliverAll();
        this.fact("a", state("connected"));
        this.fact("b", state("connected"));
    }

    restart(side) {
        return this.act(side, (machine, now, random) => machine.restart(now, random));
    }

    setReachable(side, isReachable) {
        return this.act(side, (machine, now, random) => machine.setReachable(isReachable, now, random));
    }

    /** Fires timers in the order of time, up to `seconds`; signals are delivered at once when `delivers`. */
    run(seconds, delivers = true) {
        const before = { a: this.actions.a.length, b: this.actions.b.length };
        if (delivers) this.deliverAll();
        for (;;) {
            const timers = Object.entries(this.timers);
            const [side, time] = timers.sort((x, y) => x[1] - y[1] || (x[0] < y[0] ? -1 : 1))[0] ?? [];
            if (side === undefined || time > seconds) break;
            delete this.timers[side];
            this.now = Math.max(this.now, time);
            this.act(side, (machine, now, random) => machine.timerFired("recovery", true, now, random));
            if (delivers) this.deliverAll();
        }
        this.now = Math.max(this.now, seconds);
        return { a: this.actions.a.slice(before.a), b: this.actions.b.slice(before.b) };
    }

    /** A pair that has been connected for 20 s. */
    static connected(changes) {
        const pair = new Pair(changes);
        pair.connect();
        pair.run(20);
        return pair;
    }
}
