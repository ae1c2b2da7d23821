// Two whole clients in virtual time: a server that relays, and peer connections that reach each other.
import assert from "node:assert/strict";
import { test } from "node:test";
import { MessageRuntime } from "../../Sources/RoomPage/Client/messages.js";
import { JSONMessageCodec, RequestFailure, TransportRuntime } from "../../Sources/RoomPage/Client/room.js";
import { LinkedPeerConnection } from "./linked-peer-connection.mjs";
import { SeededGenerator } from "./pair-support.mjs";
import { FakeBrowser, joinedOnWire, otherOnWire } from "./room-support.mjs";

const ids = ["pa", "pb"];
/** Schedules of faults; `SEEDS=100` for more. */
const seeds = Number(process.env.SEEDS ?? 8);

/** Two rooms, `a` and `b`, that are connected to each other. */
class TwoRooms {
    browsers = ids.map(() => new FakeBrowser());
    /** Numbers of the server's messages. */
    sent = [0, 0];
    relayed = [0, 0];
    connections = [];

    static async make(configuration, runtimes = [TransportRuntime, TransportRuntime]) {
        const two = new TwoRooms();
        two.browsers[1].time = two.browsers[0].time;
        two.time = two.browsers[0].time;
        const connecting = two.browsers.map((browser, index) => {
            const environment = {
                ...browser.environment,
                createConnection: () => {
                    const connection = new LinkedPeerConnection((action) => two.time.schedule(0.001, action));
                    two.connections.push(connection);
                    return connection;
                },
            };
            const runtime = new runtimes[index]({ server: "ws://rooms.example/", ...configuration }, environment);
            return runtime.connect({ toRoom: "lobby", as: ids[index], host: "ifFirst" });
        });
        for (const { socket } of two.browsers) socket.open();
        two.capabilities = two.browsers.map(({ socket }) => socket.sent[0].capabilities);
        for (const index of [0, 1]) two.join(index);
        [two.a, two.b] = await Promise.all(connecting);
        await two.run(1);
        return two;
    }

    join(index, changes = {}) {
        const { socket } = this.browsers[index];
        if (socket.readyState === 0) socket.open();
        this.relayed[index] = socket.sent.length;
        this.sent[index] = 0;
        socket.receive(joinedOnWire({
            participant: ids[index], session: `s-${ids[index]}`, host: index === 0,
            roster: [otherOnWire(ids[1 - index], {
                capabilities: this.capabilities[1 - index], epoch: changes.epoch ?? 1,
            })], ...changes,
        }));
    }

    /** Relays signals, and lets time pass. */
    async run(seconds) {
        const end = this.time.now + seconds;
        while (this.time.now < end) {
            await this.time.run(Math.min(end, this.time.now + 0.01));
            for (const index of [0, 1]) this.relay(index);
        }
    }

    /** Whether the server lets a client in again, as one that has lost its state. */
    repeatsServer = false;
    epochs = [1, 1];

    /** Answers what a client does to come back. */
    comeBack(index) {
        const { socket, requests } = this.browsers[index];
        for (const request of requests.splice(0)) request.answer();
        if (socket.readyState !== 0) return;
        this.epochs[index] += 1;
        const epoch = this.epochs[index];
        this.join(index, { epoch, roster: [otherOnWire(ids[1 - index], {
            capabilities: this.capabilities[1 - index], epoch: this.epochs[1 - index], host: index === 1,
        })] });
        this.relayed[index] = 1;
        const other = this.browsers[1 - index].socket;
        if (other.readyState !== 1) return;
        this.sent[1 - index] += 1;
        other.receive({
            type: "peerChanged", seq: this.sent[1 - index],
            participant: otherOnWire(ids[index], {
                capabilities: this.capabilities[index], epoch, host: index === 0,
            }),
        });
    }

    relay(index) {
        if (this.repeatsServer) this.comeBack(index);
        const { socket } = this.browsers[index];
        if (socket.readyState !== 1) return;
        while (this.relayed[index] < socket.sent.length) {
            const message = socket.sent[this.relayed[index]++];
            if (message.seq) socket.receive({ type: "ack", received: message.seq });
            if (message.type === "ping") socket.receive({ type: "pong", id: message.id });
            if (message.type !== "signal" || this.browsers[1 - index].socket.readyState !== 1) continue;
            const { seq, ack, ...signal } = message;
            this.sent[1 - index] += 1;
            this.browsers[1 - index].socket.receive(
                { ...signal, peer: ids[index], session: `s-${ids[index]}`, seq: this.sent[1 - index] });
        }
    }

    /** The result of a promise, which needs time to pass. */
    async result(promise, seconds = 30) {
        let outcome;
        promise.then((value) => { outcome = { value }; }, (error) => { outcome = { error }; });
        for (let turn = 0; turn < seconds * 10 && !outcome; turn += 1) await this.run(0.1);
        assert.ok(outcome, `no result within ${seconds} s`);
        if ("error" in outcome) throw outcome.error;
        return outcome.value;
    }
}

function collect(iterator, of = (value) => value) {
    const values = [];
    (async () => {
        for await (const value of iterator) values.push(of(value));
    })();
    return values;
}

test("two rooms connect, and send texts and bytes to each other", async () => {
    const two = await TwoRooms.make();
    assert.equal(two.a.snapshot.members[0].status.type, "connected");
    const received = collect(two.b.messages(), ({ from, isText, text, payload }) =>
        [from, isText, text ?? payload.length]);
    await two.a.send("hello");
    await two.a.send(new Uint8Array(300_000).fill(0xff), { to: "pb" });
    await two.result(two.a.flush());
    assert.deepEqual(received, [["pa", true, "hello"], ["pa", false, 300_000]]);
    const handled = [];
    two.a.onMessage(({ text, channel }) => handled.push([text, channel]));
    await two.b.send("fast", { channel: "lossy" });
    await two.b.send("any order", { channel: "unordered" });
    two.b.trySend("now", { to: "pa" });
    await two.run(0.1);
    assert.deepEqual(handled.sort(), [["any order", "unordered"], ["fast", "lossy"], ["now", "reliable"]]);
});

test("a page that has only messages exchanges them with one that has everything", async () => {
    const two = await TwoRooms.make({}, [MessageRuntime, TransportRuntime]);
    assert.ok(!two.capabilities[0].includes("exchange.v1") && two.capabilities[1].includes("exchange.v1"));
    const [atA, atB] = [two.a.messages(), two.b.messages()];
    assert.equal((await two.result(two.a.send("to b"))).acceptedCount, 1);
    assert.equal((await two.result(two.b.send("to a"))).acceptedCount, 1);
    assert.equal((await two.result(atA.next())).value.text, "to a");
    assert.equal((await two.result(atB.next())).value.text, "to b");
    await assert.rejects(two.result(two.b.request("m", "x", { to: "pa" })), { code: "not_supported" });
    await assert.rejects(two.result(two.b.topic("t").publish("x", { to: "pa" })), { code: "not_supported" });
    assert.equal(two.a.topic, undefined);
    await two.result(two.a.leave({ within: 0 }));
});

test("requests have answers, failures of their handlers, and deadlines", async () => {
    const two = await TwoRooms.make();
    two.b.handle("add", ({ a, b }, caller) => ({ sum: a + b, caller }), { codec: JSONMessageCodec });
    two.b.handle("fail", () => { throw new RequestFailure("no_coffee", "there is none"); });
    two.b.handle("break", () => { throw new Error("secret"); });
    let signal;
    two.b.handle("wait", (_, __, aborted) => {
        signal = aborted;
        return new Promise(() => {});
    });
    const ask = (method, body, options) => two.result(two.a.request(method, body, { to: "pb", ...options }));
    assert.deepEqual(await ask("add", { a: 1, b: 2 }, { codec: JSONMessageCodec }), { sum: 3, caller: "pa" });
    await assert.rejects(ask("fail", "x"), (error) => error.code === "refused" && error.failure.code === "no_coffee");
    await assert.rejects(ask("break", "x"), (error) =>
        error.code === "handler_failed" && !error.message.includes("secret"));
    await assert.rejects(ask("unknown", "x"), { code: "unknown_method" });
    await assert.rejects(ask("add", "nonsense"), { code: "undecodable" });
    await assert.rejects(ask("wait", "x", { timeout: 2 }), { code: "timed_out" });
    await two.run(0.1);
    assert.ok(signal.aborted);
    const controller = new AbortController();
    const cancelled = two.a.request("wait", "x", { to: "pb", signal: controller.signal });
    controller.abort();
    await assert.rejects(two.result(cancelled), { code: "cancelled" });
});

test("every subscription of a topic gets what comes from then on; what cannot be decoded is skipped", async () => {
    const two = await TwoRooms.make();
    const topic = two.b.topic("scores", { codec: JSONMessageCodec });
    const first = collect(topic.messages(), ({ value }) => value);
    const subscription = topic.messages();
    const second = collect(subscription, ({ value }) => value);
    const raw = collect(two.b.topic("scores").messages(), ({ text }) => text);
    await two.a.topic("scores", { codec: JSONMessageCodec }).publish({ ann: 1 });
    await two.a.topic("scores").publish("{");
    await two.run(0.1);
    await subscription.return();
    await two.a.topic("scores", { codec: JSONMessageCodec }).publish({ ann: 2 }, { to: "pb" });
    await two.run(0.1);
    assert.deepEqual([first, second, raw], [[{ ann: 1 }, { ann: 2 }], [{ ann: 1 }], ['{"ann":1}', "{", '{"ann":2}']]);
});

test("a stream has its bytes and its end; a consumer that stops leaves the next stream to another one", async () => {
    const two = await TwoRooms.make();
    const read = async () => {
        for await (const stream of two.b.incomingStreams()) {
            let count = 0;
            for await (const chunk of stream) count += chunk.length;
            return [stream.from, stream.name, stream.length, stream.metadata.kind, count];
        }
    };
    for (const name of ["one", "two"]) {
        const reading = read();
        const stream = await two.a.openStream(name, { to: "pb", length: 1_000_000, metadata: { kind: "test" } });
        for (let index = 0; index < 10; index += 1) await two.result(stream.write(new Uint8Array(100_000)));
        await two.result(stream.finish());
        assert.deepEqual(await reading, ["pa", name, 1_000_000, "test", 1_000_000]);
        assert.equal(stream.acknowledgedCount, 1_000_000);
    }
});

test("a receiver that reads nothing holds back the sender, and nothing is lost", async () => {
    const two = await TwoRooms.make({ receiveLimit: 65_536, sendLimit: 131_072, maximumMessageSize: 65_536 });
    let count = 0;
    const sending = (async () => {
        for (let index = 0; index < 40; index += 1) {
            await two.a.send(new Uint8Array(16_384).fill(index));
            count += 1;
        }
    })();
    await two.run(5);
    assert.ok(count < 40, "nothing holds back the sender");
    const received = collect(two.b.messages(), ({ payload }) => payload[0]);
    await two.result(sending);
    await two.result(two.a.flush());
    assert.deepEqual(received, [...Array(40).keys()]);
});

test("exactly once and in order over a connection that breaks", async () => {
    const two = await TwoRooms.make();
    const received = collect(two.b.messages(), ({ text }) => text);
    const events = collect(two.a.events());
    await two.a.send("1");
    await two.run(0.1);
    for (const connection of two.connections) connection.isCut = true;
    await two.a.send("2");
    await two.run(0.1);
    for (const connection of two.connections.slice()) connection.breakDown();
    await two.a.send("3");
    await two.result(two.a.flush());
    assert.deepEqual(received, ["1", "2", "3"]);
    assert.ok(two.connections.length > 2);
    const incident = events.find(({ type }) => type === "incident").incident;
    assert.deepEqual([incident.participant, incident.rung, incident.outcome], ["pb", "rebuild", "recovered"]);
    assert.equal(events.filter(({ type }) => type === "peerLeft").length, 0);
});

test("whatever happens to connections and server, every message arrives once and in order", async (context) => {
    for (let seed = 1; seed <= seeds; seed += 1) {
        await context.test(`seed ${seed}`, async () => {
            const dice = new SeededGenerator(seed);
            const two = await TwoRooms.make({ recovery: { rebuildWithoutPath: 15 } });
            two.repeatsServer = true;
            const received = [two.a, two.b].map((room) => collect(room.messages(), ({ text }) => Number(text)));
            const sent = [0, 0];
            const left = [two.a, two.b].map((room) => collect(room.events(), ({ type }) => type));
            for (let step = 0; step < 60; step += 1) {
                const side = dice.below(2);
                const room = [two.a, two.b][side];
                switch (dice.below(12)) {
                case 0: for (const connection of two.connections) connection.isCut = dice.below(2) === 0; break;
                case 1: two.connections.at(-1 - dice.below(2)).breakDown(); break;
                case 2: two.browsers[side].socket.end(); break;
                case 3: room.reconnectNow(); break;
                case 4: room.restartPaths(); break;
                case 5: {
                    const { channels } = two.connections.at(-1);
                    channels[dice.below(channels.length + 1)]?.close();
                    break;
                }
                default:
                    sent[side] += 1;
                    // The buffers are far from full: it does not wait.
                    await room.send(String(sent[side]));
                }
                await two.run(dice.below(10) === 0 ? 4 : dice.below(100) / 100);
            }
            for (const connection of two.connections) connection.isCut = false;
            for (const room of [two.a, two.b]) await two.result(room.flush({ within: 120 }), 130);
            for (const side of [0, 1]) {
                assert.deepEqual(received[side], Array.from({ length: sent[1 - side] }, (_, index) => index + 1));
                assert.ok(!left[side].includes("peerLeft"), "nobody has left");
            }
            const isWhole = () => [two.a, two.b].every((room) =>
                room.snapshot.members[0].status.type === "connected" && room.signalingStatus.type === "connected");
            for (let second = 0; second < 30 && !isWhole(); second += 1) await two.run(1);
            assert.ok(isWhole(), "the room is not whole again after 30 s");
        });
    }
});

test("who leaves is gone at once for the other one, even without the server", async () => {
    const two = await TwoRooms.make();
    const events = collect(two.b.events());
    two.browsers[1].socket.end();
    await two.result(two.a.leave());
    await two.run(0.3);
    assert.equal(events.find(({ type }) => type === "peerLeft").reason, "left");
    assert.deepEqual(two.b.participants, []);
    assert.ok(two.connections.every(({ isClosed }) => isClosed));
});

test("statistics and the verification code of a pair", async () => {
    const two = await TwoRooms.make();
    await two.a.send("hello");
    await two.run(0.1);
    const statistics = (await two.a.statistics()).get("pb");
    assert.ok(statistics.messagesSent > 0 && statistics.bytesSent > 0);
    const [ours, theirs] = [await two.a.security({ of: "pb" }), await two.b.security({ of: "pa" })];
    assert.match(ours.verificationCode, /^(\d{5} ){5}\d{5}$/);
    assert.equal(ours.verificationCode, theirs.verificationCode);
    assert.equal(ours.localFingerprint, theirs.remoteFingerprint);
    assert.equal(await two.a.security({ of: "nobody" }), undefined);
});

test("a handler that comes late gets what waited in its order, and then what was held back", async () => {
    const two = await TwoRooms.make({ receiveLimit: 65_536 });
    for (let index = 0; index < 20; index += 1) await two.a.send(new Uint8Array(10_000).fill(index), { to: "pb" });
    await two.run(2);
    const order = [];
    two.b.onMessage(({ payload }) => order.push(payload[0]));
    await two.run(2);
    assert.deepEqual(order, Array.from({ length: 20 }, (_, index) => index));
});

test("streams that were declined cost nothing: further ones are taken", async () => {
    const two = await TwoRooms.make();
    (async () => { for await (const stream of two.b.incomingStreams()) stream.cancel("no", "no"); })();
    for (let index = 0; index < 300; index += 1) {
        const stream = await two.a.openStream("x", { to: "pb" });
        await two.run(0.1);
        assert.equal(stream.failures.get("pb").reason, "no");
    }
});

test("streams that nobody takes are refused at a limit", async () => {
    const two = await TwoRooms.make();
    for (let index = 0; index < 256; index += 1) {
        (await two.a.openStream("x", { to: "pb" })).cancel("enough");
        await two.run(0.1);
    }
    const further = await two.a.openStream("x", { to: "pb" });
    await two.run(0.1);
    assert.equal(further.failures.get("pb").code, "busy");
});

test("a request to nobody is answered by nobody", async () => {
    const two = await TwoRooms.make();
    two.b.handle("m", () => "answered");
    await assert.rejects(two.a.request("m", "secret", { to: undefined }), { code: "peer_gone" });
});

test("one payload that was given away fails alone", async () => {
    const two = await TwoRooms.make({ sendLimit: 131_072, maximumMessageSize: 65_536 });
    const payloads = Array.from({ length: 60 }, () => new ArrayBuffer(30_000));
    const results = payloads.map((payload) =>
        two.a.send(payload, { to: "pb" }).then(() => "sent", (error) => error.name));
    structuredClone(payloads[50], { transfer: [payloads[50]] });
    await two.run(5);
    assert.deepEqual((await Promise.all(results)).filter((result) => result !== "sent"), ["TypeError"]);
});
