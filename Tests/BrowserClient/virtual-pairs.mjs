// Two pairs over a connection in virtual time: latency, a rate, losses by seed.

import { DeliveryMemory } from "../../Sources/RoomPage/Client/delivery-memory.js";
import { waterMarks } from "../../Sources/RoomPage/Client/delivery-channel.js";
import { Pair as ClientPair } from "../../Sources/RoomPage/Client/pair.js";
import { PairExchange } from "../../Sources/RoomPage/Client/pair-exchange.js";
import { PairStreams } from "../../Sources/RoomPage/Client/pair-streams.js";
import { openStream } from "../../Sources/RoomPage/Client/room-streams.js";

/** A generator of numbers by seed (mulberry32). */
export class Random {
    constructor(seed) {
        this.state = seed >>> 0;
    }
    /** Returns a number from 0 to 1. */
    next() {
        this.state = (this.state + 0x6d2b79f5) >>> 0;
        let value = this.state;
        value = Math.imul(value ^ (value >>> 15), value | 1);
        value ^= value + Math.imul(value ^ (value >>> 7), value | 61);
        return ((value ^ (value >>> 14)) >>> 0) / 4294967296;
    }
    /** Returns a whole number below `limit`. */
    below(limit) {
        return Math.floor(this.next() * limit);
    }
    chance(probability) {
        return this.next() < probability;
    }
    bytes(count) {
        return Uint8Array.from({ length: count }, () => this.below(256));
    }
}

/** Returns how many schedules a test tries: more or fewer than `count` by the environment variable `SCHEDULES`. */
export const schedules = (count) => Math.ceil(count * Number(process.env.SCHEDULES ?? 1));

/** The clock and the timers. */
export class VirtualTime {
    time = 0;
    #heap = [];
    #count = 0;

    now = () => this.time;

    schedule = (after, callback) => this.scheduleAt(this.time + after, callback);

    scheduleAt(at, callback) {
        const event = { at, order: this.#count++, callback };
        this.#push(event);
        return () => (event.callback = undefined);
    }

    get pending() {
        return this.#heap.filter((event) => event.callback).length;
    }

    /** Lets everything happen until a time, or until nothing is left to happen. */
    async run(until = Infinity) {
        await settled();
        while (this.#heap.length > 0 && this.#heap[0].at <= until) {
            const event = this.#pop();
            if (!event.callback) continue;
            this.time = Math.max(this.time, event.at);
            event.callback();
            await settled();
        }
        if (until < Infinity) this.time = Math.max(this.time, until);
    }

    /** The same without the promises: for what only handlers and timers do. */
    runNow(until = Infinity) {
        while (this.#heap.length > 0 && this.#heap[0].at <= until) {
            const event = this.#pop();
            this.time = Math.max(this.time, event.at);
            event.callback?.();
        }
        if (until < Infinity) this.time = Math.max(this.time, until);
    }

    #push(event) {
        const heap = this.#heap;
        let index = heap.push(event) - 1;
        while (index > 0) {
            const parent = (index - 1) >> 1;
            if (!isBefore(heap[index], heap[parent])) break;
            [heap[index], heap[parent]] = [heap[parent], heap[index]];
            index = parent;
        }
    }

    #pop() {
        const heap = this.#heap;
        const top = heap[0];
        const last = heap.pop();
        if (heap.length == 0) return top;
        heap[0] = last;
        for (let index = 0; ;) {
            let least = index;
            for (const child of [2 * index + 1, 2 * index + 2]) {
                if (child < heap.length && isBefore(heap[child], heap[least])) least = child;
            }
            if (least == index) return top;
            [heap[index], heap[least]] = [heap[least], heap[index]];
            index = least;
        }
    }
}

const isBefore = (left, right) => left.at < right.at || (left.at == right.at && left.order < right.order);

/** Returns when every promise that can go on has gone on. */
export const settled = () => new Promise(setImmediate);

/** One side of a connection: the `link` of its pair. */
class End {
    channels = new Map();
    isBusy = false;
    lastOrder = -1;
    constructor(connection, pair, index) {
        this.connection = connection;
        this.pair = pair;
        this.index = index;
    }
    get other() {
        return this.connection.ends[1 - this.index];
    }
    openChannel(parameters) {
        const { time, latency } = this.connection;
        const key = { isOpen: false, early: [] };
        time.schedule(latency(), () => this.#opened(parameters, key, this.other));
    }
    #opened(parameters, key, other) {
        if (this.connection.isLost) return;
        this.#add(parameters, key);
        this.pair.channelOpened(parameters.label, parameters);
        this.connection.time.schedule(this.connection.latency(), () => {
            if (this.connection.isLost) return;
            other.#add(parameters, key);
            other.pair.channelOpened(parameters.label, parameters);
            key.isOpen = true;
            for (const deliver of key.early.splice(0)) deliver();
        });
    }
    #add(parameters, key) {
        this.channels.set(parameters.label, {
            key, parameters, order: this.channels.size, queue: [], buffered: 0, arrivalAt: 0, isNew: true,
        });
    }
    closeChannel(label) {
        const channel = this.channels.get(label);
        if (!channel) return;
        for (const end of this.connection.ends) {
            if (end.channels.get(label)?.key != channel.key) continue;
            this.connection.time.schedule(this.connection.latency(), () => {
                if (this.connection.isLost || end.channels.get(label)?.key != channel.key) return;
                end.channels.delete(label);
                end.pair.channelClosed(label);
            });
        }
    }
    maximumMessageSize() {
        return this.connection.options.maximumMessageSize;
    }
    bufferedAmount(label) {
        return this.channels.get(label)?.buffered ?? 0;
    }
    send(label, data) {
        const channel = this.channels.get(label);
        const { connection } = this;
        const { time, options, random } = connection;
        if (!channel || connection.isLost) return "closed";
        if (data.length > options.maximumMessageSize) return "messageTooLarge";
        // There is room for the first message of a channel.
        if (!channel.isNew && options.blocking && random.chance(options.blocking)) {
            time.schedule(connection.latency(), () => {
                if (!connection.isLost && this.channels.get(label) == channel) this.pair.writable(label);
            });
            return "wouldBlock";
        }
        channel.isNew = false;
        channel.buffered += data.length;
        connection.mostBuffered[label] = Math.max(connection.mostBuffered[label] ?? 0, channel.buffered);
        // A transport copies what it takes.
        channel.queue.push(typeof data == "string" ? data : data.slice().buffer);
        this.#transmit();
        return undefined;
    }
    /** Sends one message after the other, of one channel after the other: they share the path. */
    #transmit() {
        const { time, options, random } = this.connection;
        if (this.isBusy) return;
        const waiting = [...this.channels.values()].filter((channel) => channel.queue.length > 0);
        if (waiting.length == 0) return;
        const channel = waiting.find((channel) => channel.order > this.lastOrder) ?? waiting[0];
        this.lastOrder = channel.order;
        this.isBusy = true;
        const data = channel.queue.shift();
        const length = data.length ?? data.byteLength;
        time.schedule(length / options.rate, () => {
            if (this.connection.isLost) return;
            this.isBusy = false;
            this.connection.bytes += length;
            const { isOrdered, reliability, label } = channel.parameters;
            if (reliability.type == "reliable" || !random.chance(options.loss)) this.#deliver(channel, data, isOrdered);
            const { low } = waterMarks(label);
            const wasHigh = channel.buffered > low;
            channel.buffered -= length;
            this.#transmit();
            if (wasHigh && channel.buffered <= low && this.channels.get(label) == channel) {
                this.pair.writable(label);
            }
        });
    }
    #deliver(channel, data, isOrdered) {
        const { connection, other } = this;
        let at = connection.time.time + connection.latency();
        if (isOrdered) at = channel.arrivalAt = Math.max(at, channel.arrivalAt);
        const { label } = channel.parameters;
        const deliver = () => {
            if (connection.isLost) return;
            // It may not be open there yet, or not any more.
            if (!channel.key.isOpen) channel.key.early.push(deliver);
            else if (other.channels.get(label)?.key == channel.key) other.pair.received(label, data);
        };
        connection.time.scheduleAt(at, deliver);
    }
}

/** One peer connection between two pairs. */
export class Connection {
    isLost = false;
    bytes = 0;
    /** By label. */
    mostBuffered = {};
    constructor(time, random, pairs, options = {}) {
        this.time = time;
        this.random = random;
        this.options = {
            delay: 0.01, jitter: 0.01, rate: 1e7, loss: 0.3, blocking: 0, maximumMessageSize: 262_144, ...options,
        };
        this.ends = pairs.map((pair, index) => new End(this, pair, index));
    }
    latency = () => this.options.delay + this.random.next() * this.options.jitter;

    attach() {
        this.ends.forEach((end, index) => {
            end.pair.link.end = end;
            end.pair.attached(index == 0);
        });
    }
    /** Both sides notice it, one after the other. */
    lose() {
        this.isLost = true;
        const order = this.random.chance(0.5) ? [0, 1] : [1, 0];
        for (const end of order.map((index) => this.ends[index])) if (end.pair.link.end == end) end.pair.detached();
    }
}

/** The link of a pair, over all its connections. */
class SwitchedLink {
    end = undefined;
    send(label, data) {
        return this.end.send(label, data);
    }
    bufferedAmount(label) {
        return this.end.bufferedAmount(label);
    }
    maximumMessageSize() {
        return this.end.maximumMessageSize();
    }
    openChannel(parameters) {
        this.end.openChannel(parameters);
    }
    closeChannel(label) {
        this.end.closeChannel(label);
    }
}

/** A pair with everything that goes on in it at hand. */
export class Pair extends ClientPair {
    constructor(options) { super({ extras: { PairExchange, PairStreams }, ...options }); }
    publish(publication, options) { return this.exchange.topics.publish(publication, options); }
    request(method, body, options) { return this.exchange.requests.request(method, body, options); }
    openStream(name, options) { return openStream([this], name, options); }
}

export const capabilities = {
    plain: [], delivery: ["delivery.v1"], exchange: ["delivery.v1", "exchange.v1"],
};

/** Two participants and what connects them. */
export class World {
    time = new VirtualTime();
    memories = [new DeliveryMemory(), new DeliveryMemory()];
    pairs = [];
    made = 0;
    connection = undefined;
    broken = [];

    /** `timerDelay`: how much too late the timers of the second side are, as those of a page in the background. */
    constructor({
        seed = 1, level = "exchange", configuration = {}, handlers = [{}, {}], connection = {}, timerDelay = 0,
    } = {}) {
        this.timerDelays = [0, timerDelay];
        this.random = new Random(seed);
        this.level = level;
        this.configuration = { sendLimit: 1 << 20, maximumMessageSize: 1 << 18, ...configuration };
        this.handlers = handlers;
        this.connectionOptions = connection;
        this.make(0);
        this.make(1);
    }

    /** Makes the pair of one side, with the memory of the one before. */
    make(index, { ownSession = `s${index}`, peerSession = `s${1 - index}` } = {}) {
        const link = new SwitchedLink();
        const pair = new Pair({
            ownSession, peerSession, participant: `p${1 - index}`, capabilities: capabilities[this.level],
            configuration: this.configuration, streams: this.memories[index].take(ownSession, peerSession),
            requestBase: this.made++ * 2 ** 32, now: this.time.now, link,
            schedule: (after, callback) => this.time.schedule(after + this.timerDelays[index], callback),
            handlers: {
                message: () => {}, ...this.handlers[index],
                broken: (reason) => this.broken.push(reason),
            },
        });
        pair.link = link;
        this.pairs[index] = pair;
        return pair;
    }

    /** One side gives up the other, which does not notice, and meets it again in the same sessions. */
    giveUp(index) {
        const pair = this.pairs[index];
        this.connection.lose();
        pair.ended();
        this.memories[index].store(pair.streams);
        return this.make(index);
    }

    connect(options = {}) {
        this.connection = new Connection(
            this.time, this.random, this.pairs, { ...this.connectionOptions, ...options });
        this.connection.attach();
        return this.connection;
    }

    /** The connection ends, and another one takes its place. */
    reconnect(options) {
        this.connection?.lose();
        return this.connect(options);
    }
}
