//# allFunctionsCalledOnLoad
/** The latest connections of a pair that have ended. Their late signals are dropped. */
export class RetiredConnections {
    static limit = 8;
    /** @type {string[]} */
    #connections = [];

    /** @param {string} connection */
    insert(connection) {
        this.#connections.push(connection);
        if (this.#connections.length > RetiredConnections.limit) this.#connections.shift();
    }

    /** @param {string} connection */
    contains(connection) {
        return this.#connections.includes(connection);
    }
}
