//# allFunctionsCalledOnLoad
/**
 * The steps that a machine has decided on and not taken yet.
 *
 * A step that leads to others does not take them: it adds them. The outermost call takes one step after the other
 * until none is left, those that a step has added before those that waited already.
 * @template Step
 */
export class Agenda {
    /**
     * Since the last call of `next()`, in order.
     * @type {Step[]}
     */
    #added = [];
    /**
     * The next step is the last element.
     * @type {Step[]}
     */
    #waiting = [];

    /** @param {...Step} steps */
    add(...steps) {
        this.#added.push(...steps);
    }

    /**
     * Removes and returns the step that is to be taken now.
     * @returns {Step | undefined}
     */
    next() {
        while (this.#added.length) this.#waiting.push(/** @type {Step} */ (this.#added.pop()));
        return this.#waiting.pop();
    }
}
