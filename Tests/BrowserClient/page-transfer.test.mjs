import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { SHA256 } from "../../Sources/RoomPage/Page/sha256.js";
import {
    Inbox, KIND, decodeManifest, encodeManifest, message,
} from "../../Sources/RoomPage/Page/transfer-messages.js";
import {
    listOf, receiveFiles, receiveList, reportFailure, sendFiles,
} from "../../Sources/RoomPage/Page/transfer-protocol.js";

const hex = (bytes) => Buffer.from(bytes).toString("hex");
const fromHex = (text) => new Uint8Array(Buffer.from(text.replace(/ /g, ""), "hex"));

test("SHA-256 is that of others, however it is cut", () => {
    for (const length of [0, 1, 55, 56, 63, 64, 65, 119, 120, 128, 1000, 100_003]) {
        const bytes = new Uint8Array(length).map((_, index) => index * 7 + (index >> 8));
        const expected = createHash("sha256").update(bytes).digest("hex");
        for (const step of [length || 1, 1, 7, 64, 100]) {
            if (length / step > 20_000) continue;
            const hash = new SHA256();
            for (let at = 0; at < length; at += step) hash.update(bytes.subarray(at, at + step));
            assert.equal(hex(hash.digest()), expected, `${length} in steps of ${step}`);
            assert.equal(hex(hash.digest()), expected, "again");
        }
    }
});

/** One direction of a connection: what is written comes out of the iterator, cut into other pieces. */
class Pipe {
    constructor(piece = 1000) {
        Object.assign(this, { piece, held: [], waiting: undefined, isOver: false, written: [] });
    }
    async write(bytes) {
        this.written.push(bytes.slice());
        for (let at = 0; at < bytes.length; at += this.piece) this.held.push(bytes.slice(at, at + this.piece));
        if (this.waiting) this.waiting();
    }
    async finish() {
        this.isOver = true;
        if (this.waiting) this.waiting();
    }
    async *[Symbol.asyncIterator]() {
        while (true) {
            while (this.held.length) yield this.held.shift();
            if (this.isOver) return;
            await new Promise((wake) => { this.waiting = wake; });
        }
    }
}

function file(name, bytes, lastModified = 1_700_000_000_000) {
    return Object.assign(new Blob([bytes]), { name, lastModified });
}

async function receive(outgoing, incoming, answer = () => true) {
    const inbox = new Inbox(incoming);
    const entries = await receiveList(outgoing, inbox);
    const parts = entries.map(() => []);
    const events = [];
    if (!answer(entries)) return { entries };
    await receiveFiles(outgoing, inbox, entries, {
        write(index, bytes) { parts[index].push(bytes); }, end(index) { events.push(index); },
        progress(count) { events.push(`${count} bytes`); },
    });
    return { entries, files: parts.map((list) => Buffer.concat(list)), events };
}

for (const piece of [1, 17, 70_000]) {
    test(`files arrive whole in pieces of ${piece} bytes`, async () => {
        const [there, back] = [new Pipe(piece), new Pipe(piece)];
        const size = piece === 1 ? 2000 : 700_000;
        const contents = [new Uint8Array(0), new Uint8Array(size).map((_, index) => index * 31), new Uint8Array([1])];
        const files = contents.map((bytes, index) => file(`file ${index}.bin`, bytes));
        const progress = [];
        const [received] = await Promise.all([
            receive(back, there),
            sendFiles(there, new Inbox(back), files, { progress: (count) => progress.push(count) }),
        ]);
        assert.deepEqual(received.files.map(hex), contents.map(hex));
        assert.deepEqual(received.entries.map(({ path }) => path), ["file 0.bin", "file 1.bin", "file 2.bin"]);
        assert.equal(received.entries[1].modified, 1_700_000_000_000);
        assert.equal(progress[progress.length - 1], size + 1);
    });
}

test("the bytes are those of the article", async () => {
    const [there, back] = [new Pipe(), new Pipe()];
    const sent = sendFiles(there, new Inbox(back), [file("a", new TextEncoder().encode("hi"), 0)], {});
    await back.write(fromHex(`01 00000022 01 00 ${"00".repeat(32)}`));
    await back.write(fromHex("06 00000000"));
    await back.write(fromHex("0a 00000008 0000000000000002 0b 00000004 00000000 0c 00000000"));
    await sent;
    assert.equal(hex(there.written[0]).slice(0, 14), "01000000220100");
    assert.deepEqual(there.written.slice(1).map(hex), [
        "04 00000022 00000001 0000000000000002 00 01a4 0000000000000002 0000000000000000 0001 61",
        "07 0000000c 00000000 0000000000000000", "08 00000002 6869",
        "09 00000020 8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4", "0d 00000000",
    ].map((text) => text.replace(/ /g, "")));
});

test("what the receiver has already is not sent again", async () => {
    const [there, back] = [new Pipe(), new Pipe()];
    const bytes = new Uint8Array(600_000).map((_, index) => index * 13);
    const sent = sendFiles(there, new Inbox(back), [file("a", bytes)], {});
    const digest = (end) => createHash("sha256").update(bytes.subarray(0, end)).digest("hex");
    await back.write(fromHex(`01 00000022 01 00 ${"00".repeat(32)}`));
    const points = [[300_000, digest(300_000)], [400_000, digest(400_000)], [500_000, "00".repeat(32)]];
    const body = "00000000" + points.map(([length, hash]) => length.toString(16).padStart(16, "0") + hash).join("");
    await back.write(message(KIND.present, fromHex(body)));
    await back.write(fromHex("06 00000000 0a 00000008 0000000000030d40 0b 00000004 00000000 0c 00000000"));
    await sent;
    assert.equal(hex(there.written[2]), "070000000c00000000" + (400_000).toString(16).padStart(16, "0"));
    const data = there.written.filter((part) => part[0] === KIND.data).map((part) => part.subarray(5));
    assert.equal(hex(Buffer.concat(data)), hex(bytes.subarray(400_000)));
    assert.equal(hex(there.written[there.written.length - 2].subarray(5)), digest(600_000));
});

test("a receiver that declines tells the sender", async () => {
    const [there, back] = [new Pipe(), new Pipe()];
    const declining = receive(back, there, () => false).then(() =>
        reportFailure(back, Object.assign(new Error("no"), { code: "x" })));
    await assert.rejects(sendFiles(there, new Inbox(back), [file("a", "b")], {}), { isFromOtherSide: true });
    await declining;
});

test("a damaged file is refused", async () => {
    const [there, back] = [new Pipe(), new Pipe()];
    const receiving = receive(back, there);
    await there.write(fromHex(`01 00000022 01 00 ${"00".repeat(32)}`));
    await there.write(message(KIND.lastManifest, encodeManifest([{ path: "a", size: 2, modified: 0 }])));
    await there.write(fromHex("07 0000000c 00000000 0000000000000000 08 00000002 6869"));
    await there.write(message(KIND.endOfFile, new Uint8Array(32)));
    await assert.rejects(receiving, { code: "damaged" });
});

test("what breaks the protocol is refused", async () => {
    const hello = `01 00000022 01 00 ${"00".repeat(32)}`;
    const list = hex(message(KIND.lastManifest, encodeManifest([{ path: "a", size: 2, modified: 0 }])));
    for (const [bytes, code] of [
        ["01 00000022 02 00" + "00".repeat(32), "protocol_violation"], ["01 00000022 01 01" + "00".repeat(32), "identity"],
        ["ff 00000000", "protocol_violation"], ["01 00020000", "protocol_violation"],
        [hello + "04 00000000", "protocol_violation"], [hello + "06 00000000", "protocol_violation"],
        [hello + list + "08 00000002 6869", "protocol_violation"],
        [hello + list + "07 0000000c 00000001 0000000000000000", "protocol_violation"],
        [hello + list + "07 0000000c 00000000 0000000000000000 08 00000003 686968", "protocol_violation"],
        [hello + "0e 0000000d 0008 6465636c696e6564 0001 78", "declined"], [hello, "interrupted"],
    ]) {
        const [there, back] = [new Pipe(), new Pipe()];
        await there.write(fromHex(bytes));
        await there.finish();
        await assert.rejects(receive(back, there), { code }, bytes);
    }
});

test("a list has other names for what collides", () => {
    const names = ["a.txt", "A.TXT", "a.txt", "..", "con"].map((name) => ({ name, size: 1, lastModified: 0 }));
    assert.deepEqual(listOf(names).map(({ path }) => path), ["a.txt", "A (2).TXT", "a (3).txt", "file", "_con"]);
});

test("a list that lies is refused", () => {
    const good = encodeManifest([{ path: "a", size: 5, modified: 0 }, { path: "b", size: 0, isFolder: true, modified: 0 }]);
    assert.equal(decodeManifest(good).length, 2);
    for (const at of [3, 11, 12]) {
        const bad = good.slice();
        bad[at] += 2;
        assert.throws(() => decodeManifest(bad), { name: "Error" }, `byte ${at}`);
    }
    assert.throws(() => decodeManifest(good.subarray(0, good.length - 1)));
});
