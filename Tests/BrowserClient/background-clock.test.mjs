import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { BackgroundClock } from "../../Sources/RoomPage/Client/background-clock.js";

/** A clock over a page's timers, which a test lets pass, and a worker that a test lets answer. */
function made(context, { fails = false } = {}) {
    mock.timers.enable(["setTimeout"]);
    context.after(() => mock.timers.reset());
    const page = { isHidden: true, made: 0, ended: 0, asked: [], cancelled: [], worker: undefined, called: [] };
    const clock = new BackgroundClock(() => page.isHidden, () => {
        page.made += 1;
        if (fails) throw new Error("another origin");
        page.worker = {
            postMessage: (message) => page[message.after === undefined ? "cancelled" : "asked"].push(message),
            terminate: () => { page.ended += 1; },
        };
        return page.worker;
    });
    const set = (name, after) => clock.setTimeout(() => page.called.push(name), after);
    return { page, clock, set };
}

test("in the background the worker's time counts, and each timer fires once", (context) => {
    const { page, clock, set } = made(context);
    set("a", 300);
    const cancelled = set("b", 300);
    assert.deepEqual(page.asked.map(({ after }) => after), [300, 300]);
    clock.clearTimeout(cancelled);
    assert.deepEqual(page.cancelled, [{ id: cancelled.id }]);
    for (const { id } of page.asked) page.worker.onmessage({ data: id });
    assert.deepEqual(page.called, ["a"]);
    mock.timers.tick(1000);
    assert.deepEqual(page.called, ["a"]);
    assert.equal(page.made, 1);
});

test("in front, and for long delays, the page's own timers do", (context) => {
    const { page, set } = made(context);
    set("long", 10_000);
    page.isHidden = false;
    set("in front", 300);
    assert.equal(page.made, 0);
    mock.timers.tick(300);
    assert.deepEqual(page.called, ["in front"]);
});

test("without a worker, timers are those of the page", (context) => {
    for (const fails of [true, false]) {
        const { page, set } = made(context, { fails });
        set("a", 300);
        page.worker?.onerror({});
        set("b", 300);
        assert.equal(page.made, 1);
        assert.ok(page.asked.length <= 1);
        mock.timers.tick(300);
        assert.deepEqual(page.called, ["a", "b"]);
        mock.timers.reset();
    }
});

test("a worker that has nothing to do any more is ended, and made again when there is something", (context) => {
    const { page, clock, set } = made(context);
    clock.clearTimeout(set("a", 300));
    mock.timers.tick(29_999);
    const last = set("b", 300);
    page.worker.onmessage({ data: last.id });
    mock.timers.tick(29_999);
    assert.equal(page.ended, 0);
    mock.timers.tick(1);
    assert.equal(page.ended, 1);
    set("c", 300);
    assert.equal(page.made, 2);
    page.worker.onmessage({ data: page.asked.at(-1).id });
    assert.deepEqual(page.called, ["b", "c"]);
});
