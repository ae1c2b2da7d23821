// A participant in a browser, for tests: uses only the public module, and reports everything by `emit(text)`, which the
// driver has put into the page. The events are those of `room connect --json`; parameters come from the page's URL:
//
//   server, room, name, host (a role; default guest), policy (all | relay)
//
// Commands: see `test` below. A payload of a given size is made from a number, and both sides compare its checksum.

import { HostRole, JSONMessageCodec, TransportRuntime } from "/client/room.js";

const parameters = new URLSearchParams(location.search);
// Events carry the wall clock, which the runner knows too.
const wallClock = (milliseconds) => (performance.timeOrigin + milliseconds) / 1000;
const report = (event, fields = {}) => emit(JSON.stringify({ event, t: wallClock(performance.now()), ...fields }));

addEventListener("error", (event) => report("failed", { message: String(event.message) }));
addEventListener("unhandledrejection", ({ reason }) => report("failed", { message: String(reason?.stack ?? reason) }));
addEventListener("pagehide", (event) => report("pagehide", { persisted: event.persisted }));
addEventListener("pageshow", (event) => report("pageshow", { persisted: event.persisted }));
document.addEventListener("visibilitychange", () => report("visibility", { state: document.visibilityState }));
report("page", { secure: isSecureContext, visible: document.visibilityState });

// ---- Payloads

// Adler-32, RFC 1950 §8.2.
function checksum(bytes) {
    let a = 1;
    let b = 0;
    for (let index = 0; index < bytes.length; ) {
        const end = Math.min(index + 5552, bytes.length);
        for (; index < end; index++) b += a += bytes[index];
        a %= 65521;
        b %= 65521;
    }
    return b * 65536 + a;
}

/** Repeats a random block; in text it is ASCII. As `payload` in participants.py. */
function makePayload({ size, seed = 1, isText = false }) {
    const block = new Uint8Array(Math.min(size, 65521));
    let state = seed;
    for (let index = 0; index < block.length; index++) {
        state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
        block[index] = isText ? 97 + ((state >> 16) % 26) : state >> 16;
    }
    const bytes = new Uint8Array(size);
    for (let start = 0; start < size; start += block.length) bytes.set(block.subarray(0, size - start), start);
    return isText ? new TextDecoder().decode(bytes) : bytes;
}

const fromBase64 = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

// ---- The room

const role = parameters.get("host") ?? HostRole.guest;
const runtime = new TransportRuntime({
    server: parameters.get("server"), icePolicy: parameters.get("policy") ?? "all",
});
const room = runtime.open({ room: parameters.get("room"), as: parameters.get("name"), host: role });
let onMessage = null;

room.onMessage((message) => {
    if (onMessage) return onMessage(message);
    const { from, channel, isText, payload } = message;
    const content = isText && payload.length < 4096 ? { text: message.text } : { sum: checksum(payload) };
    report("message", { from, channel, isText, bytes: payload.length, ...content });
});

function reportPeer(id, state, fields = {}) {
    report("peer", { id, name: room.participants.find((other) => other.id === id)?.name ?? id, state, ...fields });
}

function reportStatus(id, status) {
    switch (status.type) {
        case "waiting":
        case "connecting":
            return reportPeer(id, "connecting");
        case "connected":
            return reportPeer(id, "connected", { path: status.path?.local ?? "none", summary: status.path?.summary });
        case "recovering":
            return reportPeer(id, "recovering", { rung: status.rung });
    }
}

function reportEvent(event) {
    switch (event.type) {
        case "signaling": {
            const { type, attempt, nextAttemptAt, cause, reason } = event.status;
            const nextAttemptIn = nextAttemptAt && nextAttemptAt - performance.now() / 1000;
            return report("signaling", {
                status: type, attempt, nextAttemptIn, cause: cause?.description ?? reason?.type,
            });
        }
        case "joined": {
            const { participant, session, epoch, isHost, kind } = event.membership;
            return report("joined", { self: participant, session, epoch, host: isHost, kind });
        }
        case "peerJoined":
            return reportPeer(event.participant.id, "joined");
        case "peerLeft":
            return reportPeer(event.participant.id, "left", { reason: event.reason });
        case "peer":
            return reportStatus(event.participant, event.status);
        case "incident": {
            const { participant, cause, outcome, startedAt, endedAt } = event.incident;
            const steps = event.incident.steps.map(({ kind, at, ...rest }) =>
                ({ step: kind, at: wallClock(at * 1000), ...rest }));
            const recoveredIn = outcome === "recovered" ? endedAt - startedAt : undefined;
            return report("incident", { peer: participant, cause, outcome, steps, recoveredIn });
        }
        case "undelivered":
            return report("undelivered", { id: event.participant, count: event.count });
        case "error":
            return report("error", { code: event.error.code, message: event.error.message });
        case "stalled":
            return report("error", { peer: event.participant, code: event.stall.code, message: event.stall.message });
        case "left":
            return report("left", { reason: event.reason });
    }
}

async function watchEvents() {
    for await (const event of room.events()) reportEvent(event);
}

async function watchStreams() {
    for await (const stream of room.incomingStreams()) readStream(stream);
}

async function readStream(stream) {
    const { from, name, length, metadata } = stream;
    const chunks = [];
    let error;
    try {
        for await (const chunk of stream) chunks.push(chunk);
    } catch (reason) {
        error = reason.code ?? String(reason);
    }
    const bytes = new Uint8Array(await new Blob(chunks).arrayBuffer());
    report("stream", { from, name, length, metadata, bytes: bytes.length, sum: checksum(bytes), error });
}

watchEvents();
watchStreams();

// ---- Commands

const topicOptions = {
    lossy: { reliability: "lossy", codec: JSONMessageCodec }, reliable: { codec: JSONMessageCodec },
};

const commands = {
    send: ({ text, data, make, to, channel }) =>
        room.send(text ?? (make ? makePayload(make) : fromBase64(data)), { to, channel }),
    leave: () => room.leave(),
    reconnect: () => room.reconnectNow(),
    restart: ({ peer }) => room.restartPaths({ to: peer }),
};

globalThis.test = {
    room,
    /** A command, as `room connect --json` takes it. Its failure is an event. */
    do(command) {
        Promise.resolve(commands[command.do](command)).catch((error) =>
            report("error", { code: error.code ?? "failed", message: error.message }));
    },
    send: async (fields) => (await commands.send(fields)).acceptedCount,
    subscribe(name, reliability = "reliable") {
        const messages = room.topic(name, topicOptions[reliability]).messages();
        (async () => {
            for await (const { from, value } of messages) report("topic", { from, name, value });
        })();
    },
    publish: async (name, value, reliability = "reliable") =>
        (await room.topic(name, topicOptions[reliability]).publish(value)).acceptedCount,
    /** Answers requests: `double` with twice the number, `fail` never, `slow` when they are cancelled. */
    handle() {
        room.handle("double", (value) => value * 2, { codec: JSONMessageCodec });
        room.handle("echo", (body) => body);
        room.handle("fail", () => { throw new Error("on purpose"); });
        room.handle("slow", (body, caller, signal) =>
            new Promise((resolve) => signal.addEventListener("abort", () => {
                report("aborted");
                resolve("");
            })));
    },
    async request(method, value, to, timeout) {
        try {
            return { value: await room.request(method, value, { to, timeout, codec: JSONMessageCodec }) };
        } catch (error) {
            return { code: error.code, failure: error.failure?.code };
        }
    },
    async openStream(name, make, to) {
        const stream = await room.openStream(name, { to, length: make.size, metadata: { kind: "test" } });
        const bytes = makePayload(make);
        const block = 1 << 18;
        for (let start = 0; start < bytes.length; start += block) {
            await stream.write(bytes.subarray(start, start + block));
        }
        await stream.finish();
        return { acknowledged: stream.acknowledgedCount, sum: checksum(bytes) };
    },
    statistics: async () => Object.fromEntries(await room.statistics()),

    // ---- Measurements

    /** Sends every message back. */
    echo() {
        onMessage = ({ from, payload, isText, text }) => room.trySend(isText ? text : payload, { to: from });
    },
    /** Counts messages from now on. */
    count() {
        const count = globalThis.counted = { messages: 0, bytes: 0, first: 0, last: 0 };
        onMessage = ({ payload }) => {
            count.last = performance.now();
            count.first ||= count.last;
            count.messages++;
            count.bytes += payload.length;
        };
    },
    /** The median time of a message there and back, in microseconds; the other side echoes. */
    roundTrips(to, count) {
        const times = [];
        const message = new Uint8Array(64);
        let sentAt = 0;
        const send = () => {
            sentAt = performance.now();
            room.trySend(message, { to });
        };
        return new Promise((resolve) => {
            onMessage = () => {
                times.push(performance.now() - sentAt);
                if (times.length < count) return send();
                onMessage = null;
                times.sort((a, b) => a - b);
                resolve(times[count >> 1] * 1000);
            };
            send();
        });
    },
    /** Sends at full speed for a while; the number of bytes. */
    async flood(to, size, seconds) {
        const message = new Uint8Array(size);
        const end = performance.now() + seconds * 1000;
        let bytes = 0;
        for (; performance.now() < end; bytes += size) await room.send(message, { to });
        await room.flush();
        return bytes;
    },
};
report("ready");
