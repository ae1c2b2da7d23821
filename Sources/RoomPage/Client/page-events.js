//# allFunctionsCalledOnLoad
/**
 * What the browser says about the page and its network, as facts for the room's machine.
 *
 * None of it is trusted: `online` and `visible` only mean that it is time to look. Sleep has no event. It shows as a
 * difference between the clock that stops with the machine and the one that does not, or as a timer that is far too
 * late.
 *
 * @typedef {object} PageHandlers
 * @property {() => void} networkChanged The network may have changed, or the page has not run for a while.
 * @property {(sleep: number) => void} woke The machine has slept for so many seconds, while `performance.now()` stood.
 * @property {() => void} unloaded The page ends, and does not come back.
 *
 * @typedef {{
 *     window?: EventTarget, document?: EventTarget & { visibilityState: string }, connection?: EventTarget,
 *     dateNow(): number, now(): number, setInterval(callback: () => void, milliseconds: number): any,
 *     clearInterval(timer: any): void,
 * }} PageEnvironment `dateNow` and `now`: milliseconds of the clock on the wall, and of `performance.now()`.
 */

/** Seconds between two looks at the clocks; how late a look says that the page did not run; the least sleep. */
const interval = 1, lateness = 5, leastSleep = 2;

/** @returns {PageEnvironment} */
const browser = () => ({
    window: globalThis.window, document: globalThis.document,
    connection: /** @type {any} */ (globalThis.navigator)?.connection, dateNow: () => Date.now(),
    now: () => performance.now(), setInterval: (callback, milliseconds) => setInterval(callback, milliseconds),
    clearInterval: (timer) => clearInterval(timer),
});

/** Listens to the page's events until `stop()`. */
export class PageEvents {
    #handlers;
    #environment;
    /** @type {(() => void)[]} */
    #removals = [];
    #lastDate;
    #lastNow;

    /**
     * @param {PageHandlers} handlers
     * @param {PageEnvironment} environment
     */
    constructor(handlers, environment = browser()) {
        this.#handlers = handlers;
        this.#environment = environment;
        const { window, document, connection, dateNow, now } = environment;
        this.#lastDate = dateNow();
        this.#lastNow = now();
        const changed = () => { if (!this.#look()) handlers.networkChanged(); };
        for (const type of ["online", "offline"]) this.#listen(window, type, changed);
        this.#listen(connection, "change", changed);
        this.#listen(document, "visibilitychange", () => { if (document?.visibilityState == "visible") changed(); });
        this.#listen(document, "resume", changed);
        this.#listen(window, "pageshow", (event) => { if (event.persisted) changed(); });
        // A page that may come back (`persisted`) keeps its session.
        this.#listen(window, "pagehide", (event) => { if (!event.persisted) handlers.unloaded(); });
        const timer = environment.setInterval(() => this.#look(), interval * 1000);
        this.#removals.push(() => environment.clearInterval(timer));
    }

    stop() { for (const remove of this.#removals.splice(0)) remove(); }

    /**
     * @param {EventTarget | undefined} target
     * @param {string} type
     * @param {(event: any) => void} listener
     */
    #listen(target, type, listener) {
        target?.addEventListener?.(type, listener);
        this.#removals.push(() => target?.removeEventListener?.(type, listener));
    }

    /** Compares the clocks with those of the last look. Returns whether something was reported. */
    #look() {
        const { dateNow, now } = this.#environment;
        const passed = (now() - this.#lastNow) / 1000;
        const sleep = (dateNow() - this.#lastDate) / 1000 - passed;
        this.#lastNow = now();
        this.#lastDate = dateNow();
        if (sleep >= leastSleep) {
            this.#handlers.woke(sleep);
        } else if (passed > interval + lateness) {
            this.#handlers.networkChanged();
        } else {
            return false;
        }
        return true;
    }
}
