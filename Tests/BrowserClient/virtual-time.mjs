/** Virtual time: callbacks run in the order of their times, and promises are resolved between them. */
export class VirtualTime {
    now = 0;
    #timers = [];
    #count = 0;

    schedule = (after, callback) => {
        const timer = { at: Math.round((this.now + after) * 1e9) / 1e9, order: this.#count++, callback };
        this.#timers.push(timer);
        return () => {
            this.#timers = this.#timers.filter((other) => other !== timer);
        };
    };

    /** Lets promises resolve. */
    async settle() {
        for (let turn = 0; turn < 40; turn++) await Promise.resolve();
    }

    async run(seconds) {
        await this.settle();
        for (;;) {
            const next = this.#timers.sort((x, y) => x.at - y.at || x.order - y.order)[0];
            if (!next || next.at > seconds) break;
            this.#timers.shift();
            this.now = Math.max(this.now, next.at);
            next.callback();
            await this.settle();
        }
        this.now = Math.max(this.now, seconds);
    }

    /** The clock moves, and no timer fires meanwhile: the page is suspended. */
    suspend(seconds) {
        this.now = seconds;
    }
}
