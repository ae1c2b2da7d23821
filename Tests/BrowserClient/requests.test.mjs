import assert from "node:assert/strict";
import { test } from "node:test";
import { utf8 } from "../../Sources/RoomPage/Client/bytes.js";
import { RequestError, RequestFailure } from "../../Sources/RoomPage/Client/errors.js";
import { IncomingRequests, OutgoingRequests, RequestLimits } from "../../Sources/RoomPage/Client/request-machine.js";
import { Random, World, schedules, settled } from "./virtual-pairs.mjs";

const text = (bytes) => Buffer.from(bytes).toString();

test("64 requests are under way, and further ones wait for their turn", () => {
    const requests = new OutgoingRequests(10);
    for (let id = 11; id < 75; id += 1) assert.deepEqual(requests.begin(), { id, isStarted: true });
    assert.deepEqual(requests.begin(5), { id: 75, isStarted: false });
    assert.deepEqual(requests.begin(), { id: 76, isStarted: false });
    assert.equal(requests.isStarted(75), false);
    assert.deepEqual(requests.giveUp(75), { mustCancel: false });
    assert.equal(requests.sent(11), undefined);
    assert.deepEqual(requests.answered(11), { mustCancel: false, started: 76 });
    assert.equal(requests.answered(11), undefined);
    assert.deepEqual(requests.refused(12), { mustCancel: false });
    assert.deepEqual(requests.begin(), { id: 77, isStarted: true });
});

test("a request that is given up while it is sent is cancelled when the channel has it", () => {
    const requests = new OutgoingRequests();
    const { id } = requests.begin(5);
    assert.equal(requests.nextDeadline, 5);
    assert.deepEqual(requests.late(4), []);
    assert.deepEqual(requests.late(5), [id]);
    assert.deepEqual(requests.giveUp(id), { mustCancel: false });
    assert.equal(requests.nextDeadline, undefined);
    assert.equal(requests.giveUp(id), undefined);
    assert.equal(requests.answered(id), undefined);
    assert.deepEqual(requests.sent(id), { mustCancel: true });
});

test("a receiver runs 64 requests of 8 MiB together, and each once", () => {
    const requests = new IncomingRequests();
    assert.equal(requests.received(1, RequestLimits.bodyBytes + 1), "run");
    assert.equal(requests.received(1, 0), "duplicate");
    assert.equal(requests.received(2, 1), "busy");
    requests.finished(1);
    for (let id = 2; id < 66; id += 1) assert.equal(requests.received(id, 1, id), "run");
    assert.equal(requests.received(66, 1), "busy");
    assert.deepEqual(requests.late(4), [2, 3, 4]);
    assert.equal(requests.isWanted(3), false);
    assert.equal(requests.isKnown(3), true);
    assert.equal(requests.nextDeadline, 5);
    assert.equal(requests.cancelled(3), false);
    assert.equal(requests.cancelled(9), true);
});

/** A world whose second side answers with `handle`. */
function answering(handle, options = {}) {
    const world = new World({ ...options, handlers: [{}, { request: handle }] });
    return { world, caller: world.pairs[0] };
}

/** Returns the code of the error of a request. */
const code = (promise) => promise.then(() => "answered", (error) => {
    assert.ok(error instanceof RequestError);
    return error.code;
});

test("an answer is bytes or text, and comes over rebuilt connections", async () => {
    const { world, caller } = answering(async ({ method, payload, isText, from }) => {
        await new Promise((resolve) => world.time.schedule(0.3, resolve));
        return { payload: isText ? `${method} ${from} ${text(payload)}` : payload };
    });
    const first = caller.request("echo", "früh");
    const second = caller.request("echo", Uint8Array.of(1, 2));
    world.connect();
    await world.time.run(0.1);
    world.reconnect();
    await world.time.run(2);
    assert.equal(text(await first), "echo p0 früh");
    assert.deepEqual([...await second], [1, 2]);
});

test("failures have their codes", async () => {
    const failures = {
        refused: new RequestFailure("no_luck", "not today"), handler_failed: new Error("secret"),
        unknown_method: new RequestFailure("unknown_method"), undecodable: new RequestFailure("undecodable"),
        cancelled: Object.assign(new Error(), { name: "AbortError" }),
    };
    const { world, caller } = answering(async ({ method }) => {
        throw failures[method];
    });
    world.connect();
    for (const name of Object.keys(failures)) {
        const error = caller.request(name, "").catch((error) => error);
        await world.time.run(world.time.time + 1);
        const { code, method, participant, message, failure } = await error;
        assert.deepEqual([code, method, participant], [name, name, "p1"]);
        assert.ok(!message.includes("secret"));
        const own = name == "refused" ? ["no_luck", "not today"] : [undefined, undefined];
        assert.deepEqual([failure?.code, failure?.message], own);
    }
    const none = new World();
    none.connect();
    const unknown = code(none.pairs[0].request("m", ""));
    await none.time.run(1);
    assert.equal(await unknown, "unknown_method");
    assert.equal(await code(new World({ level: "delivery" }).pairs[0].request("m", "")), "not_supported");
});

test("a request that is late is cancelled on both sides", async () => {
    const aborted = [];
    const { world, caller } = answering(({ method, signal }) => new Promise(() => {
        signal.addEventListener("abort", () => aborted.push(`${method} ${world.time.time.toFixed(2)}`));
    }));
    world.connect();
    const late = code(caller.request("late", "", { timeout: 2 }));
    const controller = new AbortController();
    const cancelled = code(caller.request("cancelled", "", { signal: controller.signal }));
    await world.time.run(1);
    controller.abort();
    await world.time.run(1.5);
    assert.equal(await cancelled, "cancelled");
    assert.equal(aborted.length, 1);
    await world.time.run(3);
    assert.equal(await late, "timed_out");
    assert.deepEqual(aborted.map((entry) => entry.split(" ")[0]), ["cancelled", "late"]);
    assert.equal(await code(caller.request("m", "", { signal: controller.signal })), "cancelled");
});

test("a request that never went out times out, is withdrawn and costs nothing", async () => {
    const seen = [];
    const { world, caller } = answering(async ({ method }) => {
        seen.push(method);
        return { payload: "" };
    }, { configuration: { sendLimit: 1000, maximumMessageSize: 900 } });
    await caller.send("x".repeat(900));
    const late = code(caller.request("late", "y".repeat(200), { timeout: 1 }));
    const patient = code(caller.request("patient", "y".repeat(200), { timeout: Infinity }));
    await world.time.run(2);
    assert.equal(await late, "timed_out");
    world.connect();
    await world.time.run(4);
    assert.equal(await patient, "answered");
    assert.deepEqual(seen, ["patient"]);
});

test("requests and answers over the limits are too large", async () => {
    const { world, caller } = answering(async () => ({ payload: "x".repeat(1000) }),
        { configuration: { sendLimit: 4000, maximumMessageSize: 900 } });
    world.connect();
    assert.equal(await code(caller.request("m", "x".repeat(900))), "too_large");
    const answer = code(caller.request("m", ""));
    await world.time.run(1);
    assert.equal(await answer, "too_large");
});

test("64 requests run at a time; more wait for their turn, and all are answered once", async () => {
    let running = 0;
    let most = 0;
    let total = 0;
    const { world, caller } = answering(async ({ payload }) => {
        most = Math.max(most, ++running);
        total += 1;
        await new Promise((resolve) => world.time.schedule(0.1, resolve));
        running -= 1;
        return { payload };
    });
    world.connect();
    const answers = Promise.all(Array.from({ length: 300 }, (_, index) => caller.request("m", `${index}`)));
    await world.time.run(5);
    assert.deepEqual((await answers).map(text), Array.from({ length: 300 }, (_, index) => `${index}`));
    assert.deepEqual([most, total], [64, 300]);
});

test("a caller that does not keep to the limit is told that the participant is busy", async () => {
    const { world } = answering(() => new Promise(() => {}));
    world.connect();
    await world.time.run(1);
    const { exchange } = world.pairs[1];
    const sent = [];
    world.pairs[1].outbox.sendExchange = (head, body) => (sent.push(body), { type: "accepted" });
    for (let id = 1; id <= 70; id += 1) {
        exchange.received(Uint8Array.of(0x10, 0, 0, 0, 0, 0, 0, 0, id, 0, 0, 0, 0, 0, 1, 0x6d), "reliable");
    }
    assert.equal(sent.length, 6);
    assert.equal(sent[0][0], 0x12);
    exchange.received(Uint8Array.of(0x10, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0x6d), "reliable");
    assert.equal(world.pairs[1].ignoredCount, 1);
});

test("all requests end with the session", async () => {
    const aborted = [];
    const { world, caller } = answering(({ signal }) => new Promise(() => {
        signal.addEventListener("abort", () => aborted.push(1));
    }));
    world.connect();
    const requests = Array.from({ length: 100 }, () => code(caller.request("m", "")));
    await world.time.run(1);
    caller.ended();
    world.pairs[1].ended();
    assert.deepEqual(new Set(await Promise.all(requests)), new Set(["peer_gone"]));
    assert.equal(aborted.length, 64);
    assert.equal(await code(caller.request("m", "")), "peer_gone");
    await world.time.run(2);
    assert.equal(world.time.pending, 0);
});

test("requests end on both sides when one has given up the other", async () => {
    for (const index of [0, 1]) {
        const signals = [];
        const { world, caller } = answering(({ signal }) => {
            signals.push(signal);
            return new Promise(() => {});
        });
        world.connect();
        const outcomes = [1, 2].map((count) => code(caller.request("m", `${count}`, { timeout: Infinity })));
        await world.time.run(1);
        const back = world.giveUp(index);
        world.connect();
        await world.time.run(2);
        assert.deepEqual(await Promise.all(outcomes), ["peer_gone", "peer_gone"]);
        assert.deepEqual(signals.map(({ aborted }) => aborted), [true, true]);
        // Nothing of the past stands in the way of what follows.
        const later = code((index == 0 ? back : caller).request("m", "3", { timeout: 1 }));
        await world.time.run(2.5);
        assert.equal(signals.length, 3);
        await world.time.run(4);
        assert.equal(await later, "timed_out");
    }
});

test("each request runs at most once and has one end, over connections that end at any time", async () => {
    for (let seed = 1; seed <= schedules(100); seed += 1) {
        const random = new Random(seed);
        const runs = new Map();
        const world = new World({
            seed, configuration: { sendLimit: 3000, maximumMessageSize: 1500 },
            connection: { blocking: random.chance(0.5) ? 0.1 : 0 },
            handlers: [0, 1].map((index) => ({
                async request({ payload }) {
                    const key = `${1 - index} ${text(payload).trim()}`;
                    runs.set(key, (runs.get(key) ?? 0) + 1);
                    if (random.chance(0.7)) await new Promise((resolve) => world.time.schedule(random.next(), resolve));
                    if (random.chance(0.2)) throw new RequestFailure("no");
                    return { payload: random.chance(0.5) ? payload : text(payload) };
                },
            })),
        });
        const ends = [];
        let count = 0;
        world.connect();
        for (let step = 0; step < 40; step += 1) {
            if (random.chance(0.15)) world.reconnect();
            const side = random.below(2);
            for (let rest = random.below(6); rest > 0; rest -= 1) {
                const body = `${count++}`.padEnd(random.below(1400));
                const controller = new AbortController();
                if (random.chance(0.1)) world.time.schedule(random.next(), () => controller.abort());
                const timeout = random.chance(0.3) ? random.next() : Infinity;
                world.pairs[side].request("m", body, { timeout, signal: controller.signal }).then(
                    (answer) => {
                        assert.equal(text(answer), body, `seed ${seed}`);
                        assert.equal(runs.get(`${side} ${body.trim()}`), 1, `seed ${seed}`);
                        ends.push("answered");
                    },
                    ({ code }) => ends.push(code));
            }
            await world.time.run(world.time.time + random.next() * 0.2);
        }
        await world.time.run(world.time.time + 20);
        assert.equal(ends.length, count, `seed ${seed}`);
        const possible = ["answered", "refused", "timed_out", "cancelled"];
        assert.ok(ends.every((end) => possible.includes(end)), `seed ${seed}: ${ends}`);
        for (const [key, number] of runs) assert.equal(number, 1, `seed ${seed}: ${key}`);
        assert.deepEqual(world.broken, [], `seed ${seed}`);
        assert.equal(world.time.pending, 0, `seed ${seed}`);
    }
});

test("what is no request of anybody is ignored", async () => {
    const world = new World();
    world.connect();
    await world.time.run(1);
    const [pair] = world.pairs;
    pair.exchange.received(Uint8Array.of(0x11, 0, 0, 0, 0, 0, 0, 0, 5, 0), "reliable");
    pair.exchange.received(Uint8Array.of(0x13, 0, 0, 0, 0, 0, 0, 0, 5), "reliable");
    pair.exchange.received(utf8("nonsense"), "reliable");
    await settled();
    assert.equal(pair.ignoredCount, 1);
});
