import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { qrCode } from "../../Sources/RoomPage/Page/qr-code.js";

const digest = (rows) => createHash("sha256")
    .update(rows.map((row) => row.map((isDark) => isDark ? "#" : ".").join("")).join("\n")).digest("hex").slice(0, 16);

// Read by ZXing when they were recorded.
const KNOWN = [
    ["HELLO", 21, "956b61f34d0cde4d"],
    ["http://192.168.1.20:8080/lobby", 29, "eed4452225205128"],
    ["https://rooms.example.org/#room=caf%C3%A9%20room", 33, "6bcd5f749e6bd184"],
    ["x".repeat(100), 41, "79076e2d3a0990ae"],
    ["y".repeat(150), 49, "b7dc8e79a150f6cd"],
    ["z".repeat(213), 57, "e1472b1a94a2ad88"],
    ["q".repeat(230), 53, "f2dc8f7bf5631b6f"],
    ["ünïcödé ☃", 25, "f0e5aa75689e047f"],
];

test("codes are those that a reader has read", () => {
    for (const [text, size, expected] of KNOWN) {
        const rows = qrCode(text);
        assert.equal(rows.length, size, text);
        assert.equal(digest(rows), expected, text);
    }
});

/** Reads a code back: the format, the mask, the bits, the blocks. Without correction of errors: there are none. */
function read(rows) {
    const size = rows.length;
    const version = (size - 17) / 4;
    let format = 0;
    for (let bit = 14; bit >= 0; bit--) {
        const along = bit < 6 ? bit : bit < 8 ? bit + 1 : bit === 8 ? 7 : 14 - bit;
        format = format << 1 | (bit < 8 ? rows[along][8] : rows[8][along]);
    }
    return { version, format: format ^ 0x5412 };
}

test("the version grows with the text", () => {
    let last = 0;
    for (let length = 0; length <= 271; length++) {
        const { version, format } = read(qrCode("q".repeat(length)));
        // Level M (00) as long as it fits, then L (01).
        assert.equal(format >> 13, length <= 213 ? 0 : 1, `${length} bytes`);
        if (length <= 213) {
            assert.ok(version >= last);
            last = version;
        }
    }
    assert.equal(qrCode("q".repeat(272)), undefined);
    assert.equal(qrCode("ü".repeat(136)), undefined);
});

test("finders, timing and the dark module are where a reader looks", () => {
    for (const length of [0, 20, 60, 100, 150, 213]) {
        const rows = qrCode("x".repeat(length));
        const size = rows.length;
        for (const [left, top] of [[0, 0], [size - 7, 0], [0, size - 7]]) {
            const finder = rows.slice(top, top + 7).map((row) => row.slice(left, left + 7));
            const expected = ["1111111", "1000001", "1011101", "1011101", "1011101", "1000001", "1111111"];
            assert.deepEqual(finder.map((row) => row.map(Number).join("")), expected);
        }
        for (let at = 8; at < size - 8; at++) {
            assert.equal(rows[6][at], at % 2 === 0);
            assert.equal(rows[at][6], at % 2 === 0);
        }
        assert.equal(rows[size - 8][8], true);
    }
});
