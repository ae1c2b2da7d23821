//# allFunctionsCalledOnLoad
/** Seconds after which a call that has not returned is aborted. */
const patience = 30;

/** Calls of a provider of the application, one at a time. */
export class ProviderCalls {
    /** @type {AbortController | undefined} */
    #controller;
    #name;
    #schedule;

    /**
     * @param {string} name
     * @param {import("./pair-types.js").Schedule} schedule
     */
    constructor(name, schedule) {
        this.#name = name;
        this.#schedule = schedule;
    }

    /**
     * Calls the provider; exactly one of the two functions is called afterwards, unless another call is made meanwhile.
     * @template Result
     * @param {(signal: AbortSignal) => Result | Promise<Result>} call
     * @param {(result: Result) => void} succeeded
     * @param {(description: string) => void} failed
     */
    async ask(call, succeeded, failed) {
        this.giveUp();
        const controller = this.#controller = new AbortController();
        /** @type {Promise<never>} */
        const timeout = new Promise((_, reject) => {
            const cancel = this.#schedule(patience, () => reject(`the ${this.#name} took over ${patience} s`));
            controller.signal.addEventListener("abort", cancel);
        });
        const isCurrent = () => this.#controller == controller;
        try {
            const result = await Promise.race([(async () => call(controller.signal))(), timeout]);
            if (isCurrent()) succeeded(result);
        } catch (error) {
            if (isCurrent()) failed(typeof error == "string" ? error : `the ${this.#name} failed: ${error}`);
        }
        if (isCurrent()) this.giveUp();
    }

    /** Aborts the call that is under way, and reports nothing of it. */
    giveUp() {
        const controller = this.#controller;
        this.#controller = undefined;
        controller?.abort();
    }
}
