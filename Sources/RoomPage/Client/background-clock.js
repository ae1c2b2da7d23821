//# allFunctionsCalledOnLoad
/**
 * The timers of a page that may be in the background. There browsers let a page's own timers run up to a second late,
 * of which a recovery has several, one after the other. Those of a worker are not late. Where there can be no worker,
 * as for a module from another origin, the page's own timers do.
 *
 * @typedef {{ timer: any, id: number }} Timer
 * @typedef {{ postMessage(message: any): void, terminate(): void, onmessage: any, onerror: any }} Clock
 */

/** Longer delays, in milliseconds, are those of the page: a second does not matter to them. */
const longest = 10_000;
/** A worker that has had nothing to do for so many milliseconds is ended. */
const idleTime = 30_000;

export class BackgroundClock {
    /** @type {Map<number, () => void>} */
    #callbacks = new Map();
    #lastID = 0;
    #isHidden;
    #makeClock;
    /** @type {Clock | undefined} */
    #clock;
    /** @type {any} Ends the worker. */
    #idleTimer;
    #hasFailed = false;

    /**
     * @param {() => boolean} isHidden Whether the page is in the background.
     * @param {() => Clock} makeClock Makes the worker, or throws.
     */
    constructor(isHidden, makeClock) {
        this.#isHidden = isHidden;
        this.#makeClock = makeClock;
    }

    /**
     * Calls back after so many milliseconds.
     * @param {() => void} callback
     * @param {number} after
     * @returns {Timer}
     */
    setTimeout(callback, after) {
        const id = (this.#lastID += 1);
        const run = () => {
            this.clearTimeout(timer);
            callback();
        };
        const timer = { timer: setTimeout(run, after), id };
        if (after < longest && this.#isHidden()) {
            const clock = this.#workingClock;
            if (clock) this.#callbacks.set(id, run);
            clock?.postMessage({ id, after });
            clearTimeout(this.#idleTimer);
        }
        return timer;
    }

    /** @param {Timer | undefined} timer */
    clearTimeout(timer) {
        if (!timer) return;
        clearTimeout(timer.timer);
        if (this.#take(timer.id)) this.#clock?.postMessage({ id: timer.id });
    }

    /**
     * Removes a timer from those that the worker has, and returns its callback.
     * @param {number} id
     */
    #take(id) {
        const callback = this.#callbacks.get(id);
        this.#callbacks.delete(id);
        if (callback && this.#callbacks.size == 0) {
            clearTimeout(this.#idleTimer);
            this.#idleTimer = setTimeout(() => this.#endClock(), idleTime);
        }
        return callback;
    }

    #endClock() {
        this.#clock?.terminate();
        this.#clock = undefined;
    }

    get #workingClock() {
        if (this.#clock || this.#hasFailed) return this.#clock;
        const fail = () => {
            this.#hasFailed = true;
            this.#endClock();
        };
        try {
            this.#clock = this.#makeClock();
            this.#clock.onmessage = (/** @type {{ data: number }} */ { data }) => this.#take(data)?.();
            // Its file cannot be had.
            this.#clock.onerror = fail;
        } catch {
            fail();
        }
        return this.#clock;
    }
}
