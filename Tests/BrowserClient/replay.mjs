// Replays recorded calls of RoomCore's machines (`room simulate --vectors`) against the browser client's machines, and
// compares every result.
//
//     node replay.mjs [--client FOLDER] [--only MACHINE]… [--schedules COUNT] FILE… (`-`: the standard input)
//
// `--schedules`: the number that there must be; a recorder that ends early is noticed.

import { createReadStream, readdirSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath, pathToFileURL } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
export const clientFolder = resolve(here, "../../Sources/RoomPage/Client");

// MARK: The client's classes

/** Finds what the client's modules export, by name. */
export class Client {
    /** @param {string} folder */
    static async load(folder = clientFolder) {
        const client = new Client();
        client.problems = [];
        client.exports = new Map();
        for (const file of readdirSync(folder).filter((name) => name.endsWith(".js")).sort()) {
            try {
                const module = await import(pathToFileURL(join(folder, file)).href);
                for (const [name, value] of Object.entries(module)) client.exports.set(name, value);
            } catch (error) {
                client.problems.push(`${file}: ${error?.stack ?? error}`);
            }
        }
        return client;
    }

    has(...names) { return names.some((name) => this.exports.has(name)); }

    find(...names) {
        for (const name of names) if (this.exports.has(name)) return this.exports.get(name);
        throw new Missing(`the client has no ${names.join(" or ")}`);
    }
}

class Missing extends Error {}

// MARK: Values

/** A recorded value as the client's machines take it. */
export function revive(value, references = {}) {
    if (value === null) return undefined;
    if (Array.isArray(value)) return value.map((element) => revive(element, references));
    if (typeof value !== "object") return value;
    const keys = Object.keys(value);
    if (keys.length === 1) {
        if (keys[0] === "$bytes") return new Uint8Array(Buffer.from(value.$bytes, "base64"));
        if (keys[0] in references) return references[keys[0]](value[keys[0]]);
    }
    return Object.fromEntries(keys.map((key) => [key, revive(value[key], references)]));
}

/** A value of a machine in the form of recorded ones. */
export function plain(value) {
    if (value === undefined || value === null) return null;
    if (typeof value === "bigint") {
        return value <= Number.MAX_SAFE_INTEGER && value >= Number.MIN_SAFE_INTEGER ? Number(value) : `${value}`;
    }
    if (typeof value !== "object") return value;
    if (value instanceof Uint8Array || value instanceof ArrayBuffer) {
        return { $bytes: Buffer.from(value).toString("base64") };
    }
    if (Array.isArray(value)) return value.map(plain);
    if (value instanceof Set) {
        const elements = [...value].map(plain);
        return elements.sort((left, right) => (JSON.stringify(left) < JSON.stringify(right) ? -1 : 1));
    }
    const entries = value instanceof Map ? [...value] : Object.entries(value);
    const result = {};
    for (const [key, member] of entries) {
        const written = plain(member);
        if (written !== null) result[key] = written;
    }
    return result;
}

const isEmpty = (value) => value === null || value === undefined || (Array.isArray(value) && value.length === 0);

/** The first place where two plain values differ; undefined: they are equal. */
export function difference(expected, actual, path = "") {
    if (isEmpty(expected) && isEmpty(actual)) return undefined;
    if (typeof expected === "number" && typeof actual === "number") {
        const tolerance = 1e-9 * Math.max(1, Math.abs(expected));
        return Math.abs(expected - actual) <= tolerance ? undefined : { path, expected, actual };
    }
    if (typeof expected !== "object" || typeof actual !== "object" || !expected || !actual
        || Array.isArray(expected) !== Array.isArray(actual)) {
        return expected === actual ? undefined : { path, expected, actual };
    }
    for (const key of new Set([...Object.keys(expected), ...Object.keys(actual)])) {
        const place = Array.isArray(expected) ? `${path}[${key}]` : `${path}.${key}`;
        const found = difference(expected[key] ?? null, actual[key] ?? null, place);
        if (found) return found;
    }
    return undefined;
}

/** The random numbers of a recorded call. */
class RecordedRandom {
    constructor(numbers) {
        this.numbers = numbers.map(BigInt);
        this.drawn = 0;
    }

    next() {
        if (this.drawn === this.numbers.length) {
            throw new Error(`draws more than the ${this.drawn} random numbers that were drawn in Swift`);
        }
        return this.numbers[this.drawn++];
    }
}

// MARK: Machines

/** By machine: how it is made and called, where that is not `new Machine(...)` and `machine.method(...)`. */
const adapters = {
    RoomMachine: {
        state: { peerStatus: (machine) => {
            const others = plain(machine.participants) ?? [];
            return Object.fromEntries(others.map(({ id }) => [id, machine.peerStatus(id)]));
        } },
    },
    DeliveryLink: {
        make(client, [streams, ...rest], run) {
            const { memory, session, peerSession } = streams;
            const taken = run.memory(memory).take(session, peerSession);
            return new (client.find("DeliveryLink"))(taken, ...rest);
        },
        $store(link, [memory, record], run) {
            link.streams.record = record;
            run.memory(memory).store(link.streams);
        },
        nextFrames(link, [channel, outbox]) {
            const batch = link.nextFrames(channel, outbox);
            const { first, hasHeaders, count } = batch;
            const frames = Array.from({ length: count }, (_, index) => {
                const bytes = batch.frame(index).slice();
                // What a stamp writes into them.
                if (hasHeaders) bytes.fill(0, 5, 9);
                return { bytes, isText: batch.isText(index) };
            });
            return { first, hasHeaders, frames };
        },
        stamp(link, [bytes, channel]) {
            link.stamp(bytes, channel);
            return bytes;
        },
    },
    SignalingMachine: {
        refreshCredential(machine, values) {
            const actions = machine.refreshCredential(...values);
            return { value: !!actions, actions };
        },
    },
    IncomingStreams: { state: { used: (machine, budget) => budget.used } },
};

class Run {
    constructor(client) {
        this.client = client;
        this.objects = new Map();
        this.memories = new Map();
        this.budgets = new Map();
    }

    memory(name) {
        if (!this.memories.has(name)) this.memories.set(name, new (this.client.find("DeliveryMemory"))());
        return this.memories.get(name);
    }

    budget(name) {
        if (!this.budgets.has(name)) this.budgets.set(name, new (this.client.find("ReceiveBudget", "Budget"))());
        return this.budgets.get(name);
    }

    /** Makes a recorded call. Returns what differs; undefined: nothing. */
    step(call) {
        const { machine, instance, method } = call;
        const adapter = adapters[machine] ?? {};
        const key = `${machine} ${instance}`;
        const random = new RecordedRandom(call.random ?? []);
        const values = revive(call.arguments ?? [], {
            $outbox: () => this.objects.get(`DeliveryOutbox ${instance}`),
            $streams: () => this.objects.get(`DeliveryLink ${instance}`).streams,
            // A machine of several links names that of the present one.
            $budget: (name) => this.budget(name === true ? instance : name),
            $machine: (key) => this.objects.get(key),
            $random: () => random,
            $set: (elements) => (element) => elements.includes(element),
            buffered: (counts) => (id) => counts[id] ?? 0,
        });
        let result;
        if (machine === "Codec") {
            result = codecs[method](this.client, ...values);
        } else if (method === "init") {
            const made = adapter.make?.(this.client, values, this)
                ?? new (this.client.find(machine))(...values);
            this.objects.set(key, made);
        } else {
            const object = this.objects.get(key);
            if (adapter[method]) {
                result = adapter[method](object, values, this);
            } else if (typeof object[method] === "function") {
                result = object[method](...values);
            } else if (method in object) {
                result = object[method];
            } else {
                throw new Missing(`${machine} has no ${method}`);
            }
        }
        // JavaScript counts to 2⁵³: a message with an id beyond that is malformed there.
        const isBeyond = machine === "Codec" && typeof (call.result?.id ?? call.result?.stream) === "string";
        if (isBeyond && result === undefined) return undefined;
        const found = difference(call.result ?? null, plain(result), "result");
        if (found) return found;
        if (random.drawn !== random.numbers.length) {
            return { path: "random numbers drawn", expected: random.numbers.length, actual: random.drawn };
        }
        for (const [name, expected] of Object.entries(call.state ?? {})) {
            const object = this.objects.get(key);
            const read = adapter.state?.[name] ?? ((object) => object[name]);
            const value = read(object, this.budgets.get(instance));
            const differs = difference(expected, plain(typeof value === "function" ? value.call(object) : value),
                `state.${name}`);
            if (differs) return differs;
        }
        return undefined;
    }
}

/** Encoders and decoders, by the name under which they were recorded. */
const codecs = {
    encodeResume: (client, frame) => client.find("encodeResume")(frame),
    encodeHint: (client, hint) => client.find("encodeHint")(hint),
    decodeFrame: (client, bytes) => client.find("decodeFrame")(bytes),
    decodeExchange: (client, bytes) => client.find("ExchangeMessage").decode(bytes),
    encodeClientMessage: (client, envelope) => JSON.parse(client.find("encodeClientMessage")(envelope)),
    decodeServerMessage(client, text) {
        try {
            return client.find("decodeServerMessage")(text);
        } catch (error) {
            // A refusal names its code; anything else is a fault of the decoder.
            if (error.code === undefined || error instanceof Missing) throw error;
            return { code: error.code, isFatal: error.isFatal };
        }
    },
};
for (const head of ["topicMessage", "topicWindow", "topicPosition", "request", "answer", "failure", "cancel",
    "requestRestart", "open", "data", "end", "reset", "window", "stop", "finished", "restart"]) {
    codecs[head] = (client, ...values) => client.find("ExchangeHead")[head](...values);
}

// MARK: Runs

/**
 * Replays calls.
 * @param {AsyncIterable<string> | Iterable<string>} lines
 * @returns what was replayed by machine: the calls, and the first differences of each method
 */
export async function replay(lines, client, { name = "", only = [], limit = 3, stopsAtFirst = false } = {}) {
    let run = new Run(client);
    let seed;
    const machines = new Map();
    const broken = new Set();
    let number = 0;
    for await (const line of lines) {
        number += 1;
        if (!line) continue;
        const call = JSON.parse(line);
        // Another schedule, with machines of its own.
        if (call.seed !== undefined) {
            seed = call.seed;
            run = new Run(client);
            broken.clear();
            continue;
        }
        if (only.length > 0 && !only.includes(call.machine)) continue;
        if (!machines.has(call.machine)) machines.set(call.machine, { calls: 0, skipped: 0, differences: [] });
        const report = machines.get(call.machine);
        // What comes behind a difference follows from it.
        const key = `${call.machine === "DeliveryOutbox" ? "DeliveryLink" : call.machine} ${call.instance}`;
        if (broken.has(key)) {
            report.skipped += 1;
            continue;
        }
        report.calls += 1;
        let found;
        try {
            found = run.step(call);
        } catch (error) {
            found = { path: "throws", error };
        }
        if (!found) continue;
        if (call.machine !== "Codec") broken.add(key);
        if (stopsAtFirst && found) return machines.set(call.machine, { ...report, differences: [found] });
        const place = seed === undefined ? `${name}:${number}` : `${name}:${number} (seed ${seed})`;
        if (report.differences.length < limit) report.differences.push({ ...found, call, place });
    }
    return machines;
}

/** A difference as text. */
export function describe({ path, expected, actual, error, call, place }) {
    const short = (value) => {
        const text = JSON.stringify(value);
        return text && text.length > 1500 ? `${text.slice(0, 1500)}…` : text;
    };
    const lines = [`${place}: ${call.machine}.${call.method} of ${call.instance ?? "-"}`,
        `  arguments: ${short(call.arguments ?? [])}`];
    if (error) lines.push(`  throws ${error.stack?.split("\n").slice(0, 5).join("\n    ") ?? error}`);
    else lines.push(`  ${path}`, `    Swift:      ${short(expected)}`, `    JavaScript: ${short(actual)}`);
    if (!error && path.startsWith("result")) lines.push(`  whole result in Swift: ${short(call.result ?? [])}`);
    return lines.join("\n");
}

export const linesOf = (file) =>
    createInterface({ input: file === "-" ? process.stdin : createReadStream(file), crlfDelay: Infinity });

async function main(values) {
    const files = [];
    const only = [];
    let folder = clientFolder;
    let wanted;
    for (let index = 0; index < values.length; index += 1) {
        if (values[index] === "--client") folder = resolve(values[index += 1]);
        else if (values[index] === "--only") only.push(values[index += 1]);
        else if (values[index] === "--schedules") wanted = Number(values[index += 1]);
        else files.push(values[index]);
    }
    const client = await Client.load(folder);
    for (const problem of client.problems) console.error(`cannot be loaded: ${problem.split("\n", 2).join(" ")}`);
    const totals = new Map();
    let hasFailed = false;
    let schedules = 0;
    const counted = async function* (lines) {
        for await (const line of lines) {
            if (line.startsWith('{"seed":')) schedules += 1;
            yield line;
        }
    };
    for (const file of files) {
        for (const [machine, report] of await replay(counted(linesOf(file)), client, { name: file, only })) {
            const total = totals.get(machine) ?? { calls: 0, skipped: 0, differences: 0 };
            total.calls += report.calls;
            total.skipped += report.skipped;
            total.differences += report.differences.length;
            if (total.differences <= 5) for (const found of report.differences) console.log(describe(found));
            hasFailed ||= report.differences.length > 0;
            totals.set(machine, total);
        }
    }
    for (const [machine, { calls, skipped, differences }] of totals) {
        console.log(`${machine}: ${calls} calls, ${differences} differences, ${skipped} calls behind them`);
    }
    console.log(`${schedules} schedules`);
    if (wanted !== undefined && schedules !== wanted) {
        console.error(`there are ${schedules} schedules, not ${wanted}: the recording is not complete`);
        hasFailed = true;
    }
    process.exitCode = hasFailed ? 1 : 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(process.argv.slice(2));
