import assert from "node:assert/strict";
import { test } from "node:test";
import { readU32, utf8 } from "../../Sources/RoomPage/Client/bytes.js";
import { encodeResume } from "../../Sources/RoomPage/Client/delivery-protocol.js";
import { ReopeningBackoff } from "../../Sources/RoomPage/Client/reopening-backoff.js";
import { SendBuffer } from "../../Sources/RoomPage/Client/send-buffer.js";
import { Random, World, schedules } from "./virtual-pairs.mjs";

/** The messages of one direction: what was accepted, and what came. */
class Ledger {
    accepted = [];
    received = [];
    acceptedBytes = 0;
    receivedBytes = 0;

    /** Sends a message of about so many bytes. */
    send(pair, random, size) {
        const text = `${this.accepted.length} ${"x".repeat(random.below(size))}`;
        const isText = random.chance(0.5);
        if (pair.trySend(isText ? text : utf8(text)).type != "accepted") return;
        this.accepted.push(`${isText} ${text}`);
        this.acceptedBytes += text.length;
    }
    take(message) {
        this.received.push(`${message.isText} ${message.text}`);
        this.receivedBytes += message.payload.length;
    }
}

/** A world with seeded sizes, in which both sides have a ledger. */
function worldOf(seed, mayBeSmall = true) {
    const random = new Random(seed);
    const ledgers = [new Ledger(), new Ledger()];
    const handlers = [0, 1].map((index) => ({ message: (message) => ledgers[1 - index].take(message) }));
    const sendLimit = 1000 + random.below(20_000);
    const world = new World({
        seed, level: random.chance(0.5) ? "exchange" : "delivery", handlers,
        configuration: { sendLimit, maximumMessageSize: 500 + random.below(sendLimit - 500) },
        connection: {
            delay: random.next() * 0.05, jitter: random.next() * 0.05, rate: 10 ** (4 + random.below(4)),
            blocking: random.chance(0.5) ? 0.1 : 0,
            maximumMessageSize: mayBeSmall && random.chance(0.5) ? 64 + random.below(1000) : 65_536,
        },
    });
    if (world.connectionOptions.maximumMessageSize < 65_536) {
        // Until a connection has told, 64 KiB may be sent at once (RFC 8841 §6.1).
        world.connect();
        world.time.runNow(1);
        world.connection.lose();
    }
    return { world, ledgers, random };
}

test("every message arrives once and in order, over connections and channels that end at any time", () => {
    let connections = 0;
    let messages = 0;
    for (let seed = 1; seed <= schedules(2000); seed += 1) {
        const { world, ledgers, random } = worldOf(seed);
        const { time, pairs, configuration } = world;
        let isConnected = false;
        for (let step = 0; step < 60; step += 1) {
            const choice = random.next();
            if (!isConnected ? choice < 0.3 : choice < 0.1) {
                world.reconnect();
                isConnected = true;
                connections += 1;
            } else if (isConnected && choice < 0.15) {
                world.connection.lose();
                isConnected = false;
            } else if (isConnected && choice < 0.2) {
                world.connection.ends[random.below(2)].closeChannel("room.reliable");
            } else {
                const side = random.below(2);
                for (let count = random.below(8); count > 0; count -= 1) {
                    ledgers[side].send(pairs[side], random, random.chance(0.1) ? configuration.maximumMessageSize : 60);
                }
            }
            time.runNow(time.time + random.next() * 0.1);
            for (const ledger of ledgers) {
                const rest = ledger.acceptedBytes - ledger.receivedBytes;
                // The parts of one message may be acknowledged, and the last is not there.
                assert.ok(rest <= configuration.sendLimit + configuration.maximumMessageSize, `seed ${seed}`);
            }
        }
        world.reconnect({ blocking: 0 });
        time.runNow(time.time + 100);
        for (const ledger of ledgers) {
            assert.deepEqual(ledger.received, ledger.accepted, `seed ${seed}`);
            messages += ledger.accepted.length;
        }
        assert.deepEqual(world.broken, [], `seed ${seed}`);
        // Nothing is left to do: no timer goes on for nothing.
        assert.equal(time.pending, 0, `seed ${seed}`);
    }
    assert.ok(connections > schedules(4000), `${connections}`);
    assert.ok(messages > schedules(50_000), `${messages}`);
});

test("a side that was given up and comes back in its session continues behind what was given up", () => {
    let lostCount = 0;
    for (let seed = 1; seed <= schedules(500); seed += 1) {
        const { world, ledgers, random } = worldOf(seed, false);
        const { time, pairs } = world;
        world.connect();
        for (let round = 0; round < 6; round += 1) {
            for (let step = 0; step < 5; step += 1) {
                for (const side of [0, 1]) ledgers[side].send(pairs[side], random, 200);
                time.runNow(time.time + random.next() * 0.1);
            }
            world.connection.lose();
            const side = random.below(2);
            const pair = pairs[side];
            lostCount += pair.ended();
            world.memories[side].store(pair.streams);
            world.make(side);
            world.connect();
        }
        for (const side of [0, 1]) ledgers[side].send(pairs[side], random, 200);
        world.reconnect({ blocking: 0 });
        time.runNow(time.time + 100);
        for (const ledger of ledgers) {
            // What was given up may have arrived or not. Nothing came twice, and what came later is there.
            const places = ledger.received.map((message) => ledger.accepted.indexOf(message));
            assert.deepEqual(places, [...places].sort((left, right) => left - right), `seed ${seed}`);
            assert.equal(new Set(places).size, places.length, `seed ${seed}`);
            assert.equal(ledger.received.at(-1), ledger.accepted.at(-1), `seed ${seed}`);
        }
        assert.deepEqual(world.broken, [], `seed ${seed}`);
    }
    assert.ok(lostCount > schedules(100), `${lostCount}`);
});

test("another session of the participant gets nothing of the one before", () => {
    const received = [];
    const world = new World({ handlers: [{}, { message: (message) => received.push(message.text) }] });
    world.pairs[0].send("for the first");
    assert.equal(world.pairs[0].ended(), 1);
    world.make(0, { peerSession: "other" });
    world.make(1, { ownSession: "other" });
    world.pairs[0].send("for the second");
    world.connect();
    world.time.runNow(1);
    assert.deepEqual(received, ["for the second"]);
});

test("sides that do not agree about their sessions do not talk", () => {
    const world = new World();
    world.make(1, { ownSession: "other" });
    world.connect();
    world.time.runNow(1);
    assert.ok(world.broken.length > 0);
});

test("hints travel beside the messages, and may be lost", () => {
    const hints = [];
    const world = new World({ handlers: [{}, { hint: (hint) => hints.push(hint) }] });
    world.pairs[0].sendHint("unheard");
    world.connect();
    world.time.runNow(1);
    world.pairs[0].sendHint("serverIsBack");
    world.pairs[0].sendHint("leaving");
    world.time.runNow(2);
    assert.deepEqual(hints, ["serverIsBack", "leaving"]);
    assert.equal(world.pairs[1].isLeaving, true);
});

test("the first message after a break is reported", () => {
    let count = 0;
    const world = new World({ handlers: [{}, { dataArrived: () => (count += 1) }] });
    world.connect();
    world.time.runNow(1);
    assert.equal(count, 0);
    world.pairs[1].statusChanged({ type: "recovering", value: "restart", attempt: 1, since: 0 });
    world.reconnect();
    world.time.runNow(2);
    assert.equal(count, 1);
});

test("data that is not acknowledged is reported, once, until it is", () => {
    const reports = [];
    const world = new World({ handlers: [{ acknowledgement: (isMissing) => reports.push(isMissing) }, {}] });
    world.connect();
    world.time.runNow(1);
    world.pairs[1].setReceiving(false, "reliable");
    world.pairs[0].send("nobody reads");
    world.time.runNow(8);
    assert.deepEqual(reports, []);
    world.time.runNow(30);
    assert.deepEqual(reports, [true]);
    world.pairs[1].setReceiving(true, "reliable");
    world.time.runNow(60);
    assert.deepEqual(reports, [true, false]);
});

test("a side that breaks the protocol loses its connection", () => {
    const frame = (kind, sequence, ack = 0) => {
        const bytes = new Uint8Array(10);
        bytes.set([kind, 0, 0, 0, sequence, 0, 0, 0, ack]);
        return bytes;
    };
    for (const [name, bytes] of Object.entries({
        "an unknown kind": new Uint8Array([9]), "an empty frame": new Uint8Array(0), "a gap": frame(2, 3),
        "an acknowledgement of nothing": frame(2, 1, 1), "a second resume": encodeResume(
            { session: "s0", peerSession: "s1", received: 0, next: 1 }),
    })) {
        const world = new World();
        world.connect();
        world.time.runNow(1);
        world.pairs[1].received("room.reliable", bytes);
        assert.equal(world.broken.length, 1, name);
    }
    const world = new World({ level: "delivery" });
    world.connect();
    world.time.runNow(1);
    world.pairs[1].received("room.reliable", frame(7, 1));
    assert.equal(world.broken.length, 1, "an exchange message where there are none");
});

test("the parts of a message are bounded, however many come", () => {
    const world = new World({ configuration: { maximumMessageSize: 100_000 } });
    world.connect();
    world.time.runNow(1);
    const empty = new Uint8Array(9);
    empty[0] = 4;
    const part = new Uint8Array(1000);
    part[0] = 4;
    let count = 0;
    for (; world.broken.length == 0 && count < 10_000; count += 1) {
        const frame = (count % 2 == 0 ? part : empty).slice();
        new DataView(frame.buffer).setUint32(1, count + 1);
        world.pairs[1].received("room.reliable", frame);
    }
    assert.ok(count > 200 && count < 206, `${count}`);
});

test("whatever comes, nothing is thrown", () => {
    let broken = 0;
    const kinds = [1, 2, 3, 4, 5, 6, 7];
    const exchangeKinds = [1, 2, 16, 17, 18, 19, 32, 33, 34, 35, 36, 37, 38, 39];
    const labels = ["room.reliable", "room.bulk", "room.topics", "room.lossy", "room.unordered"];
    for (let seed = 1; seed <= schedules(200); seed += 1) {
        const random = new Random(seed);
        const world = new World({ seed, configuration: { sendLimit: 4000, maximumMessageSize: 1000 } });
        world.connect();
        world.time.runNow(1);
        const [, pair] = world.pairs;
        const next = { "room.reliable": 1, "room.bulk": 1 };
        for (let count = 0; count < 300; count += 1) {
            const label = labels[random.below(5)];
            let bytes = random.bytes(random.below(60));
            if (next[label] && bytes.length >= 9 && random.chance(0.9)) {
                // A frame that is in order, with whatever in it.
                bytes[0] = random.chance(0.2) ? kinds[random.below(7)] : 7;
                bytes.fill(0, 1, 9);
                new DataView(bytes.buffer).setUint32(1, next[label]);
                if (bytes.length > 9) bytes[9] = exchangeKinds[random.below(14)];
                if (bytes.length > 18 && random.chance(0.7)) bytes.fill(0, 10, 17);
            }
            const before = world.broken.length;
            assert.doesNotThrow(() => pair.received(label, random.chance(0.9) ? bytes : "text"), `seed ${seed}`);
            if (world.broken.length > before) {
                broken += 1;
                break;
            }
            if ([2, 3, 4, 7].includes(bytes[0]) && bytes.length >= 9 && next[label]) next[label] += 1;
            world.time.runNow(world.time.time + 0.01);
        }
    }
    assert.ok(broken > schedules(50), `${broken}`);
});

test("a channel that closes is opened again, later and later while it goes on closing", () => {
    const backoff = new ReopeningBackoff();
    assert.deepEqual([0, 1, 2, 3, 4, 5, 6, 7].map((now) => backoff.delay(now)), [0, 1, 2, 4, 8, 16, 30, 30]);
    assert.equal(backoff.delay(100), 0);
    const received = [];
    const world = new World({ handlers: [{}, { message: (message) => received.push(message.text) }] });
    world.connect();
    world.time.runNow(1);
    world.connection.ends[1].closeChannel("room.reliable");
    world.pairs[0].send("one");
    world.time.runNow(2);
    assert.deepEqual(received, ["one"]);
    assert.equal(world.pairs[0].isReady, true);
});

test("the send buffer counts messages and bytes, and frees what is done with", () => {
    for (let seed = 1; seed <= schedules(200); seed += 1) {
        const random = new Random(seed);
        const buffer = new SendBuffer(9, 5, 256);
        const kept = [];
        for (let step = 0; step < 200; step += 1) {
            if (random.chance(0.6)) {
                const bytes = random.bytes(random.below(400));
                const kind = random.chance(0.3) ? "part" : "binary";
                buffer.append(bytes.subarray(0, 3), bytes.subarray(3), kind);
                kept.push({ sequence: buffer.lastSequence, bytes, kind });
            } else {
                const sequence = buffer.firstSequence + random.below(5) - 1;
                buffer.release(sequence);
                while (kept.length > 0 && kept[0].sequence <= sequence) kept.shift();
            }
            assert.equal(buffer.count, kept.length);
            assert.equal(buffer.byteCount, kept.reduce((sum, { bytes }) => sum + 9 + bytes.length, 0));
            assert.equal(buffer.messageCount, kept.filter(({ kind }) => kind != "part").length);
            for (const { sequence, bytes } of kept.slice(0, 3)) {
                const frame = buffer.frame(sequence).bytes;
                assert.equal(readU32(frame, 1), sequence);
                assert.deepEqual(frame.subarray(9), bytes);
            }
            assert.equal(buffer.frame(buffer.firstSequence - 1), undefined);
            assert.equal(buffer.frame(buffer.lastSequence + 1), undefined);
        }
    }
});
