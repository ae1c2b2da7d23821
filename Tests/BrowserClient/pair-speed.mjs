// Measures two pairs over a perfect connection in memory: node Tests/BrowserClient/pair-speed.mjs [seconds for each]
// The rates are for one second of processor time, of both sides together.

import { Pair } from "./virtual-pairs.mjs";

const seconds = Number(process.argv[2] ?? 1);
const now = () => performance.now() / 1000;

/** Seconds of processor time so far. */
function processorTime() {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
}
const capabilities = ["delivery.v1", "exchange.v1"];

/** Two connected pairs. What one sends is copied, as a transport does, and arrives in a later turn. */
function connected(handlers) {
    const queue = [];
    let isScheduled = false;
    const deliver = () => {
        isScheduled = false;
        for (const [pair, label, data] of queue.splice(0)) pair.received(label, data);
    };
    const enqueue = (entry) => {
        queue.push(entry);
        if (!isScheduled) setImmediate(deliver);
        isScheduled = true;
    };
    const pairs = [0, 1].map((index) => new Pair({
        ownSession: `s${index}`, peerSession: `s${1 - index}`, capabilities, now,
        configuration: { sendLimit: 8 << 20, maximumMessageSize: 4 << 20 },
        schedule: (after, callback) => {
            const timer = setTimeout(callback, after * 1000);
            return () => clearTimeout(timer);
        },
        link: {
            send: (label, data) => enqueue([pairs[1 - index], label, typeof data == "string" ? data : data.slice()]),
            bufferedAmount: () => 0, maximumMessageSize: () => 262_144, openChannel() {}, closeChannel() {},
        },
        handlers: {
            message() {}, broken: (reason) => { throw new Error(reason); }, ...handlers[index],
        },
    }));
    for (const pair of pairs) pair.attached(pair == pairs[0]);
    for (const pair of pairs) {
        for (const label of ["reliable", "unordered", "lossy", "bulk", "topics"]) pair.channelOpened(`room.${label}`);
    }
    return pairs;
}

/** Runs `step` for the given time, in up to `width` tasks, and prints how often it has run. */
async function measure(name, width, bytes, step, flush = async () => {}) {
    const run = async (duration) => {
        const start = processorTime();
        let count = 0;
        await Promise.all(Array.from({ length: width }, async () => {
            while (processorTime() - start < duration) {
                for (let burst = 0; burst < 64; burst += 1) await step();
                count += 64;
            }
        }));
        await flush();
        return count / (processorTime() - start);
    };
    await run(seconds / 4);
    const rate = await run(seconds);
    const throughput = bytes > 0 ? `${(rate * bytes / 1e6).toFixed(0).padStart(8)} MB/s` : "";
    console.log(`${name.padEnd(28)} ${Math.round(rate).toString().padStart(9)} /s ${throughput}`);
}

for (const [name, size] of [["64 B", 64], ["1 KiB", 1024], ["16 KiB", 16_384], ["64 KiB", 65_536], ["1 MiB", 1 << 20]]) {
    let received = 0;
    const [pair] = connected([{}, { message: () => (received += 1) }]);
    const payload = new Uint8Array(size);
    await measure(`messages of ${name}`, 1, size, () => pair.send(payload), () => pair.flush());
}
{
    const [pair] = connected([{}, { message: (message) => message.text }]);
    await measure("text of 50 characters", 1, 50, () => pair.send("the quick brown fox jumps over the lazy dog, twice"),
        () => pair.flush());
}
{
    const [pair] = connected([{}, { topic: () => false }]);
    const publication = { topic: "telemetry", payload: new Uint8Array(64) };
    await measure("topic messages of 64 B", 1, 64, () => pair.publish(publication), () => pair.flush());
}
{
    const [pair] = connected([{}, { request: async ({ payload }) => ({ payload }) }]);
    const body = new Uint8Array(64);
    await measure("requests, 64 under way", 64, 0, () => pair.request("echo", body));
}
for (const [name, size] of [["64 KiB", 65_536], ["1 MiB", 1 << 20]]) {
    const [pair] = connected([{}, { stream: async (stream) => { for await (const chunk of stream) chunk.length; } }]);
    const stream = pair.openStream("speed");
    const bytes = new Uint8Array(size);
    await measure(`stream, writes of ${name}`, 1, size, () => stream.write(bytes), () => pair.flush());
    await stream.finish();
}
process.exit(0);
