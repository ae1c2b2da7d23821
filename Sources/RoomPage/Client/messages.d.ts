/**
 * The client for a page that needs messages only: without topics, requests, streams and files. It is smaller than
 * `room.js`, and otherwise the same.
 *
 * ```js
 * import { MessageRuntime } from "https://rooms.example/client/messages.js";
 *
 * const runtime = new MessageRuntime({ server: "wss://rooms.example/" });
 * const room = await runtime.connect({ toRoom: "lobby", as: "ann" });
 * ```
 */

import { Room, RoomConfiguration, TransportRuntime } from "./room.js";

export { HostRole, RoomError, errorOfEndReason } from "./room.js";

/** A room that this page is in, with its messages. */
export type MessageRoom = Omit<Room, "topic" | "request" | "handle" | "openStream" | "incomingStreams">;

/** The source of rooms with messages: `TransportRuntime` without the rest. */
export class MessageRuntime {
    constructor(configuration: RoomConfiguration);
    static withRunning<Result>(
        configuration: RoomConfiguration, body: (runtime: MessageRuntime) => Result | Promise<Result>
    ): Promise<Result>;
    connect(options: Parameters<TransportRuntime["connect"]>[0]): Promise<MessageRoom>;
    open(options: Parameters<TransportRuntime["open"]>[0]): MessageRoom;
    stop(): Promise<void>;
}
