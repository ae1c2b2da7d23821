// A browser in virtual time for whole rooms: its clock, its WebSockets, and its HTTP.
import { FakePeerConnection } from "./fake-peer-connection.mjs";
import { SeededGenerator } from "./pair-support.mjs";
import { VirtualTime } from "./virtual-time.mjs";

/** The answer of a server to a first `hello`, as the machines see it. */
export const joined = (changes = {}) => ({
    version: 1, participant: "p1", session: "s1", epoch: 1, isHost: true, hostTerm: 1, isResumed: false, received: 0,
    sent: undefined, sessionToken: "t1", roster: [], attributes: { version: 0, values: {} },
    iceServers: { servers: [] }, pingInterval: 5, pingDeadline: 5, grace: 60, ...changes,
});

/** The same as it stands on the wire. */
export const joinedOnWire = (changes = {}) => ({
    type: "joined", version: 1, participant: "p1", session: "s1", epoch: 1, host: true, hostTerm: 1, resumed: false,
    sessionToken: "t1", roster: [], iceServers: { servers: [] }, pingInterval: 5, pingDeadline: 5, grace: 60,
    ...changes,
});

export const other = (id, changes = {}) => ({
    id, session: `s-${id}`, epoch: 1, name: id, isHost: false, metadata: {}, capabilities: [], ...changes,
});

export const otherOnWire = (id, changes = {}) => {
    const { isHost, ...participant } = other(id);
    return { ...participant, host: isHost, ...changes };
};

class FakeWebSocket {
    readyState = 0;
    bufferedAmount = 0;
    sent = [];

    constructor(url, browser) {
        this.url = url;
        this.browser = browser;
        browser.sockets.push(this);
    }

    send(text) {
        this.sent.push(JSON.parse(text));
    }

    close(code) {
        this.readyState = 3;
        this.closedWith = code ?? "none";
    }

    // What a test does

    open() {
        this.readyState = 1;
        this.onopen?.({});
    }

    receive(message) {
        this.onmessage?.({ data: typeof message === "string" ? message : JSON.stringify(message) });
    }

    end(code = 1006, reason = "") {
        this.readyState = 3;
        this.onclose?.({ code, reason, wasClean: code !== 1006 });
    }

    types() {
        return this.sent.map(({ type }) => type);
    }
}

/** An environment of rooms whose time, sockets and answers are moved by a test. */
export class FakeBrowser {
    time = new VirtualTime();
    sockets = [];
    connections = [];
    /** Requests over HTTP that were not answered yet. */
    requests = [];
    window = new EventTarget();
    document = Object.assign(new EventTarget(), { visibilityState: "visible" });
    /** Seconds that the clock on the wall is ahead of the other one. */
    slept = 0;

    get environment() {
        const browser = this;
        return {
            now: () => this.time.now,
            random: new SeededGenerator(1),
            location: { origin: "http://rooms.example" },
            setTimeout: (callback, milliseconds) => this.time.schedule(milliseconds / 1000, callback),
            clearTimeout: (cancel) => cancel?.(),
            WebSocket: class extends FakeWebSocket {
                constructor(url) {
                    super(url, browser);
                }
            },
            fetch: (url, options) => new Promise((resolve, reject) => {
                this.requests.push({ url, options, answer: (status = 200, headers = {}) => resolve(
                    { status, headers: { get: (name) => headers[name] ?? null } }), fail: reject });
                options.signal.addEventListener("abort", () => reject(new Error("aborted")));
            }),
            createConnection: (configuration) => {
                this.connections.push(new FakePeerConnection(configuration));
                return this.connections.at(-1);
            },
            pageEvents: {
                window: this.window, document: this.document,
                now: () => this.time.now * 1000, dateNow: () => (this.time.now + this.slept) * 1000,
                setInterval: (callback, milliseconds) => {
                    const timer = { cancel: () => {} };
                    const tick = () => {
                        timer.cancel = this.time.schedule(milliseconds / 1000, tick);
                        callback();
                    };
                    timer.cancel = this.time.schedule(milliseconds / 1000, tick);
                    return timer;
                },
                clearInterval: (timer) => timer.cancel(),
            },
        };
    }

    get socket() {
        return this.sockets.at(-1);
    }

    settle() {
        return this.time.settle();
    }

    run(seconds) {
        return this.time.run(this.time.now + seconds);
    }
}
