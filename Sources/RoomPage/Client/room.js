//# allFunctionsCalledOnLoad
import { withDeadline } from "./abort-signal.js";
import { borrowedBytes } from "./bytes.js";
import { RequestError, RequestFailure, RoomError, RoomStreamError } from "./errors.js";
import { receiveBlob, receiveInto, sendBlob } from "./file-streams.js";
import { HostRole, MessageRoom, MessageRuntime, engine, receivers } from "./message-room.js";
import { PairExchange } from "./pair-exchange.js";
import { errorOfEndReason } from "./room-events.js";
import { RoomExchange } from "./room-exchange.js";
import { openStream } from "./room-streams.js";
import { Topic } from "./topic.js";
import { PairStreams } from "./pair-streams.js";
import { isValidName } from "./values.js";
/**
 * @typedef {import("./pair.js").Pair} Pair
 * @typedef {import("./room-connection.js").RoomConnection} RoomConnection
 */

export { HostRole, RequestError, RequestFailure, RoomError, RoomStreamError, errorOfEndReason };
export { receiveBlob, receiveInto, sendBlob };

const decoder = new TextDecoder("utf-8", { fatal: true });

/**
 * The codec of JSON.
 * @type {import("./room.js").MessageCodec<any>}
 */
export const JSONMessageCodec = {
    isText: true,
    encode: (value) => JSON.stringify(value) ?? "null",
    decode: (bytes) => JSON.parse(decoder.decode(bytes)),
};

/** The source of rooms. */
export class TransportRuntime extends MessageRuntime {
    get extras() { return { RoomExchange, PairExchange, PairStreams }; }

    /**
     * @param {string} name
     * @param {RoomConnection} connection
     */
    makeRoom(name, connection) { return new Room(name, connection); }
}

/** A room that this page is in: messages, topics, requests and streams. */
export class Room extends MessageRoom {
    get #exchange() { return /** @type {RoomExchange} */ (this[engine].exchange); }

    /**
     * @param {string} name
     * @param {{ codec?: import("./room.js").MessageCodec<any>, reliability?: "reliable" | "lossy" }} options
     */
    topic(name, { codec, reliability = "reliable" } = {}) {
        return new Topic(name, reliability, codec, this.#exchange, (to, signal) => this[receivers](to, signal));
    }

    /**
     * Asks one participant, and returns its answer.
     * @param {string} method
     * @param {any} body
     * @param {{
     *     to: string, codec?: import("./room.js").MessageCodec<any>, timeout?: number, signal?: AbortSignal,
     * }} options
     */
    async request(method, body, { to, codec, timeout = 30, signal }) {
        /**
         * @param {RequestError["code"]} code
         * @param {string} message
         */
        const failure = (code, message) => new RequestError(code, method, to, message);
        if (!isValidName(method)) throw failure("unknown_method", "the name of a method has 1 to 64 bytes");
        let encoded = body;
        try {
            if (codec) encoded = codec.encode(body);
            borrowedBytes(encoded);
        } catch (error) {
            throw failure("unencodable", `the request cannot be encoded: ${error}`);
        }
        const startedAt = this[engine].now();
        /** @type {Pair} */
        let pair;
        try {
            // Never somebody else because the host, for one, is not there.
            [pair] = await this.#pairsWithin(to ?? "", timeout, signal);
        } catch (error) {
            const { code, message } = /** @type {RoomError} */ (error);
            /** @type {Record<string, RequestError["code"]>} */
            const codes = { peer_not_found: "peer_gone", timed_out: "timed_out", cancelled: "cancelled" };
            throw failure(codes[code] ?? "left", message);
        }
        const left = Math.max(timeout - (this[engine].now() - startedAt), 0);
        const answer = await pair.exchange.requests.request(
            method, encoded, { timeout: left, isText: codec ? !!codec.isText : undefined, signal });
        try {
            return codec ? codec.decode(answer) : answer;
        } catch (error) {
            throw failure("undecodable", `the answer cannot be decoded: ${error}`);
        }
    }

    /**
     * Waits for the join. A deadline of this call does not end the join of the room.
     * @param {string} to
     * @param {number} within
     * @param {AbortSignal} [signal]
     */
    async #pairsWithin(to, within, signal) {
        return withDeadline(this[engine].schedule, within, signal, async (deadline) => {
            try {
                return await this[receivers](to, deadline);
            } catch (error) {
                if (!deadline.aborted || signal?.aborted) throw error;
                throw new RoomError(
                    "timed_out", `the room '${this.name}' was not joined in time`, { isRetryable: true });
            }
        });
    }

    /**
     * Handles a method.
     * @param {string} method
     * @param {(value: any, caller: string, signal: AbortSignal) => any} handler
     * @param {{ codec?: import("./room.js").MessageCodec<any> }} options
     */
    handle(method, handler, { codec } = {}) {
        if (!isValidName(method)) throw new RoomError("configuration", "the name of a method has 1 to 64 bytes");
        const remove = this.#exchange.addHandler(method, async ({ from, payload, signal }) => {
            let value = payload;
            try {
                if (codec) value = codec.decode(payload);
            } catch {
                throw new RequestFailure("undecodable", "the request is no value of the type that is handled");
            }
            const answer = await handler(value, from, signal);
            return codec ? { payload: codec.encode(answer), isText: !!codec.isText } : { payload: answer };
        });
        if (!remove) {
            throw new RoomError(
                "configuration", `the method '${method}' has a handler already: remove that one first`);
        }
        return { method, remove };
    }

    /**
     * Opens a stream of bytes to one participant, to several, or to everybody who is in the room now.
     * @param {string} name
     * @param {{
     *     to?: string | string[], length?: number, metadata?: Record<string, string>, signal?: AbortSignal,
     * }} options
     */
    async openStream(name, { to, length, metadata, signal } = {}) {
        const those = await this[receivers](to, signal);
        return openStream(
            to === undefined ? those.filter((pair) => pair.hasExchange) : those, name, { length, metadata });
    }

    /** A consumer that stops leaves further streams to the next one. */
    incomingStreams() { return this[engine].incomingStreams.sequence(); }
}
