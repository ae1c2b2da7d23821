// Two participants in one page, connected by a loop of signals: their machines, their pairs and the browser's own peer
// connections. The result goes to `/result`.
import { BrowserPeer } from "../../Sources/RoomPage/Client/browser-peer.js";
import { recoveryConfiguration } from "../../Sources/RoomPage/Client/configuration.js";
import { Pair } from "../../Sources/RoomPage/Client/pair.js";
import { PeerMachine } from "../../Sources/RoomPage/Client/peer-machine.js";
import { systemRandom } from "../../Sources/RoomPage/Client/random.js";

const now = () => performance.now() / 1000;
const schedule = (after, callback) => {
    const timer = setTimeout(callback, after * 1000);
    return () => clearTimeout(timer);
};
const capabilities = ["delivery.v1", "exchange.v1"];
const patience = 15;

class Side {
    facts = [];
    incidents = [];
    received = [];
    timers = new Map();

    constructor(id, other) {
        this.id = id;
        this.machine = new PeerMachine({ id: other, session: `s-${other}` }, id, recoveryConfiguration, []);
        this.pair = new Pair({
            ownSession: `s-${id}`, peerSession: `s-${other}`, participant: other, capabilities,
            configuration: { sendLimit: 1 << 22, maximumMessageSize: 1 << 22 }, now, schedule,
            link: {
                send: (label, data) => this.peer?.send(label, data) ?? (this.peer ? undefined : "closed"),
                bufferedAmount: (label) => this.peer?.bufferedAmount(label) ?? 0,
                maximumMessageSize: () => this.peer?.maximumMessageSize() ?? 65536,
                openChannel: (parameters) => this.peer.openChannel(parameters),
                closeChannel: (label) => this.peer?.closeChannel(label),
            },
            handlers: {
                message: (message) => this.received.push(message.text ?? message.payload.length),
                broken: (reason) => this.peer?.fail(reason),
                dataArrived: () => this.fact({ type: "dataArrived" }),
            },
        });
    }

    act(body) {
        for (const action of body(this.machine, now(), systemRandom)) {
            switch (action.type) {
                case "command": this.#perform(action.value0, action.value1); break;
                case "signal": {
                    const sent = { ...action.value, peer: this.id, session: `s-${this.id}` };
                    const signal = JSON.parse(JSON.stringify(sent));
                    setTimeout(() => this.other.act((machine, now, random) => machine.received(signal, now, random)));
                    break;
                }
                case "scheduleTimer":
                    this.timers.get(action.value)?.();
                    this.timers.set(action.value, schedule(Math.max(0, action.at - now()), () =>
                        this.act((machine, now, random) => machine.timerFired(action.value, true, now, random))));
                    break;
                case "cancelTimer": this.timers.get(action.value)?.(); break;
                case "changeStatus": this.pair.statusChanged(action.value); break;
                case "report": this.incidents.push(action.value);
            }
        }
    }

    fact(fact, id = this.machine.connection) {
        this.facts.push(fact);
        this.act((machine, now, random) => machine.handle(fact, id, now, random));
    }

    #perform(id, command) {
        if (command.type !== "create") {
            if (id === this.connection) this.peer?.perform(command);
            return;
        }
        this.peer?.close();
        this.connection = id;
        this.peer = new BrowserPeer({
            iceServers: command.iceServers, icePolicy: "all", delivery: this.pair, canSignal: () => true, now, schedule,
            report: (fact) => this.fact(fact, id),
        });
        this.pair.attached(command.isOfferer);
    }

    get isConnected() {
        return this.machine.isConnected;
    }

    /** The facts of this type since the last call. */
    take(type) {
        const found = this.facts.filter((fact) => fact.type === type);
        this.facts = this.facts.filter((fact) => fact.type !== type);
        return found;
    }
}

const [a, b] = [new Side("a", "b"), new Side("b", "a")];
a.other = b;
b.other = a;
const times = {};
const notes = [];

/** Waits until the condition holds, and takes down how long that took. */
async function until(name, condition) {
    const start = performance.now();
    while (!condition()) {
        if (performance.now() - start > patience * 1000) {
            const state = [a, b].map(({ machine, facts }) => JSON.stringify([machine.status, facts.slice(-5)]));
            throw new Error(`${name}: not within ${patience} s: ${state.join(" | ")}`);
        }
        await new Promise((resolve) => setTimeout(resolve, 2));
    }
    times[name] = Math.round(performance.now() - start);
}

function expect(name, isTrue) {
    if (!isTrue) throw new Error(name);
    notes.push(name);
}

let count = 0;
/** Sends ten messages each way, and waits until all that were ever sent have come once and in order. */
async function talk(name) {
    for (let index = 0; index < 10; index++) {
        const text = index === 5 ? `${count} ${"long ".repeat(50_000)}` : `${count}`;
        count += 1;
        for (const side of [a, b]) side.pair.send(text);
    }
    await until(name, () => a.received.length >= count && b.received.length >= count);
    for (const side of [a, b])
        expect(`${name}: in order, none lost, none twice`,
            side.received.length === count && side.received.every((text, index) => parseInt(text) === index));
}

/** Whether both have reported a path since the last call that was true. */
function havePaths() {
    if (![a, b].every((side) => side.facts.some(({ type, value }) => type === "pathChanged" && value.usernameFragment)))
        return false;
    for (const side of [a, b]) side.take("pathChanged");
    return true;
}
const connections = () => [a.connection, b.connection].join();

try {
    for (const side of [b, a]) side.act((machine, now, random) => machine.appeared(now, random));
    for (const side of [b, a]) side.act((machine, now, random) => machine.begin(now, random));
    await until("connect", () => a.isConnected && b.isConnected);
    await talk("talk");
    await until("path", havePaths);
    const first = connections();

    for (const side of [a, b]) {
        side.act((machine, now, random) => machine.restart(now, random));
        await until(`restart by ${side.id}`, () => side.incidents.some(({ cause }) => cause === "requested"));
        await until(`new path after the restart by ${side.id}`, havePaths);
        await talk(`talk after the restart by ${side.id}`);
    }
    expect("a restart keeps the connection", connections() === first);
    expect("no channel was closed", !a.take("channelClosed").length && !b.take("channelClosed").length);

    for (const side of [a, b]) {
        for (const name of ["reliable", "unordered", "bulk", "topics"]) side.peer.closeChannel(`room.${name}`);
        side.pair.send(`${count}`);
        side.other.pair.send(`${count++}`);
        await until(`channels closed by ${side.id} are closed`, () => a.take("channelClosed").length);
        await until(`channels closed by ${side.id} are open again`, () => a.isConnected && b.isConnected);
        await talk(`talk after the channels were closed by ${side.id}`);
        a.take("channelClosed");
        b.take("channelClosed");
    }
    expect("channels are opened again on the same connection", connections() === first);

    const isRebuilt = (former) =>
        a.isConnected && b.isConnected && a.connection === b.connection && connections() !== former;
    for (const side of [a, b]) {
        const former = connections();
        side.peer.fail("a test");
        side.pair.send(`${count}`);
        side.other.pair.send(`${count++}`);
        await until(`rebuild after ${side.id} has failed`, () => isRebuilt(former));
        await talk(`talk after the rebuild by ${side.id}`);
    }
    for (const side of [a, b]) {
        const former = connections();
        a.take("closed");
        b.take("closed");
        side.peer.close();
        side.pair.send(`${count}`);
        side.other.pair.send(`${count++}`);
        await until(`the end by ${side.id} is noticed`, () => side.other.facts.some(({ type }) => type === "closed"));
        expect(`the end by ${side.id} is one in order`, side.other.take("closed")[0].value === undefined);
        await until(`rebuild after the end by ${side.id}`, () => isRebuilt(former));
        await talk(`talk after the end by ${side.id}`);
    }

    // An idle minute is a few seconds here: probes are answered.
    a.take("liveness");
    b.take("liveness");
    const probed = performance.now();
    a.act((machine, now, random) => machine.checkPath("reconnectRequested", now, random));
    await until("probe answered", () => a.take("liveness").some(({ value }) => value.type === "alive"));
    times.probe = Math.round(performance.now() - probed);
    await new Promise((resolve) => setTimeout(resolve, 7000));
    const isSuspect = [a, b].some((side) => side.take("liveness").some(({ value }) => value.type === "suspect"));
    expect("an idle pair is not suspect", !isSuspect && a.isConnected && b.isConnected);
    expect("the round trip is known", a.peer.statistics.roundTrip !== undefined);

    for (const side of [a, b]) side.act((machine, now, random) => machine.end(now, random));
    expect("the end closes both", !a.peer.isOpen && !b.peer.isOpen);
    await fetch("/result", { method: "POST", body: JSON.stringify({ passed: true, times, checks: notes.length }) });
} catch (error) {
    const body = JSON.stringify({ passed: false, error: `${error}\n${error?.stack}`, times });
    await fetch("/result", { method: "POST", body });
}
