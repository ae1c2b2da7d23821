// The machines of the browser client decide as RoomCore does: the recorded calls in `vectors` are replayed, which are
// renewed as `VectorTests.swift` says.

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { Client, describe, linesOf, replay } from "./replay.mjs";

const folder = fileURLToPath(new URL("vectors/", import.meta.url));
const files = readdirSync(folder).filter((name) => name.endsWith(".jsonl")).sort();

test("every machine has vectors", async () => {
    const machines = new Set();
    for (const file of files) {
        for await (const line of linesOf(join(folder, file))) {
            const { machine } = JSON.parse(line);
            if (machine) machines.add(machine);
        }
    }
    assert.deepEqual([...machines].sort(), [
        "BulkPace", "Codec", "DeliveryLink", "DeliveryOutbox", "ExchangeRecord", "IncomingRequests", "IncomingStreams",
        "JoinDeadline", "NegotiationMachine", "OfferPace", "OutgoingRequests", "OutgoingStreams", "RecoveryLadder",
        "RoomMachine", "RoomSessionMachine", "SignalingMachine", "StallMachine", "TopicReceiver", "TopicSender",
    ]);
});

for (const file of files) {
    test(`the machines reproduce ${file}`, async () => {
        const client = await Client.load();
        const reports = await replay(linesOf(join(folder, file)), client, { name: file });
        const differences = [...reports.values()].flatMap((report) => report.differences);
        assert.ok([...reports.values()].some((report) => report.calls > 0), "the file is empty");
        assert.equal(differences.length, 0, differences.map(describe).join("\n"));
    });
}
