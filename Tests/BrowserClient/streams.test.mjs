import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { BulkPace } from "../../Sources/RoomPage/Client/bulk-pace.js";
import { RoomError, RoomStreamError } from "../../Sources/RoomPage/Client/errors.js";
import { ExchangeHead } from "../../Sources/RoomPage/Client/exchange-message.js";
import { receiveBlob, receiveInto, sendBlob } from "../../Sources/RoomPage/Client/file-streams.js";
import { IncomingStreams } from "../../Sources/RoomPage/Client/incoming-streams.js";
import { OutgoingStreams } from "../../Sources/RoomPage/Client/outgoing-streams.js";
import { Budget } from "../../Sources/RoomPage/Client/receive-window.js";
import { openStream } from "../../Sources/RoomPage/Client/room-streams.js";
import { Random, World, schedules, settled } from "./virtual-pairs.mjs";

test("a sender may begin a chunk while it is below the limit, and ends with what was announced", () => {
    const streams = new OutgoingStreams(4, 1000);
    assert.equal(streams.open(1500), 5);
    assert.equal(streams.begin(5, 999), "begun");
    assert.equal(streams.begin(5, 502), "tooLong");
    assert.equal(streams.begin(5, 500), "begun");
    assert.equal(streams.begin(5, 1), "wait");
    assert.equal(streams.end(5), false);
    assert.equal(streams.isIncomplete(5), true);
    assert.equal(streams.windowReceived(5, 1500, 9999), undefined);
    assert.equal(streams.windowReceived(5, 700, 2000), 700);
    assert.equal(streams.windowReceived(5, 600, 9999), undefined);
    assert.equal(streams.begin(5, 1), "begun");
    assert.equal(streams.finishedReceived(5), undefined);
    assert.equal(streams.end(5), true);
    assert.equal(streams.begin(5, 0), "closed");
    assert.equal(streams.finishedReceived(5), 1500);
    assert.equal(streams.cancel(5), false);
    for (let count = 0; count < 64; count += 1) assert.equal(streams.open(), 6 + count);
    assert.equal(streams.open(), undefined);
    assert.deepEqual(streams.restartReceived(7), [6, 7]);
    assert.equal(streams.removeAll().length, 62);
    assert.equal(streams.newestID, 69);
});

test("a receiver refuses what the sender may not send", () => {
    const budget = new Budget();
    const streams = new IncomingStreams(4, 1000);
    assert.deepEqual(streams.openReceived(4, undefined, budget), { type: "malformed" });
    assert.deepEqual(streams.openReceived(7, 1500, budget), { type: "taken" });
    assert.deepEqual(streams.dataReceived(8, 1, budget), { type: "malformed" });
    assert.deepEqual(streams.dataReceived(6, 1, budget), { type: "ignored" });
    assert.deepEqual(streams.dataReceived(7, 1000, budget), { type: "taken" });
    assert.deepEqual(streams.dataReceived(7, 1, budget), { type: "refused", code: "window_exceeded" });
    assert.deepEqual(streams.dataReceived(7, 1, budget), { type: "ignored" });
    assert.deepEqual(streams.openReceived(8, 10, budget), { type: "taken" });
    assert.deepEqual(streams.dataReceived(8, 11, budget), { type: "refused", code: "length_exceeded" });
    assert.deepEqual(streams.openReceived(9, 10, budget), { type: "taken" });
    assert.deepEqual(streams.endReceived(9, budget), { type: "refused", code: "incomplete" });
    assert.equal(budget.used, 0);
    assert.deepEqual(streams.openReceived(10, undefined, budget), { type: "taken" });
    streams.dataReceived(10, 600, budget);
    assert.equal(streams.consume(10, 400, 0, budget), undefined);
    assert.equal(streams.unconsumed(10), 200);
    assert.deepEqual(streams.consume(10, 200, 0, budget), { consumed: 600, limit: 1600 });
    assert.equal(streams.finish(10, budget), false);
    assert.deepEqual(streams.endReceived(10, budget), { type: "taken" });
    assert.equal(streams.finish(10, budget), true);
    for (let id = 11; id < 75; id += 1) assert.equal(streams.openReceived(id, undefined, budget).type, "taken");
    assert.deepEqual(streams.openReceived(75, undefined, budget), { type: "refused", code: "busy" });
    assert.deepEqual(streams.restartReceived(13, budget), [11, 12]);
    assert.equal(streams.removeAll(budget).length, 62);
    assert.equal(budget.used, 0);
});

test("what is under way follows the rate and the time of an acknowledgement", () => {
    /** Sends over a path of this rate and round trip, with as much under way as the pace allows. */
    const run = (rate, roundTrip) => {
        const pace = new BulkPace();
        let now = 0;
        for (let sequence = 1; sequence <= 400; sequence += 1) {
            const bytes = pace.limit;
            pace.frameTaken(sequence, bytes, now);
            pace.bufferWasFull();
            now += Math.max(roundTrip, bytes / rate);
            pace.acknowledged(sequence, bytes, now);
        }
        return pace;
    };
    const slow = run(1e6, 0.05);
    assert.ok(slow.limit >= 100_000 && slow.limit <= 140_000, `${slow.limit}`);
    assert.equal(slow.frame, BulkPace.shortFrame);
    const fast = run(1e8, 0.005);
    assert.ok(fast.limit >= 1_000_000 && fast.limit <= BulkPace.maximumLimit, `${fast.limit}`);
    assert.equal(fast.frame, BulkPace.longFrame);
    fast.connectionEnded();
    assert.equal(fast.frame, BulkPace.shortFrame);
});

/** A world whose second side keeps the streams that come. */
function receiving(options = {}) {
    const streams = [];
    const world = new World({ ...options, handlers: [{}, { stream: (stream) => streams.push(stream) }] });
    return { world, streams, sender: world.pairs[0] };
}

/** Reads a stream to its end. `pause`: in seconds between two chunks. */
async function readAll(world, stream, pause = 0) {
    const chunks = [];
    for await (const chunk of stream) {
        chunks.push(chunk.slice());
        if (pause > 0) await new Promise((resolve) => world.time.schedule(pause, resolve));
    }
    return Buffer.concat(chunks);
}

const digest = (bytes) => createHash("sha1").update(bytes).digest("hex");
const failure = (promise) => promise.then(() => "none", (error) => {
    assert.ok(error instanceof RoomStreamError || error instanceof RoomError, `${error.stack}`);
    return `${error.code} ${error.reason ?? ""}`.trim();
});

test("a stream has a name, a length and metadata, and its bytes arrive", async () => {
    const { world, streams, sender } = receiving();
    world.connect();
    const outgoing = sender.openStream("notes.txt", { length: 11, metadata: { kind: "text", größe: "klein" } });
    outgoing.write("hello ");
    outgoing.write(Buffer.from("world"));
    const finished = outgoing.finish();
    await world.time.run(1);
    const [stream] = streams;
    assert.deepEqual(
        [stream.from, stream.name, stream.length, { ...stream.metadata }],
        ["p0", "notes.txt", 11, { kind: "text", größe: "klein" }]);
    assert.equal(outgoing.acknowledgedCount, 0);
    const bytes = readAll(world, stream);
    await world.time.run(2);
    assert.equal(`${await bytes}`, "hello world");
    await finished;
    assert.equal(outgoing.acknowledgedCount, 11);
    assert.equal(await failure(outgoing.write("more")), "cancelled");
});

test("progress is what the receiver has consumed; the sender is never further ahead than the window", async () => {
    const { world, streams, sender } = receiving();
    world.connect();
    const outgoing = sender.openStream("big");
    let written = 0;
    const writing = (async () => {
        for (let index = 0; index < 100; index += 1) {
            await outgoing.write(new Uint8Array(20_000));
            written += 20_000;
        }
        await outgoing.finish();
    })();
    const progress = [];
    const reporting = (async () => {
        for await (const count of outgoing.progress) progress.push(count);
    })();
    await world.time.run(3);
    // The window of 256 KiB and one chunk.
    assert.ok(written >= 240_000 && written <= 300_000, `${written}`);
    let read = 0;
    const iterator = streams[0][Symbol.asyncIterator]();
    for (let round = 0; round < 300; round += 1) {
        const next = iterator.next();
        await world.time.run(world.time.time + 0.2);
        const { done, value } = await next;
        if (done) break;
        read += value.length;
        assert.ok(outgoing.acknowledgedCount <= read);
        assert.ok(written - read <= 320_000, `${written} ${read}`);
    }
    await writing;
    await reporting;
    assert.equal(read, 2_000_000);
    assert.equal(progress.at(-1), 2_000_000);
    assert.deepEqual(progress, [...progress].sort((left, right) => left - right));
    assert.ok(progress.length > 5);
});

test("messages are never held up behind a stream, and a slow reader holds up no other stream", async () => {
    const arrivals = [];
    const streams = [];
    const world = new World({
        connection: { rate: 1e6, delay: 0.01, jitter: 0 },
        handlers: [{}, { message: () => arrivals.push(world.time.time), stream: (stream) => streams.push(stream) }],
    });
    const [sender] = world.pairs;
    world.connect();
    const slow = sender.openStream("slow");
    const quick = sender.openStream("quick");
    const isWritten = { slow: false, quick: false };
    slow.write(new Uint8Array(3_000_000)).then(() => (isWritten.slow = true));
    quick.write(new Uint8Array(3_000_000)).then(() => (isWritten.quick = true));
    await world.time.run(1);
    const bytes = readAll(world, streams.find((stream) => stream.name == "quick"));
    const finished = quick.finish();
    for (let index = 0; index < 20; index += 1) {
        const sentAt = world.time.time;
        await sender.send("small");
        await world.time.run(sentAt + 0.3);
        // It waits for the chunk that is on the path: 16 ms. All that a stream has under way would take 100 ms.
        assert.ok(arrivals[index] - sentAt < 0.03, `${arrivals[index] - sentAt}`);
    }
    await world.time.run(20);
    await finished;
    assert.equal((await bytes).length, 3_000_000);
    assert.ok(world.connection.mostBuffered["room.bulk"] <= 65_536 + 16_384);
    assert.deepEqual(isWritten, { slow: false, quick: true });
});

test("a page in the background, whose timers are late, does not slow down a stream", async () => {
    const { world, streams, sender } = receiving({ connection: { rate: 1e6 }, timerDelay: 1 });
    world.connect();
    const stream = sender.openStream("s");
    const written = stream.write(new Uint8Array(3_000_000)).then(() => stream.finish());
    await world.time.run(0.5);
    const reading = readAll(world, streams[0]);
    await world.time.run(3.8);
    assert.equal(stream.acknowledgedCount, 3_000_000);
    await written;
    await reading;
});

test("streams arrive whole and in order, over connections that end at any time", async () => {
    for (let seed = 1; seed <= schedules(60); seed += 1) {
        const random = new Random(seed);
        const { world, streams, sender } = receiving({
            seed, connection: { rate: 10 ** (5 + 2 * random.next()), blocking: random.chance(0.5) ? 0.1 : 0 },
        });
        world.connect();
        const sent = new Map();
        const received = new Map();
        const writers = [];
        for (let index = 0; index < 1 + random.below(5); index += 1) {
            const bytes = random.bytes(random.below(random.chance(0.2) ? 600_000 : 50_000));
            const stream = sender.openStream(`${index}`, random.chance(0.5) ? { length: bytes.length } : {});
            sent.set(stream.name, digest(bytes));
            writers.push((async () => {
                for (let offset = 0; offset < bytes.length;) {
                    const length = 1 + random.below(random.chance(0.2) ? 100_000 : 5000);
                    await stream.write(bytes.subarray(offset, offset + length));
                    offset += length;
                }
                await stream.finish();
            })());
        }
        const readers = [];
        for (let step = 0; step < 30; step += 1) {
            if (random.chance(0.3)) world.reconnect();
            await world.time.run(world.time.time + random.next() * 0.3);
            for (const stream of streams.splice(0)) {
                readers.push(readAll(world, stream, random.chance(0.3) ? random.next() * 0.01 : 0)
                    .then((bytes) => received.set(stream.name, digest(bytes))));
            }
        }
        await world.time.run(world.time.time + 60);
        assert.equal(received.size, sent.size, `seed ${seed}`);
        await Promise.all([...writers, ...readers]);
        assert.deepEqual(new Map([...received].sort()), new Map([...sent].sort()), `seed ${seed}`);
        assert.deepEqual(world.broken, [], `seed ${seed}`);
        assert.equal(world.pairs[1].ignoredCount, 0, `seed ${seed}`);
    }
});

test("either side gives a stream up, with a reason", async () => {
    const { world, streams, sender } = receiving();
    world.connect();
    const first = sender.openStream("first");
    const second = sender.openStream("second");
    const third = sender.openStream("third");
    await first.write("abc");
    await world.time.run(1);
    const reading = failure(readAll(world, streams[0]));
    first.cancel("no more", "changed");
    await world.time.run(2);
    assert.equal(await reading, "cancelled_by_peer changed");
    assert.equal(await failure(first.write("x")), "cancelled changed");
    const writing = failure(second.write(new Uint8Array(1_000_000)));
    await world.time.run(3);
    streams[1].cancel("disk full", "disk_full");
    await world.time.run(4);
    assert.equal(await writing, "cancelled_by_peer disk_full");
    assert.equal(second.failures.get("p1").message, "disk full");
    assert.equal(await failure(second.finish()), "cancelled_by_peer disk_full");
    assert.equal(await failure(readAll(world, streams[1])), "cancelled disk_full");
    // One that stops reading stops the stream.
    await third.write("abc");
    await world.time.run(5);
    for await (const chunk of streams[2]) {
        assert.equal(chunk.length, 3);
        break;
    }
    await world.time.run(6);
    assert.equal(await failure(third.finish()), "cancelled_by_peer cancelled");
    assert.deepEqual(await streams[2].next(), { done: true, value: undefined });
});

test("what was announced is kept", async () => {
    const { world, streams, sender } = receiving();
    world.connect();
    const long = sender.openStream("long", { length: 5 });
    await long.write("abc");
    assert.equal(await failure(long.write("def")), "length_exceeded");
    const short = sender.openStream("short", { length: 5 });
    await short.write("abc");
    await world.time.run(1);
    assert.equal(await failure(short.finish()), "incomplete");
    const reading = failure(readAll(world, streams[1]));
    await world.time.run(2);
    assert.equal(await reading, "cancelled_by_peer incomplete");
    await long.write("de");
    assert.equal(await failure(long.finish({ signal: AbortSignal.abort() })), "task_cancelled");
});

test("a write that waits can be cancelled", async () => {
    const { world, sender } = receiving();
    world.connect();
    await world.time.run(1);
    const stream = sender.openStream("s");
    const controller = new AbortController();
    const writing = failure(stream.write(new Uint8Array(2_000_000), { signal: controller.signal }));
    await world.time.run(2);
    controller.abort();
    assert.equal(await writing, "task_cancelled");
});

test("names, lengths and metadata have limits, and so has the number of streams", async () => {
    const { world, streams, sender } = receiving();
    const open = (...options) => failure((async () => sender.openStream(...options))());
    assert.equal(await open(""), "configuration");
    assert.equal(await open("é".repeat(128)), "configuration");
    assert.equal(await open("n", { length: 1.5 }), "configuration");
    assert.equal(await open("n", { metadata: { "": "x" } }), "configuration");
    assert.equal(await open("n", { metadata: { a: "x".repeat(4096) } }), "configuration");
    for (let count = 0; count < 64; count += 1) sender.openStream("é".repeat(127));
    assert.equal(await open("n"), "would_block");
    world.connect();
    await world.time.run(1);
    assert.equal(streams.length, 64);
    const plain = new World({ level: "delivery" });
    assert.throws(() => plain.pairs[0].openStream("n"), { code: "not_supported" });
});

test("several receivers: the slowest is waited for, and one that fails is named", async () => {
    const worlds = [receiving({ seed: 1 }), receiving({ seed: 2 })];
    for (const { world } of worlds) world.connect();
    const run = async (until) => {
        for (let time = worlds[0].world.time.time; time < until; time += 0.05) {
            for (const { world } of worlds) await world.time.run(time);
        }
    };
    const stream = openStream(worlds.map(({ sender }) => sender), "both");
    worlds[1].sender.participant = "p2";
    const writing = stream.write(new Uint8Array(1_000_000));
    await run(1);
    const reading = readAll(worlds[0].world, worlds[0].streams[0]);
    await run(2);
    assert.ok(stream.acknowledgedCount == 0);
    worlds[1].streams[0].cancel("enough");
    await run(5);
    await writing;
    const finished = stream.finish();
    await run(6);
    await finished;
    assert.equal((await reading).length, 1_000_000);
    assert.equal(stream.failures.size, 1);
    assert.equal(stream.acknowledgedCount, 1_000_000);
});

/** As `receiving`, with a stream that has brought three bytes. */
async function begun() {
    const { world, streams, sender } = receiving();
    world.connect();
    const stream = sender.openStream("s");
    await stream.write("abc");
    await world.time.run(1);
    return { world, streams, sender, stream };
}

test("streams end with the session; what has come can still be read", async () => {
    const { world, streams, sender, stream } = await begun();
    const finished = failure(stream.finish());
    sender.ended();
    world.pairs[1].ended();
    assert.equal(await finished, "peer_gone");
    assert.equal(await failure(stream.write("x")), "peer_gone");
    assert.equal(Buffer.from((await streams[0].next()).value).toString(), "abc");
    assert.equal(await failure(streams[0].next()), "peer_gone");
    assert.equal((await streams[0].next()).done, true);
});

test("a side that has given up the other one tells it which streams have ended", async () => {
    const { world, streams } = await begun();
    const reading = failure(readAll(world, streams[0]));
    const back = world.giveUp(0);
    const after = back.openStream("after");
    const finished = after.finish();
    world.connect();
    await world.time.run(2);
    assert.equal(await reading, "peer_gone");
    assert.equal(streams.length, 2);
    assert.equal((await readAll(world, streams[1])).length, 0);
    await world.time.run(3);
    await finished;
});

test("chunks of a few bytes do not cost more than their bytes", async () => {
    const { world, streams, sender } = receiving();
    world.connect();
    const stream = sender.openStream("s");
    const bytes = new Random(1).bytes(20_000);
    const writing = (async () => {
        for (let index = 0; index < bytes.length; index += 1) await stream.write(bytes.subarray(index, index + 1));
        await stream.write(bytes);
        await stream.write("tail");
        await stream.finish();
    })();
    await world.time.run(1);
    const chunks = [];
    const reading = (async () => {
        for await (const chunk of streams[0]) chunks.push(chunk);
    })();
    await world.time.run(3);
    await writing;
    await reading;
    assert.equal(Buffer.compare(Buffer.concat(chunks), Buffer.concat([bytes, bytes, Buffer.from("tail")])), 0);
    assert.ok(chunks.length < 10, `${chunks.length}`);
    // Nor do those of none at all.
    const { byteStreams } = world.pairs[1];
    world.pairs[1].exchange.received(ExchangeHead.open(100, { name: "empty", metadata: {} }), "bulk");
    for (let count = 0; count < 1000; count += 1) world.pairs[1].exchange.received(ExchangeHead.data(100), "bulk");
    assert.equal(byteStreams.read(100, 0), undefined);
});

test("streams that are opened and reset without end are refused at some point", async () => {
    const { world, streams } = receiving();
    world.connect();
    await world.time.run(1);
    for (let id = 1; id <= 1000; id += 1) {
        world.pairs[1].exchange.received(ExchangeHead.open(id, { name: "s", metadata: {} }), "bulk");
        world.pairs[1].exchange.received(ExchangeHead.reset(id, "c", ""), "bulk");
    }
    assert.equal(streams.length, 256);
});

test("a file is sent without being read whole, and received as a blob or into a stream", async () => {
    const { world, streams, sender } = receiving({ connection: { rate: 1e8 } });
    world.connect();
    const bytes = new Random(3).bytes(3_000_000);
    let unread = 0;
    const blob = {
        size: bytes.length,
        slice: (start, end) => ({
            async arrayBuffer() {
                const slice = bytes.slice(start, end);
                unread = Math.max(unread, start + slice.length - sent.at(-1));
                return slice.buffer;
            },
        }),
    };
    const sent = [0];
    const send = (name) => sendBlob(
        sender.openStream(name, { length: blob.size }), blob, { onProgress: (count) => sent.push(count) });
    const first = send("first");
    await world.time.run(1);
    const counts = [];
    const receiving1 = receiveBlob(streams[0], { type: "image/png", onProgress: (count) => counts.push(count) });
    await world.time.run(5);
    await first;
    const received = await receiving1;
    assert.equal(received.type, "image/png");
    assert.equal(digest(Buffer.from(await received.arrayBuffer())), digest(bytes));
    assert.equal(counts.at(-1), bytes.length);
    assert.equal(sent.at(-1), bytes.length);
    sent.push(0);
    const second = send("second");
    await world.time.run(6);
    const chunks = [];
    let isClosed = false;
    const writable = new WritableStream({
        async write(chunk) {
            await new Promise((resolve) => world.time.schedule(0.001, resolve));
            chunks.push(chunk);
        },
        close() {
            isClosed = true;
        },
    });
    const receiving2 = receiveInto(streams[1], writable);
    await world.time.run(12);
    await second;
    await receiving2;
    assert.equal(digest(Buffer.concat(chunks)), digest(bytes));
    assert.equal(isClosed, true);
    assert.ok(unread <= bytes.length && unread < 3_000_000, `${unread}`);
});

test("a file transfer is cancelled from either side, and by an error of the file", async () => {
    const { world, streams, sender } = receiving();
    world.connect();
    const blob = new Blob([new Uint8Array(1_000_000)]);
    const open = (name) => sender.openStream(name, { length: blob.size });
    const controllers = [new AbortController(), new AbortController()];
    const sending = [
        failure(sendBlob(open("a"), blob, { signal: controllers[0].signal })), failure(sendBlob(open("b"), blob)),
        failure(sendBlob(open("c"), blob)),
        sendBlob(open("d"), { size: 9, slice: () => ({ arrayBuffer: async () => { throw new Error("gone"); } }) })
            .catch((error) => error.message),
    ];
    await world.time.run(2);
    const receivers = [
        failure(receiveBlob(streams[0])), failure(receiveBlob(streams[1], { signal: controllers[1].signal })),
        receiveInto(streams[2], new WritableStream({ write() { throw new Error("disk full"); } }))
            .catch((error) => error.message),
        failure(receiveBlob(streams[3])),
    ];
    for (const controller of controllers) controller.abort();
    await settled();
    await world.time.run(4);
    assert.deepEqual(await Promise.all(receivers),
        ["cancelled_by_peer cancelled", "cancelled cancelled", "disk full", "cancelled_by_peer cancelled"]);
    assert.deepEqual(await Promise.all(sending),
        ["task_cancelled", "cancelled_by_peer cancelled", "cancelled_by_peer cancelled", "gone"]);
});
