// The client against a real room server (`ROOM`: the executable, or `room` in the path), over a WebSocket of node, with
// peer connections that lead nowhere: join, resume, and rejoin after the server was killed.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { systemRandom } from "../../Sources/RoomPage/Client/random.js";
import { TransportRuntime } from "../../Sources/RoomPage/Client/room.js";
import { FakePeerConnection } from "./fake-peer-connection.mjs";

const executable = process.env.ROOM ?? "room";

/** The WebSocket of node or of Debian's package `ws`; undefined: there is none. */
function findWebSocket() {
    if (globalThis.WebSocket) return globalThis.WebSocket;
    for (const name of ["ws", "/usr/share/nodejs/ws"]) {
        try { return createRequire(import.meta.url)(name); } catch { /* the next one */ }
    }
    return undefined;
}

const WebSocket = findWebSocket();
const missing = !WebSocket ? "there is no WebSocket in node, and no package `ws`"
    : spawnSync(executable, ["--version"]).error ? `there is no executable '${executable}' (set ROOM)` : undefined;
if (missing) console.error(`SKIPPED: the browser client was not tested with a room server: ${missing}`);

const deadline = 20_000;

/** Returns when `condition` holds, looked at whenever `events` has something. */
async function until(events, condition, what) {
    const iterator = events[Symbol.asyncIterator]();
    let timer;
    const timeout = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`not within ${deadline} ms: ${what}`)), deadline);
    });
    try {
        while (!condition()) if ((await Promise.race([iterator.next(), timeout])).done) break;
    } finally {
        clearTimeout(timer);
        iterator.return();
    }
    assert.ok(condition(), what);
}

/** A room server, killed at the end of the test. */
class Server {
    constructor(context) {
        this.folder = mkdtempSync(join(tmpdir(), "room-client-"));
        this.port = 0;
        context.after(() => {
            this.kill();
            rmSync(this.folder, { recursive: true });
        });
    }

    async start() {
        this.process = spawn(executable, [
            "serve", "--port", String(this.port), "--json", "--session-key-file", join(this.folder, "session.key"),
        ], { stdio: ["ignore", "pipe", "pipe"] });
        this.exit = new Promise((resolve) => this.process.once("exit", resolve));
        let output = "";
        this.process.stderr.on("data", (data) => { output += data; });
        for await (const line of createInterface({ input: this.process.stdout })) {
            output += `${line}\n`;
            const port = /ws:\/\/[^"\s]*:(\d+)/.exec(line)?.[1] ?? /"port"\s*:\s*(\d+)/.exec(line)?.[1];
            if (!port) continue;
            this.port = Number(port);
            this.process.stdout.resume();
            return;
        }
        throw new Error(`the server did not start: ${output}`);
    }

    kill() {
        this.process?.kill("SIGKILL");
        return this.exit;
    }
}

/** What a room needs of a browser, with node's clock and HTTP. */
function environment() {
    const sockets = [];
    const pageEvents = {
        now: () => performance.now(), dateNow: () => Date.now(), setInterval: () => undefined, clearInterval: () => {},
    };
    return {
        sockets,
        fetch: (...values) => fetch(...values),
        setTimeout: (...values) => setTimeout(...values), clearTimeout: (timer) => clearTimeout(timer),
        now: () => performance.now() / 1000, random: systemRandom, pageEvents,
        WebSocket: class extends WebSocket {
            constructor(url) {
                super(url);
                sockets.push(this);
            }
        },
        createConnection: (configuration) => new FakePeerConnection(configuration),
    };
}

test("join, resume, and rejoin when the server was killed and is back", { skip: missing }, async (context) => {
    const server = new Server(context);
    await server.start();
    const configuration = { server: `ws://127.0.0.1:${server.port}/` };
    const sides = ["ann", "bob"].map((name) => ({ name, environment: environment() }));
    for (const side of sides) {
        const runtime = new TransportRuntime(configuration, side.environment);
        context.after(() => runtime.stop());
        side.room = await runtime.connect({ toRoom: "lobby", as: side.name, host: "ifFirst" });
    }
    const [ann, bob] = sides.map(({ room }) => room);
    assert.deepEqual([ann.isHost, bob.isHost], [true, false]);
    await until(ann.snapshots(), () => ann.participants.length === 1, "ann sees bob");
    assert.deepEqual(ann.participants[0].name, "bob");
    const session = bob.snapshot.membership.session;

    // Offers and answers cross.
    bob.update({ metadata: { colour: "red" } });
    await until(ann.snapshots(), () => ann.participants[0].metadata.colour === "red", "ann sees bob's metadata");
    ann.update({ attributes: { map: "desert" } });
    await until(bob.snapshots(), () => bob.attributes.map === "desert", "bob sees the attributes");

    // Resume: the others see nothing.
    const quiet = [];
    const events = ann.events();
    (async () => {
        for await (const event of events) quiet.push(event.type);
    })();
    await Promise.resolve();
    const replay = quiet.length;
    const back = bob.events();
    sides[1].environment.sockets.at(-1).terminate?.();
    await until(back, () => bob.snapshot.membership.kind === "resumed", "bob is back");
    assert.equal(bob.snapshot.membership.session, session);
    assert.equal(quiet.slice(replay).filter((type) => type === "peerLeft").length, 0);

    // Rejoin: the server has lost its state.
    await server.kill();
    await until(ann.snapshots(), () => ann.signalingStatus.type !== "connected", "ann notices the loss");
    await server.start();
    await Promise.all([ann, bob].map((room) =>
        until(room.snapshots(), () => room.snapshot.membership.epoch === 2 && room.signalingStatus.type === "connected",
            "the room is whole again")));
    await until(ann.snapshots(), () => ann.participants.length === 1 && ann.participants[0].epoch === 2, "bob is back");
    assert.deepEqual([ann.isHost, bob.snapshot.membership.session, bob.attributes.map], [true, session, "desert"]);
    assert.ok(!quiet.includes("peerLeft"));

    // The end.
    await bob.leave({ within: 0 });
    await until(ann.snapshots(), () => ann.participants.length === 0, "bob has left");
    await ann.leave({ within: 0 });
    assert.deepEqual(ann.endReason, { type: "left" });
});

test("a name that is taken is refused with the server's code", { skip: missing }, async (context) => {
    const server = new Server(context);
    await server.start();
    const runtime = new TransportRuntime({ server: `ws://127.0.0.1:${server.port}/` }, environment());
    context.after(() => runtime.stop());
    await runtime.connect({ toRoom: "lobby", as: "ann", host: true });
    await assert.rejects(
        runtime.connect({ toRoom: "lobby", as: "ann" }), { code: "refused", protocolCode: "name_taken" });
    await assert.rejects(
        runtime.connect({ toRoom: "nowhere", as: "ann" }), { code: "refused", protocolCode: "room_not_found" });
});

test("half an emoji is U+FFFD for the others, and no part of a name", { skip: missing }, async (context) => {
    const server = new Server(context);
    await server.start();
    const runtime = new TransportRuntime({ server: `ws://127.0.0.1:${server.port}/` }, environment());
    context.after(() => runtime.stop());
    const cut = "party \u{1f389}".slice(0, -1);
    const ann = await runtime.connect({ toRoom: "lobby", as: "ann", host: true });
    const bob = await runtime.connect({ toRoom: "lobby", as: "bob", metadata: { mood: cut } });
    await until(ann.snapshots(), () => ann.participants.length === 1, "ann sees bob");
    assert.equal(ann.participants[0].metadata.mood, "party \ufffd");
    ann.update({ attributes: { topic: cut } });
    await until(bob.snapshots(), () => bob.attributes.topic === "party \ufffd", "bob sees the attributes");
    await assert.rejects(
        runtime.connect({ toRoom: "lobby", as: cut }), { code: "refused", protocolCode: "invalid_name" });
});
