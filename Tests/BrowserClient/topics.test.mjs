import assert from "node:assert/strict";
import { test } from "node:test";
import { utf8 } from "../../Sources/RoomPage/Client/bytes.js";
import { Budget, ReceiveWindow, SendWindow } from "../../Sources/RoomPage/Client/receive-window.js";
import { TopicLimits, TopicReceiver, TopicSender } from "../../Sources/RoomPage/Client/topic-windows.js";
import { Random, World, schedules } from "./virtual-pairs.mjs";

test("a window grants when half of it is consumed, and grows for a fast reader, within the budget", () => {
    const budget = new Budget();
    const window = new ReceiveWindow(budget, 1000);
    assert.equal(window.receive(900), true);
    assert.equal(window.receive(900), true);
    assert.equal(window.receive(1), false);
    assert.equal(window.consume(499), false);
    assert.equal(window.grant(0, 0, budget), undefined);
    assert.equal(window.consume(1), true);
    assert.equal(window.grant(0, 0, budget), 1500);
    assert.equal(window.consume(5000), true);
    assert.equal(window.consumed, 1800);
    assert.equal(window.grant(0.1, 0, budget), 3800);
    assert.equal(window.receive(2000), true);
    assert.equal(window.consume(2000), true);
    assert.equal(window.grant(0.3, 0, budget), 5800);
    assert.equal(window.size, 2000);
    assert.equal(budget.used, 2000);
    budget.add(Budget.maximum - 3000);
    window.receive(2000);
    window.consume(2000);
    assert.equal(window.grant(0.3, 0, budget), 7800);
    window.end(budget);
    assert.equal(budget.used, Budget.maximum - 3000);
});

test("a sender may begin while it is below the limit, which never falls", () => {
    const window = new SendWindow(100);
    assert.equal(window.begin(99), true);
    assert.equal(window.begin(50), true);
    assert.equal(window.begin(1), false);
    assert.equal(window.grant(100), false);
    assert.equal(window.grant(150), true);
    window.undo(50);
    assert.equal(window.sent, 99);
});

test("positions are in the order of the names' UTF-8 bytes", () => {
    const sender = new TopicSender();
    // In UTF-16 the first of these is smaller than the second.
    for (const name of ["\u{1F600}", "\uFF5E", "b", "ab", "a", ""]) sender.begin(name, 0);
    assert.deepEqual(sender.positions.map(({ name }) => name), ["", "a", "ab", "b", "\uFF5E", "\u{1F600}"]);
});

test("there are 256 topics in each direction, known by their bytes", () => {
    const sender = new TopicSender();
    const receiver = new TopicReceiver();
    const budget = new Budget();
    for (let index = 0; index < TopicLimits.topics; index += 1) {
        assert.equal(sender.begin(`t${index}`, 0), "begun");
        assert.equal(receiver.index(utf8(`t${index}`), budget), index);
    }
    assert.equal(sender.begin("more", 0), "tooMany");
    assert.equal(sender.begin("t7", 0), "begun");
    assert.equal(sender.grant("more", 10), undefined);
    assert.equal(receiver.index(utf8("more"), budget), undefined);
    assert.equal(receiver.index(utf8("t7"), budget), 7);
    assert.equal(receiver.name(7), "t7");
});

/** A world whose second side keeps the messages of topics until they are read. */
function subscribed(options = {}) {
    const kept = new Map();
    const topic = (arrival) => {
        if (arrival.topic.startsWith("unwanted")) return false;
        if (!kept.has(arrival.topic)) kept.set(arrival.topic, []);
        kept.get(arrival.topic).push(arrival);
        return true;
    };
    const world = new World({ ...options, handlers: [{}, { topic }] });
    /** Reads so many messages of a topic, and returns their texts. */
    const read = (name, count = Infinity) => (kept.get(name) ?? []).splice(0, count).map((arrival) => {
        arrival.consume();
        return Buffer.from(arrival.payload).toString();
    });
    return { world, kept, read };
}

test("a publisher waits for its slow subscriber, and nothing else does", async () => {
    const { world, kept, read } = subscribed();
    const [pair] = world.pairs;
    world.connect();
    let published = 0;
    const body = "x".repeat(10_000);
    for (let index = 0; index < 100; index += 1) {
        pair.publish({ topic: "slow", payload: `${index} ${body}` }).then(() => (published += 1));
    }
    await world.time.run(2);
    const waiting = published;
    assert.ok(waiting >= 26 && waiting <= 28, `${waiting}`);
    for (let index = 0; index < 100; index += 1) {
        pair.publish({ topic: "quick", payload: `${index} ${body}` });
        await world.time.run(world.time.time + 0.1);
        assert.deepEqual(read("quick"), [`${index} ${body}`]);
    }
    await pair.send("a message");
    assert.equal(published, waiting);
    const texts = [];
    while (texts.length < 100) {
        assert.ok(kept.get("slow").length > 0, `${texts.length}`);
        texts.push(...read("slow", 3));
        await world.time.run(world.time.time + 0.05);
    }
    assert.deepEqual(texts.map((text) => +text.split(" ")[0]), Array.from({ length: 100 }, (_, index) => index));
    assert.equal(published, 100);
});

test("messages that nobody subscribes to hold up nobody", async () => {
    const { world } = subscribed();
    world.connect();
    let published = 0;
    for (let index = 0; index < 200; index += 1) {
        world.pairs[0].publish({ topic: "unwanted", payload: "x".repeat(10_000) }).then(() => (published += 1));
    }
    await world.time.run(5);
    assert.equal(published, 200);
});

test("topics keep their order and lose nothing, over connections that end at any time", async () => {
    for (let seed = 1; seed <= schedules(150); seed += 1) {
        const random = new Random(seed);
        const { world, read } = subscribed({
            seed, configuration: { sendLimit: 200_000, maximumMessageSize: 50_000 },
            connection: { blocking: random.chance(0.5) ? 0.1 : 0 },
        });
        const names = ["a", "b", "ü"];
        const published = names.map(() => 0);
        const got = names.map(() => []);
        world.connect();
        for (let step = 0; step < 40; step += 1) {
            if (random.chance(0.15)) world.reconnect();
            const index = random.below(3);
            for (let count = random.below(6); count > 0; count -= 1) {
                const payload = `${published[index]++} ${"x".repeat(random.chance(0.2) ? random.below(49_000) : 30)}`;
                world.pairs[0].publish({ topic: names[index], payload: random.chance(0.5) ? payload : utf8(payload) });
            }
            const reading = random.below(3);
            got[reading].push(...read(names[reading], random.below(8)));
            await world.time.run(world.time.time + random.next() * 0.2);
        }
        for (let round = 0; round < 200 && got.some((texts, index) => texts.length < published[index]); round += 1) {
            names.forEach((name, index) => got[index].push(...read(name)));
            await world.time.run(world.time.time + 0.5);
        }
        got.forEach((texts, index) => assert.deepEqual(
            texts.map((text) => +text.split(" ")[0]), Array.from({ length: published[index] }, (_, count) => count),
            `seed ${seed}`));
        assert.deepEqual(world.broken, [], `seed ${seed}`);
        assert.equal(world.pairs[1].ignoredCount, 0, `seed ${seed}`);
    }
});

for (const index of [0, 1]) {
    test(`topics go on after ${index == 0 ? "the publisher" : "the subscriber"} has given up the other side`, async () => {
        for (let seed = 1; seed <= schedules(40); seed += 1) {
            const random = new Random(seed);
            const { world, kept, read } = subscribed({ seed });
            world.connect();
            const body = "x".repeat(20_000);
            const got = [];
            let published = 0;
            const publish = () => world.pairs[0].publish({ topic: "t", payload: `${published++} ${body}` });
            for (let round = 0; round < 4; round += 1) {
                for (let count = 0; count < 40; count += 1) {
                    publish();
                    if (random.chance(0.7)) got.push(...read("t", 1));
                    await world.time.run(world.time.time + random.next() * 0.05);
                }
                // Without what is under way, and what waits for its turn.
                world.giveUp(index);
                if (index == 1) kept.clear();
                world.connect();
            }
            const first = published;
            for (let count = 0; count < 40; count += 1) {
                publish();
                await world.time.run(world.time.time + 1);
                got.push(...read("t"));
            }
            const numbers = got.map((text) => +text.split(" ")[0]);
            assert.deepEqual(
                numbers.filter((number) => number >= first), Array.from({ length: 40 }, (_, count) => first + count),
                `seed ${seed}`);
            assert.equal(world.pairs[1].ignoredCount, 0, `seed ${seed}`);
        }
    });
}

test("lossy topics keep nothing and wait for nobody", async () => {
    const { world, kept } = subscribed({ connection: { loss: 0.5 } });
    const [pair] = world.pairs;
    const publication = { topic: "position", payload: "1", isLossy: true };
    assert.equal((await pair.publish(publication)).type, "dropped");
    world.connect();
    await world.time.run(1);
    for (let index = 0; index < 200; index += 1) assert.equal((await pair.publish(publication)).type, "accepted");
    await world.time.run(2);
    const { length } = kept.get("position");
    assert.ok(length > 50 && length < 150, `${length}`);
    assert.ok(kept.get("position").every((arrival) => arrival.isLossy));
});

test("publishing ends when it is cancelled, and when the participant is gone or broken", async () => {
    const { world } = subscribed();
    const [pair] = world.pairs;
    world.connect();
    await world.time.run(1);
    const publication = { topic: "t", payload: "x".repeat(262_000) };
    await pair.publish(publication);
    await pair.publish(publication);
    const controller = new AbortController();
    const cancelled = pair.publish(publication, { signal: controller.signal });
    const gone = pair.publish(publication);
    const droppable = pair.publish(publication, { mayDrop: true });
    controller.abort();
    assert.equal((await cancelled).type, "cancelled");
    pair.statusChanged({ type: "recovering", value: "restart", attempt: 1, since: 1 });
    assert.equal((await droppable).type, "dropped");
    pair.ended();
    assert.equal((await gone).type, "gone");
    assert.equal((await pair.publish(publication)).type, "gone");
});

test("a participant without topics is not sent any, and one that is over its window is ignored", async () => {
    const world = new World({ level: "delivery" });
    assert.equal((await world.pairs[0].publish({ topic: "t", payload: "x" })).type, "notSupported");
    const { world: other, kept } = subscribed();
    other.connect();
    await other.time.run(1);
    const { exchange } = other.pairs[1];
    const message = new Uint8Array(200_000);
    message.set([1, 0, 1, 0x74]);
    for (let count = 0; count < 5; count += 1) exchange.received(message, "reliable");
    assert.equal(kept.get("t").length, 2);
    assert.equal(other.pairs[1].ignoredCount, 3);
    exchange.received(Uint8Array.of(2, 1, 0x75, 0, 0, 0, 0, 0, 0, 0, 9), "reliable");
    exchange.received(message, "bulk");
    assert.equal(other.pairs[1].ignoredCount, 5);
});
