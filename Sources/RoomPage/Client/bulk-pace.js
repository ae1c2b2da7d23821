//# allFunctionsCalledOnLoad
// @ts-check
import { minus, plus } from "./time.js";

const minimumLimit = 65_536;
const initialLimit = 262_144;
const maximumLimit = 4_194_304;
/** The reserve, as a time at the present rate: that long a queue may grow. */
const reserve = 0.05;
const maximumReserve = 1_048_576;
const period = 10;
/** Bytes per second from which on chunks are long, and below which they are short again. */
const fast = 20e6;
const slow = 10e6;
const shortFrame = 16_384;
const longFrame = 65_536;

/**
 * How many bytes of bulk to have under way to a participant, and how long a chunk of a stream is.
 *
 * More than the path carries only waits in queues, where it delays everything else on the path. So the limit follows
 * the rate at which bytes are acknowledged and the time that an acknowledgement takes at least, with a reserve. One
 * frame at a time is followed from being handed to the transport until it is acknowledged. The shortest time is
 * measured anew every ten seconds, with few bytes under way for a moment.
 */
export class BulkPace {
    static minimumLimit = minimumLimit;
    static initialLimit = initialLimit;
    static maximumLimit = maximumLimit;
    static shortFrame = shortFrame;
    static longFrame = longFrame;

    frame = shortFrame;
    /** Bytes per second that are acknowledged while the buffer is full. */
    rate = 0;
    #steadyLimit;
    #minimum;
    /**
     * `isCold`: little was under way. `wasFull`: somebody waited for the buffer meanwhile.
     * @type {{ sequence: number, at: number, acknowledgedBytes: number, isCold: boolean, wasFull: boolean } |
     * undefined}
     */
    #probe;
    /**
     * A moment with few bytes under way: frames that were sent before wait in the queue until then.
     * @type {number | undefined}
     */
    #drainEnd;
    /** @type {number | undefined} */
    #nextDrain;
    #acknowledgedBytes = 0;
    /**
     * The shortest acknowledgement time.
     * @type {number | undefined}
     */
    #base;

    /** @param {number} [limit] the first one; later ones are not below it where it is small */
    constructor(limit = initialLimit) {
        this.#steadyLimit = limit;
        this.#minimum = Math.min(limit, minimumLimit);
    }

    /** Bytes that may be under way. */
    get limit() {
        if (this.#drainEnd == undefined) return this.#steadyLimit;
        return Math.max(Math.floor(this.#steadyLimit / 4), this.#minimum);
    }

    /**
     * The transport has taken the frame `sequence`; `buffered`: bytes that are not acknowledged.
     * @param {number} sequence
     * @param {number} buffered
     * @param {number} now
     */
    frameTaken(sequence, buffered, now) {
        this.#probe ??= {
            sequence, at: now, acknowledgedBytes: this.#acknowledgedBytes,
            isCold: buffered <= Math.floor(this.#steadyLimit / 2), wasFull: false,
        };
    }

    /** A chunk was refused because the buffer is full. */
    bufferWasFull() {
        if (this.#probe) this.#probe.wasFull = true;
    }

    /**
     * Frames up to `sequence`, of so many bytes, were acknowledged.
     * @param {number} sequence
     * @param {number} bytes
     * @param {number} now
     */
    acknowledged(sequence, bytes, now) {
        this.#acknowledgedBytes += bytes;
        const probe = this.#probe;
        if (!probe || sequence < probe.sequence) return;
        this.#probe = undefined;
        const elapsed = Math.max(minus(now, probe.at), 0.0001);
        if (this.#drainEnd != undefined) {
            if (probe.at < this.#drainEnd) return;
            this.#base = elapsed;
            this.#drainEnd = undefined;
            this.#nextDrain = plus(now, period);
            return;
        }
        const shortest = Math.min(this.#base ?? elapsed, elapsed);
        this.#base = shortest;
        const sample = (this.#acknowledgedBytes - probe.acknowledgedBytes) / elapsed;
        // What was not sent says nothing about the path.
        if (!(probe.wasFull && !probe.isCold) && sample <= this.rate) return;
        this.rate = sample > this.rate ? sample : this.rate * 0.875 + sample * 0.125;
        if (this.rate > fast) this.frame = longFrame;
        else if (this.rate < slow) this.frame = shortFrame;
        const needed = this.rate * shortest * 1.25 + Math.min(this.rate * reserve, maximumReserve);
        // Not at once: a sample may be off.
        const half = Math.floor(this.#steadyLimit / 2);
        const next = Math.min(Math.max(Math.floor(Math.min(needed, 1e9)), half), this.#steadyLimit * 2);
        this.#steadyLimit = Math.min(Math.max(next, this.#minimum), maximumLimit);
        if (this.#nextDrain == undefined) this.#nextDrain = plus(now, period);
        else if (now >= this.#nextDrain) this.#drainEnd = plus(now, elapsed);
    }

    /** The path, or the whole connection, is another one. */
    connectionEnded() {
        this.#probe = this.#drainEnd = this.#nextDrain = this.#base = undefined;
        this.rate = 0;
        this.frame = shortFrame;
    }
}
