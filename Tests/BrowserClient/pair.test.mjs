import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { utf8 } from "../../Sources/RoomPage/Client/bytes.js";
import { ExchangeHead } from "../../Sources/RoomPage/Client/exchange-message.js";
import { Random, World, schedules, settled } from "./virtual-pairs.mjs";

test("plain channels carry messages unchanged, and lossy ones keep nothing", () => {
    const received = [];
    const dropped = [];
    const handlers = [
        { lossyDropped: (count) => dropped.push(count) },
        { message: (message) => received.push(`${message.channel} ${message.isText} ${message.text}`) },
    ];
    const world = new World({ level: "plain", handlers, connection: { loss: 0 } });
    const [pair] = world.pairs;
    assert.equal(pair.trySend("early", { channel: "lossy" }).type, "dropped");
    assert.equal(pair.trySend("waits").type, "accepted");
    world.connect();
    world.time.runNow(1);
    assert.equal(pair.trySend(utf8("bytes"), { channel: "unordered" }).type, "accepted");
    assert.equal(pair.trySend("lossy", { channel: "lossy" }).type, "accepted");
    world.time.runNow(2);
    assert.deepEqual(received.sort(), ["lossy true lossy", "reliable true waits", "unordered false bytes"]);
    assert.deepEqual(dropped, [1]);
    assert.equal(world.connection.ends[0].channels.has("room.plain"), true);
});

test("an unordered channel does not send again what a connection has taken", () => {
    const received = [];
    const world = new World({ handlers: [{}, { message: (message) => received.push(message.text) }] });
    world.pairs[0].send("one", { channel: "unordered" });
    world.connect();
    world.time.runNow(1);
    world.reconnect();
    world.pairs[0].send("two", { channel: "unordered" });
    world.time.runNow(2);
    assert.deepEqual(received, ["one", "two"]);
});

test("a send waits while the buffer is full, and sends keep their order", async () => {
    const received = [];
    const world = new World({
        configuration: { sendLimit: 1000, maximumMessageSize: 500 },
        handlers: [{}, { message: (message) => received.push(message.text.trim()) }],
    });
    const [pair] = world.pairs;
    let accepted = 0;
    for (let index = 0; index < 50; index += 1) {
        pair.send(`${index}`.padEnd(index % 7 == 0 ? 300 : 20)).then((sent) => (accepted += sent.type == "accepted"));
    }
    await settled();
    assert.ok(accepted > 5 && accepted < 50, `${accepted}`);
    assert.equal(pair.trySend("x").type, "full");
    world.connect();
    await world.time.run(1);
    world.reconnect();
    await world.time.run(3);
    assert.equal(accepted, 50);
    assert.deepEqual(received, Array.from({ length: 50 }, (_, index) => `${index}`));
});

test("a send that waits can be cancelled, and is never sent then", async () => {
    const received = [];
    const world = new World({
        configuration: { sendLimit: 1000, maximumMessageSize: 1000 },
        handlers: [{}, { message: (message) => received.push(message.text[0]) }],
    });
    const [pair] = world.pairs;
    const controller = new AbortController();
    const results = ["a", "b", "c"].map((text) =>
        pair.send(text.repeat(900), { signal: text == "b" ? controller.signal : undefined }));
    controller.abort();
    world.connect();
    await world.time.run(1);
    assert.deepEqual((await Promise.all(results)).map((sent) => sent.type), ["accepted", "cancelled", "accepted"]);
    assert.deepEqual(received, ["a", "c"]);
    assert.equal((await pair.send("x", { signal: controller.signal })).type, "cancelled");
});

/** A pair whose buffer takes one message, and the counts of those that it has reported as undelivered. */
function withSmallBuffer() {
    const undelivered = [];
    const world = new World({
        configuration: { sendLimit: 1000, maximumMessageSize: 900 },
        handlers: [{ undelivered: (count) => undelivered.push(count) }, {}],
    });
    const [pair] = world.pairs;
    return { world, pair, undelivered };
}

test("a broadcast does not wait for a broken participant, and what it misses is counted", async () => {
    const { world, pair, undelivered } = withSmallBuffer();
    world.connect();
    await world.time.run(1);
    world.pairs[1].setReceiving(false, "reliable");
    await pair.send("x".repeat(900), { mayDrop: true });
    const waiting = pair.send("y".repeat(900), { mayDrop: true });
    await world.time.run(2);
    pair.statusChanged({ type: "recovering", value: "wait", attempt: 1, since: 1 });
    await world.time.run(3);
    pair.statusChanged({ type: "recovering", value: "restart", attempt: 1, since: 1 });
    assert.equal((await waiting).type, "dropped");
    pair.statusChanged({ type: "connected" });
    assert.deepEqual(undelivered, [1]);
});

test("the end of the session ends every wait, and counts what was not delivered", async () => {
    const { world, pair, undelivered } = withSmallBuffer();
    await pair.send("x".repeat(900));
    const sent = pair.send("y".repeat(900));
    const flushed = pair.flush();
    assert.equal(pair.ended(), 1);
    assert.equal((await sent).type, "gone");
    assert.equal(await flushed, false);
    assert.equal((await pair.send("z")).type, "gone");
    assert.deepEqual(undelivered, [1]);
    assert.equal(pair.ended(), 0);
    assert.equal(world.time.pending, 0);
});

test("a message over the limit of either side is refused", () => {
    const world = new World({ configuration: { sendLimit: 4000, maximumMessageSize: 1000 } });
    assert.deepEqual(world.pairs[0].trySend("x".repeat(1001)), { type: "tooLarge", limit: 1000 });
    world.connect({ maximumMessageSize: 500 });
    world.time.runNow(1);
    assert.equal(world.pairs[0].trySend("x".repeat(1000)).type, "accepted");
    assert.deepEqual(
        world.pairs[0].trySend("x".repeat(501), { channel: "unordered" }), { type: "tooLarge", limit: 500 });
});

test("a flush returns when everything before it has arrived", async () => {
    const received = [];
    const handlers = [{}, { message: (message) => received.push(message.text) }];
    const world = new World({ handlers, connection: { rate: 1e4 } });
    const [pair] = world.pairs;
    assert.equal(await pair.flush(), true);
    pair.send("x".repeat(20_000));
    pair.send("unordered", { channel: "unordered" });
    let isFlushed;
    pair.flush().then((result) => (isFlushed = result));
    const controller = new AbortController();
    const aborted = pair.flush({ signal: controller.signal });
    world.connect();
    await world.time.run(1);
    assert.equal(isFlushed, undefined);
    controller.abort();
    assert.equal(await aborted, false);
    await world.time.run(4);
    assert.equal(isFlushed, true);
    assert.equal(received.length, 2);
});

test("an application that does not read holds back the sender, and loses nothing", async () => {
    for (let seed = 1; seed <= schedules(100); seed += 1) {
        const random = new Random(seed);
        const received = [[], []];
        const world = new World({
            seed, configuration: { sendLimit: 5000, maximumMessageSize: 2000 },
            handlers: [0, 1].map((index) => ({ message: (message) => received[index].push(+message.text) })),
        });
        const sent = [0, 0];
        world.connect();
        for (let step = 0; step < 40; step += 1) {
            const side = random.below(2);
            if (random.chance(0.3)) world.pairs[side].setReceiving(random.chance(0.5), "reliable");
            if (random.chance(0.1)) world.reconnect();
            const send = () => world.pairs[side].trySend(`${sent[side]}`.padEnd(random.below(2000)));
            while (send().type == "accepted") sent[side] += 1;
            world.time.runNow(world.time.time + random.next());
        }
        for (const pair of world.pairs) pair.setReceiving(true, "reliable");
        world.time.runNow(world.time.time + 20);
        for (const side of [0, 1]) {
            const numbers = Array.from({ length: sent[side] }, (_, index) => index);
            assert.deepEqual(received[1 - side], numbers, `seed ${seed}`);
        }
        assert.deepEqual(world.broken, [], `seed ${seed}`);
    }
});

test("what comes while nobody reads is bounded, also from a side that keeps to nothing", () => {
    const world = new World({ configuration: { sendLimit: 100_000, maximumMessageSize: 50_000 } });
    world.connect();
    world.time.runNow(1);
    world.pairs[1].setReceiving(false, "reliable");
    const before = memoryInUse();
    for (let count = 0; count < 10_000; count += 1) {
        const frame = new Uint8Array(count % 2 == 0 ? 1000 : 9);
        frame[0] = 2;
        new DataView(frame.buffer).setUint32(1, count + 1);
        world.pairs[1].received("room.reliable", frame);
    }
    const growth = memoryInUse() - before;
    assert.ok(growth < 1_500_000, `${growth}`);
});

test("a sender with a larger buffer than is kept goes on once its messages are read, and loses nothing", async () => {
    const received = [];
    const configuration = { sendLimit: 5000, maximumMessageSize: 2000 };
    const world = new World({ configuration, handlers: [{}, { message: ({ text }) => received.push(+text) }] });
    world.configuration = { ...configuration, sendLimit: 100_000 };
    world.make(0);
    world.connect();
    world.pairs[1].setReceiving(false, "reliable");
    for (let index = 0; index < 60; index += 1) {
        assert.equal(world.pairs[0].trySend(`${index}`.padEnd(1000)).type, "accepted");
    }
    await world.time.run(30);
    assert.deepEqual(world.broken, []);
    assert.deepEqual(received, []);
    world.pairs[1].setReceiving(true, "reliable");
    // What was not kept is sent again.
    assert.equal(world.broken.length, 1);
    world.reconnect();
    await world.time.run(40);
    assert.deepEqual(received, Array.from({ length: 60 }, (_, index) => index));
    assert.equal(world.broken.length, 1);
});

/** Bytes in use, without what can be freed. A collection may free buffers beside the program; the next waits for it. */
function memoryInUse() {
    setFlagsFromString("--expose_gc");
    const collect = runInNewContext("gc");
    collect();
    collect();
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return heapUsed + arrayBuffers;
}

test("a flood of topics, requests and streams that nobody reads stays within its bounds", async () => {
    const kept = [];
    const world = new World({
        handlers: [{}, {
            topic: (arrival) => kept.push(arrival) > 0, request: () => new Promise(() => {}),
            stream: (stream) => kept.push(stream),
        }],
    });
    world.connect();
    await world.time.run(1);
    const [, pair] = world.pairs;
    const random = new Random(1);
    const before = memoryInUse();
    let bytes = 0;
    for (let count = 0; count < 200_000; count += 1) {
        const id = 1 + random.below(count);
        const [head, channel] = [
            () => [ExchangeHead.topicMessage(`t${random.below(4)}`, false), "reliable"],
            () => [ExchangeHead.request(id, 0, "m", false), "reliable"],
            () => [ExchangeHead.open(id, { name: "s", metadata: { key: "value" } }), "bulk"],
            () => [ExchangeHead.data(id), "bulk"], () => [ExchangeHead.answer(id, true), "reliable"],
            () => [ExchangeHead.reset(id, "c", "m"), "bulk"],
        ][random.below(6)]();
        const message = new Uint8Array(head.length + (head[0] == 0x20 || head[0] == 0x23 ? 0 : random.below(2000)));
        message.set(head);
        bytes += message.length;
        pair.exchange.received(message, channel);
    }
    await settled();
    assert.ok(bytes > 100e6, `${bytes}`);
    assert.ok(pair.ignoredCount > 10_000, `${pair.ignoredCount}`);
    const growth = memoryInUse() - before;
    assert.ok(growth < 30e6, `${growth} bytes`);
    assert.ok(kept.length > 0 && kept.length < 20_000, `${kept.length}`);
});

test("two sides that do not read still hear what the other one has received", () => {
    const world = new World({ configuration: { sendLimit: 1000, maximumMessageSize: 900 } });
    world.connect();
    world.time.runNow(1);
    world.pairs[0].send("x".repeat(800));
    world.time.runNow(1.011);
    // Both have read one, and now nobody reads.
    world.pairs[1].send("y".repeat(800));
    world.pairs[0].setReceiving(false, "reliable");
    world.time.runNow(3);
    assert.equal(world.pairs[0].trySend("z".repeat(800)).type, "accepted");
});

test("everything at once arrives once and in order, over connections and channels that end at any time", async () => {
    let total = 0;
    for (let seed = 1; seed <= schedules(40); seed += 1) {
        const random = new Random(seed);
        const messages = [[], []];
        const topics = [[], []];
        const streams = [[], []];
        const answers = [[], []];
        const world = new World({
            seed, configuration: { sendLimit: 100_000, maximumMessageSize: 60_000 },
            connection: { rate: 10 ** (5.5 + random.next()), blocking: random.chance(0.5) ? 0.05 : 0 },
            handlers: [0, 1].map((index) => ({
                message: (message) => messages[1 - index].push(+message.text.split(" ")[0]),
                topic: (arrival) => {
                    world.time.schedule(random.next() * 0.1, () => arrival.consume());
                    topics[1 - index].push(+Buffer.from(arrival.payload).toString().split(" ")[0]);
                    return true;
                },
                request: async ({ payload }) => ({ payload }),
                stream: async (stream) => {
                    const hash = createHash("sha1");
                    for await (const chunk of stream) hash.update(chunk);
                    streams[1 - index].push(`${stream.name} ${hash.digest("hex")}`);
                },
            })),
        });
        const sent = [0, 1].map(() => ({ messages: 0, topics: 0, requests: 0, streams: [] }));
        const waits = [];
        world.connect();
        for (let step = 0; step < 40; step += 1) {
            if (random.chance(0.1)) world.reconnect();
            if (random.chance(0.1)) {
                world.connection.ends[random.below(2)].closeChannel(random.chance(0.5) ? "room.reliable" : "room.bulk");
            }
            const side = random.below(2);
            const pair = world.pairs[side];
            const count = sent[side];
            const filler = "x".repeat(random.chance(0.1) ? random.below(50_000) : 20);
            for (let burst = random.below(5); burst > 0; burst -= 1) {
                waits.push(pair.send(`${count.messages++} ${filler}`));
                waits.push(pair.publish({ topic: "t", payload: `${count.topics++} ${filler}` }));
                const answer = pair.request("m", `${count.requests++}`);
                waits.push(answer.then((bytes) => answers[side].push(+Buffer.from(bytes))));
            }
            if (random.chance(0.1)) {
                const bytes = random.bytes(random.below(200_000));
                const stream = pair.openStream(`${count.streams.length}`, { length: bytes.length });
                count.streams.push(`${stream.name} ${createHash("sha1").update(bytes).digest("hex")}`);
                waits.push(stream.write(bytes).then(() => stream.finish()));
            }
            await world.time.run(world.time.time + random.next() * 0.2);
        }
        await world.time.run(world.time.time + 29);
        await Promise.all(waits);
        for (const side of [0, 1]) {
            const counts = (count) => Array.from({ length: count }, (_, index) => index);
            assert.deepEqual(messages[side], counts(sent[side].messages), `seed ${seed}`);
            assert.deepEqual(topics[side], counts(sent[side].topics), `seed ${seed}`);
            answers[side].sort((left, right) => left - right);
            assert.deepEqual(answers[side], counts(sent[side].requests), `seed ${seed}`);
            assert.deepEqual(streams[side].sort(), sent[side].streams.sort(), `seed ${seed}`);
            total += sent[side].messages + sent[side].topics + sent[side].requests;
        }
        assert.deepEqual(world.broken, [], `seed ${seed}`);
    }
    assert.ok(total > schedules(4000), `${total}`);
});
