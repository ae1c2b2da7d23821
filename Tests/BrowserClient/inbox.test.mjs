import assert from "node:assert/strict";
import { test } from "node:test";
import { Inbox } from "../../Sources/RoomPage/Client/inbox.js";
import { Mailbox } from "../../Sources/RoomPage/Client/waiting.js";

const message = (text) => ({ from: "p", channel: "reliable", isText: true, text, payload: new Uint8Array(100) });
const end = { done: true, value: undefined };

test("a consumer that stops while it waits ends at once, and leaves what comes to the next one", async () => {
    for (const name of ["messages", "batches"]) {
        const inbox = new Inbox(1000, () => {});
        const first = inbox[name]();
        const waiting = first.next();
        assert.deepEqual(await first.return(), end);
        assert.deepEqual(await waiting, end);
        assert.deepEqual(await first.next(), end);
        inbox.append(message("a"));
        const { value } = await inbox[name]().next();
        assert.equal([value].flat()[0].text, "a");
    }
    const mailbox = new Mailbox();
    const first = mailbox.sequence();
    const waiting = first.next();
    await first.return();
    assert.deepEqual(await waiting, end);
    mailbox.push(1);
    assert.deepEqual(await mailbox.sequence().next(), { done: false, value: 1 });
});

test("consumers that wait get their values in order, and the end after the last one", async () => {
    const inbox = new Inbox(1000, () => {});
    const messages = inbox.messages();
    const waiting = [messages.next(), messages.next(), messages.next()];
    inbox.append(message("a"));
    inbox.append(message("b"));
    inbox.finish();
    const results = await Promise.all(waiting);
    assert.deepEqual(results.map(({ done, value }) => done || value.text), ["a", "b", true]);
});

test("a full inbox says so, and when it has room again", async () => {
    let drained = 0;
    const inbox = new Inbox(300, () => { drained += 1; });
    assert.equal(inbox.append(message("a")), true);
    assert.equal(inbox.append(message("b")), false);
    const messages = inbox.messages();
    assert.equal((await messages.next()).value.text, "a");
    assert.equal(drained, 1);
    inbox.append(message("c"));
    assert.equal(inbox.isFull, true);
    assert.deepEqual((await inbox.batches().next()).value.map(({ text }) => text), ["b", "c"]);
    assert.equal(drained, 2);
});
