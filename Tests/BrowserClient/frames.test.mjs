import assert from "node:assert/strict";
import { test } from "node:test";
import { utf8 } from "../../Sources/RoomPage/Client/bytes.js";
import * as DeliveryProtocol from "../../Sources/RoomPage/Client/delivery-protocol.js";
import { ExchangeHead, ExchangeMessage } from "../../Sources/RoomPage/Client/exchange-message.js";
import { Random, schedules } from "./virtual-pairs.mjs";

const hex = (text) => Uint8Array.from(Buffer.from(text.replaceAll(" ", ""), "hex"));
const joined = (...parts) => Uint8Array.from(parts.flatMap((part) => [...part]));

test("a resume frame is what it was", () => {
    const frame = { session: "sabc", peerSession: "sdé", received: 5, next: 2 ** 40 + 7 };
    const bytes = DeliveryProtocol.encodeResume(frame);
    assert.deepEqual(bytes, hex("01 01 04 73616263 04 7364c3a9 0000000000000005 0000010000000007"));
    assert.deepEqual(DeliveryProtocol.decodeFrame(bytes), { type: "resume", value: frame });
    for (let length = 0; length < bytes.length; length += 1) {
        assert.equal(DeliveryProtocol.decodeFrame(bytes.subarray(0, length)), undefined);
    }
    assert.equal(DeliveryProtocol.decodeFrame(joined(bytes, [0])), undefined);
    const otherVersion = bytes.slice();
    otherVersion[1] = 2;
    assert.equal(DeliveryProtocol.decodeFrame(otherVersion), undefined);
    const invalidText = bytes.slice();
    invalidText[3] = 0xff;
    assert.equal(DeliveryProtocol.decodeFrame(invalidText), undefined);
});

test("frames are known by their first byte", () => {
    const data = hex("02 fffffffe 80000001 6869");
    assert.deepEqual(
        DeliveryProtocol.decodeFrame(data), { type: "data", kind: "binary", sequence: 0xfffffffe, ack: 0x80000001 });
    assert.equal(DeliveryProtocol.decodeFrame(data.subarray(0, 8)), undefined);
    assert.deepEqual(DeliveryProtocol.decodeFrame(hex("05 00000102")), { type: "ack", value: 258 });
    assert.equal(DeliveryProtocol.decodeFrame(hex("05 0000010203")), undefined);
    assert.deepEqual(DeliveryProtocol.decodeFrame(hex("06 02")), { type: "hint", value: "leaving" });
    assert.deepEqual(DeliveryProtocol.decodeFrame(hex("06 09")), { type: "hint", value: undefined });
    assert.equal(DeliveryProtocol.decodeFrame(hex("06")), undefined);
    for (const first of ["00", "08", "ff"]) {
        assert.equal(DeliveryProtocol.decodeFrame(hex(`${first} 0000000000000000`)), undefined);
    }
    assert.equal(DeliveryProtocol.decodeFrame(new Uint8Array(0)), undefined);
    assert.deepEqual(DeliveryProtocol.encodeHint("unheard"), hex("06 03"));
});

test("the longest message is in the capabilities", () => {
    assert.equal(DeliveryProtocol.messageLimit(["delivery.v1", DeliveryProtocol.messageLimitCapability(4096)]), 4096);
    assert.equal(DeliveryProtocol.messageLimit(["message.max.0", "message.max.x", "message.max.7"]), 7);
    assert.equal(DeliveryProtocol.messageLimit([]), undefined);
});

test("the example of the wire protocol", () => {
    const opening = { name: "x", length: 5, metadata: {} };
    assert.deepEqual(ExchangeHead.open(1, opening), hex("20 0000000000000001 0000000000000005 01 78 00"));
    assert.deepEqual(joined(ExchangeHead.data(1), utf8("hello")), hex("21 0000000000000001 68656c6c6f"));
    assert.deepEqual(ExchangeHead.end(1), hex("22 0000000000000001"));
    assert.deepEqual(ExchangeHead.finished(1), hex("26 0000000000000001"));
});

/** Each message as bytes, and as it is decoded. */
const body = utf8("body");
const samples = [
    [joined(ExchangeHead.topicMessage("töpic", true), body),
        { type: "topicMessage", value: { offset: 3, count: 6 }, isText: true, body: 9 }],
    [ExchangeHead.topicWindow("t", 2 ** 33 + 1),
        { type: "topicWindow", value: { offset: 2, count: 1 }, limit: 2 ** 33 + 1 }],
    [joined(ExchangeHead.request(2 ** 40, 1500, "m", false), body),
        { type: "request", id: 2 ** 40, timeout: 1500, method: { offset: 15, count: 1 }, isText: false, body: 16 }],
    [ExchangeHead.request(1, undefined, "m", true),
        { type: "request", id: 1, timeout: undefined, method: { offset: 15, count: 1 }, isText: true, body: 16 }],
    [joined(ExchangeHead.answer(3, true), body), { type: "answer", id: 3, isText: true, body: 10 }],
    [ExchangeHead.failure(3, "busy", "später"), { type: "failure", id: 3, code: "busy", message: "später" }],
    [ExchangeHead.cancel(9), { type: "cancel", id: 9 }],
    [ExchangeHead.open(7, { name: "naïve.txt", metadata: { b: "2", a: "", __proto__x: "é" } }),
        { type: "open", stream: 7, value: { name: "naïve.txt", metadata: { a: "", b: "2", __proto__x: "é" } } }],
    [joined(ExchangeHead.data(7), body), { type: "data", stream: 7, body: 9 }],
    [ExchangeHead.end(7), { type: "end", stream: 7 }],
    [ExchangeHead.reset(7, "", ""), { type: "reset", stream: 7, code: "unknown", message: "" }],
    [ExchangeHead.window(7, 10, 2 ** 50), { type: "window", stream: 7, consumed: 10, limit: 2 ** 50 }],
    [ExchangeHead.stop(7, "cancelled", "enough"), { type: "stop", stream: 7, code: "cancelled", message: "enough" }],
    [ExchangeHead.finished(7), { type: "finished", stream: 7 }],
    [ExchangeHead.restart(8, 0), { type: "restart", first: 8, last: 0 }],
];

test("exchange messages are what they were", () => {
    for (const [bytes, message] of samples) {
        const decoded = ExchangeMessage.decode(bytes);
        assert.deepEqual(JSON.parse(JSON.stringify(decoded)), JSON.parse(JSON.stringify(message)));
    }
});

test("exchange messages are complete, and nothing follows those without a body", () => {
    for (const [bytes, message] of samples) {
        const end = message.body ?? bytes.length;
        for (let length = 0; length < end; length += 1) {
            assert.equal(ExchangeMessage.decode(bytes.subarray(0, length)), undefined, `${message.type} ${length}`);
        }
        const longer = ExchangeMessage.decode(joined(bytes, [0]));
        assert.equal(longer?.type, message.body == undefined ? undefined : message.type);
    }
});

test("exchange messages over the limits are malformed", () => {
    const name = (count) => "x".repeat(count);
    const tooMany = Object.fromEntries(Array.from({ length: 17 }, (_, index) => [`k${index}`, ""]));
    const malformed = [
        hex("01 02 01 74"), hex("01 00 00"), hex("01 00 01 ff"), // flags, empty name, invalid text
        ExchangeHead.topicMessage(name(65), true), ExchangeHead.open(1, { name: "", metadata: {} }),
        hex("13 0000000000000000"), hex("13 ffffffffffffffff"), // ids
        ExchangeHead.open(1, { name: "n", metadata: tooMany }),
        ExchangeHead.open(1, { name: "n", metadata: { [name(65)]: "" } }),
        ExchangeHead.open(1, { name: "n", metadata: { a: name(2100), b: name(2100) } }),
        ExchangeHead.open(1, { name: "n", metadata: { "\u00e9": "", "e\u0301": "" } }),
        ExchangeHead.window(1, 6, 5), hex("03"), hex("7f 00"),
    ];
    for (const bytes of malformed) {
        assert.equal(ExchangeMessage.decode(bytes), undefined, Buffer.from(bytes).toString("hex"));
    }
});

test("texts of failures are shortened to whole characters", () => {
    const message = ExchangeMessage.decode(ExchangeHead.failure(1, "é".repeat(40), `${"a".repeat(1023)}é`));
    assert.equal(message.code, "é".repeat(32));
    assert.equal(message.message, "a".repeat(1023));
});

test("whatever the bytes are, decoding does not throw", () => {
    for (let seed = 1; seed <= schedules(300); seed += 1) {
        const random = new Random(seed);
        for (let count = 0; count < 100; count += 1) {
            let bytes = random.bytes(random.below(40));
            if (random.chance(0.7)) {
                const sample = samples[random.below(samples.length)][0].slice();
                for (let change = random.below(3); change >= 0; change -= 1) {
                    sample[random.below(sample.length)] = random.below(256);
                }
                bytes = sample.subarray(0, random.chance(0.3) ? random.below(sample.length) : sample.length);
            }
            assert.doesNotThrow(() => ExchangeMessage.decode(bytes), `seed ${seed}`);
            assert.doesNotThrow(() => DeliveryProtocol.decodeFrame(bytes), `seed ${seed}`);
        }
    }
});
