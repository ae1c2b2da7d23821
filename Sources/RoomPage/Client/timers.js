//# allFunctionsCalledOnLoad
// @ts-check

/** The timers of a shell, each known by a plain value. */
export class Timers {
    #schedule;
    /** @type {Map<string, () => void>} Cancels each. */
    #running = new Map();

    /** @param {import("./pair-types.js").Schedule} schedule */
    constructor(schedule) { this.#schedule = schedule; }

    /**
     * Sets a timer, or moves it.
     * @template Timer
     * @param {Timer} timer @param {number} after @param {(timer: Timer) => void} callback
     */
    set(timer, after, callback) {
        this.cancel(timer);
        this.#running.set(JSON.stringify(timer), this.#schedule(after, () => {
            this.#running.delete(JSON.stringify(timer));
            callback(timer);
        }));
    }

    /** @param {unknown} timer */
    cancel(timer) {
        this.#running.get(JSON.stringify(timer))?.();
        this.#running.delete(JSON.stringify(timer));
    }

    cancelAll() {
        for (const cancel of this.#running.values()) cancel();
        this.#running.clear();
    }
}
