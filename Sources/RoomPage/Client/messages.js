//# allFunctionsCalledOnLoad
/**
 * The client for a page that needs messages only: without topics, requests, streams and files, which the others then
 * know. Everything else is that of `room.js`.
 */
import { RoomError } from "./errors.js";
import { HostRole, MessageRuntime } from "./message-room.js";
import { errorOfEndReason } from "./room-events.js";

export { HostRole, MessageRuntime, RoomError, errorOfEndReason };
