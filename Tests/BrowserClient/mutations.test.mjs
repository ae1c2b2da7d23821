// The vectors notice when a machine breaks a rule: each mutation changes one, in a copy of the client, and the replay
// of the vectors must differ.

import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { Client, clientFolder, linesOf, replay } from "./replay.mjs";

const folder = fileURLToPath(new URL("vectors/", import.meta.url));

/** @type {[file: string, from: string, to: string][]} */
const mutations = [
    // Signaling
    ["admitted-connection.js", "streams.unacknowledged >= this", "streams.unacknowledged > this"],
    ["backoff.js", "seconds *= factor", "seconds += factor"],
    ["liveness.js", "clamp(interval, 0.1, 300)", "clamp(interval, 0.1, 3)"],
    ["refusals.js", "!error.isFatal && !isGreeting", "!error.isFatal"],
    ["signaling-recovery.js", "this.#attempts += 1", "this.#attempts += 2"],
    ["signaling-streams.js", "sequence > this.received + 1", "sequence > this.received + 2"],
    // The session and its room
    ["room-roster.js", "participant.epoch > former.epoch", "participant.epoch >= former.epoch"],
    ["room-roster.js", "this.#endedSessions.includes(session)", "false"],
    ["ice-server-selection.js", "+port > 65535", "+port > 6553500"],
    ["join-deadline.js", 'type == "connecting" && ', ""],
    // Peers
    ["negotiation-machine.js", "offer.negotiation > state.round.negotiation", "true"],
    ["recovery-steps.js", "attempts.attempt > 0 ||", "attempts.attempt > 1 ||"],
    ["recovery-ladder.js", "if (isPathLost && steps.isUp)", "if (isPathLost)"],
    ["recovery-record.js", 'outcome !== "recovered" || !this.#expectsData', "true"],
    ["rebuild-pace.js", ">= budgets.connect) this.count = 0", ">= budgets.connect) this.count = 1"],
    ["stall-machine.js", "minus(now, reported.at) < this.#reminder", "false"],
    ["offer-pace.js", "before.negotiation < offer.negotiation", "true"],
    ["peers-machine.js", "!known.has(participant) || this.missing.has(participant)", "!known.has(participant)"],
    ["peers-machine.js", "connecting >= this.#configuration.maximumConnecting", "connecting >= 0"],
    ["peer-machine.js", '{ type: "cancelTimer", value: "recovery" }, ', ""],
    ["peer-machine.js", "connection === undefined || !this.isConnected", "connection === undefined"],
    // Delivery
    ["delivery-machine.js", "frame.next - 1 > this.received", "false"],
    ["delivery-channels.js", "slot.isOpen && !slot.isBlocked", "slot.isOpen"],
    ["send-buffer.js", 'isCounted && kind != "part"', "isCounted"],
    // Topics, requests and streams
    ["receive-window.js", "Math.floor(this.size / 2)", "0"],
    ["incoming-streams.js", "id <= this.newestID", "id < this.newestID"],
    ["outgoing-streams.js", "consumed > stream.window.sent", "false"],
    ["request-machine.js", 'state == "sending" || state == "sent" ?', 'state == "sent" ?'],
    ["request-machine.js", "this.#bodyBytes > 0 && ", ""],
    ["request-machine.js", "id < first && ", ""],
    ["receive-window.js", "this.consumed = this.received;\n", ""],
    ["exchange-record.js", "if (this.#hasRequests)", "if (true)"],
    ["topic-windows.js", "recent && hasSameBytes(recent.bytes, bytes)", "recent"],
    // Codecs
    ["delivery-protocol.js", "offset + 16 != bytes.length", "offset + 16 > bytes.length"],
    ["exchange-message.js", "consumed <= limit", "true"],
    ["exchange-message.js", "hasBody || reader.offset == bytes.length", "true"],
    ["protocol-codec.js", "wait: waitsForRoom || undefined", "wait: waitsForRoom"],
    ["signaling-attempts.js", "minus(this.now, this.state.startedAt) > 0.5", "true"],
    ["signaling-credential.js", "plus(now, this.#margin) >= this.#expiresAt", "now >= this.#expiresAt"],
    ["delivery-outbox.js", "count > this.#limits.message", "false"],
    ["bulk-pace.js", "&& sample <= this.rate", "&& sample < 0"],
    ["delivery-link.js", 'code == "messageTooLarge" && ', ""],
    ["restart-attempts.js", "restartBackoff * this.attempt", "restartBackoff"],
    ["recovery-policy.js", 'case "held": return restart(cause)', 'case "held": return nothing'],
    ["numbered-stream.js", "this.#isAcknowledgementScheduled = true", "this.#isAcknowledgementScheduled = false"],
    ["numbered-stream.js", "return (this.#released = this.machine.acknowledged)", "return this.machine.acknowledged"],
];

/** Replays all vectors until one differs. */
async function differs(client) {
    for (const file of readdirSync(folder).filter((name) => name.endsWith(".jsonl"))) {
        const reports = await replay(linesOf(join(folder, file)), client, { name: file, stopsAtFirst: true });
        if ([...reports.values()].some((report) => report.differences.length > 0)) return true;
    }
    return false;
}

for (const [file, from, to] of mutations) {
    test(`the vectors notice in ${file}: ${from} → ${to || "nothing"}`, async () => {
        const copy = mkdtempSync(join(tmpdir(), "mutation-"));
        try {
            cpSync(clientFolder, copy, { recursive: true });
            writeFileSync(join(copy, "package.json"), '{ "type": "module" }');
            const path = join(copy, file);
            const text = readFileSync(path, "utf8");
            assert.equal(text.split(from).length, 2, `the rule is not there, or not once: ${from}`);
            writeFileSync(path, text.replace(from, () => to));
            const client = await Client.load(copy);
            assert.ok(await differs(client), "no vector notices");
        } finally {
            rmSync(copy, { recursive: true });
        }
    });
}
