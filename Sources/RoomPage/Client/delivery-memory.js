//# allFunctionsCalledOnLoad
// @ts-check
import { NumberedStreams } from "./numbered-stream.js";

/**
 * The streams to participants that were given up. One of them may come back with the session that it had: it could not
 * be reached for longer than it was waited for, and has itself given up nobody. The streams then continue behind the
 * messages that were given up.
 */
export class DeliveryMemory {
    /** As many as a room has participants; the oldest are forgotten. */
    static limit = 64;

    /**
     * The oldest first.
     * @type {NumberedStreams[]}
     */
    #entries = [];

    /**
     * The streams are given up, with everything that they have not sent.
     * @param {NumberedStreams} streams
     */
    store(streams) {
        streams.abandon();
        this.#entries.push(streams);
        if (this.#entries.length > DeliveryMemory.limit) this.#entries.shift();
    }

    /**
     * Returns the streams between two sessions: new ones where there were none.
     * @param {string} session
     * @param {string} peerSession
     */
    take(session, peerSession) {
        const index = this.#entries.findIndex(
            (streams) => streams.session == session && streams.peerSession == peerSession);
        return index < 0 ? new NumberedStreams(session, peerSession) : this.#entries.splice(index, 1)[0];
    }
}
