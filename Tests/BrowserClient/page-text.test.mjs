import assert from "node:assert/strict";
import { test } from "node:test";
import {
    byteCount, duration, isLocal, linkTo, pathText, roomName, roomOf, safeFileName, shownName,
} from "../../Sources/RoomPage/Page/text.js";

test("a link to a room leads back to its name", () => {
    for (const base of ["http://192.168.1.2:8080/", "https://rooms.example/somewhere/", "http://[::1]:80/other#room=x"]) {
        for (const room of ["lobby", "a b", "café", "a/b", "x&y=z", "#", "..", "a.b", "health", "100 %", "ünï-1_2"]) {
            assert.equal(roomOf(new URL(linkTo(room, { href: base }))), room, `${room} at ${base}`);
        }
    }
    assert.equal(linkTo("lobby", { href: "http://x/" }), "http://x/lobby");
    assert.equal(roomOf(new URL("http://x/caf%C3%A9")), "café");
    assert.equal(roomOf(new URL("http://x/%ff")), "");
    assert.equal(roomOf(new URL("http://x/")), "");
});

test("a link to this machine is told from others", () => {
    for (const link of ["http://localhost:1/", "http://127.0.0.1/", "http://[::1]:8080/x"]) assert.ok(isLocal(link));
    for (const link of ["http://192.168.1.1/", "https://rooms.example/"]) assert.ok(!isLocal(link));
});

test("a new room's name can be in a path", () => {
    for (let index = 0; index < 200; index++) {
        const name = roomName((count) => Math.floor(Math.random() * count));
        assert.match(name, /^[a-z]+-[a-z]+-[0-9]{3}$/);
    }
});

test("a file of somebody else gets a name of one safe part", () => {
    const cases = [
        ["photo.jpg", "photo.jpg"], ["../../etc/passwd", "passwd"], ["C:\\Windows\\win.ini", "win.ini"],
        [".bashrc", "bashrc"], ["..", "file"], ["", "file"], ["/", "file"], ["a\u0000b", "a_b"],
        ["invoice\u202Efdp.exe", "invoice_fdp.exe"], ["x\u200Bx", "x_x"], ["CON", "_CON"], ["nul.txt", "_nul.txt"],
        ["com1", "_com1"], ["console.log", "console.log"], ["trailing. .", "trailing"], ["a:b", "a_b"],
        ["<b>.html", "_b_.html"], ["e\u0301.txt", "é.txt"], ["日本語.txt", "日本語.txt"],
    ];
    for (const [name, safe] of cases) assert.equal(safeFileName(name), safe, JSON.stringify(name));
    const long = safeFileName("ü".repeat(500) + ".tar.gz");
    assert.ok(new TextEncoder().encode(long).length <= 200 && long.endsWith(".gz"));
});

test("a safe name stays as it is", () => {
    for (let index = 0; index < 2000; index++) {
        const length = 1 + Math.floor(Math.random() * 12);
        const name = Array.from({ length }, () => String.fromCodePoint(Math.floor(Math.random() * 0x2FFF))).join("");
        const safe = safeFileName(name);
        assert.equal(safeFileName(safe), safe, JSON.stringify(name));
        assert.doesNotMatch(safe, /[\\/:\u0000-\u001F\u202A-\u202E]|^\.|\.$/);
    }
});

test("names for labels are short and visible", () => {
    assert.equal(shownName("ann"), "ann");
    assert.equal(shownName("a\u202Eb"), "a_b");
    assert.equal(Array.from(shownName("x".repeat(100))).length, 60);
});

test("figures have few digits", () => {
    assert.deepEqual([0, 999, 1000, 9949, 123_456, 999_499, 999_500, 5e9, 3e15].map(byteCount),
        ["0 B", "999 B", "1.0 kB", "9.9 kB", "123 kB", "999 kB", "1.0 MB", "5.0 GB", "3000 TB"]);
    assert.deepEqual([0, 0.004, 0.42, 1, 9.96, 59, 61, 3700].map(duration),
        ["1 ms", "4 ms", "0.42 s", "1.0 s", "10 s", "59 s", "1 min 1 s", "1 h 1 min"]);
});

test("a path is relayed when either end is", () => {
    assert.equal(pathText({ local: "host", remote: "prflx" }), "direct");
    assert.equal(pathText({ local: "host", remote: "relay" }), "relayed");
    assert.equal(pathText(undefined), "");
});
