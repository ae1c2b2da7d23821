//# allFunctionsCalledOnLoad
// @ts-check
import { minus } from "./time.js";

/** How long to wait until a channel that the other side has closed is opened again. */
export class ReopeningBackoff {
    #count = 0;
    /** @type {number | undefined} */
    #lastAt;

    /**
     * The channel was closed at `now`.
     * @param {number} now
     */
    delay(now) {
        // A channel that was open for so long begins anew.
        if (this.#lastAt != undefined && minus(now, this.#lastAt) > 60) this.#count = 0;
        this.#lastAt = now;
        const count = this.#count++;
        return count == 0 ? 0 : Math.min(2 ** Math.min(count - 1, 8), 30);
    }
}
