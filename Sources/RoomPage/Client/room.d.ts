/**
 * Rooms of peers that stay connected: the client for browsers.
 *
 * ```js
 * import { TransportRuntime, HostRole } from "./room.js";
 *
 * const runtime = new TransportRuntime({ server: "wss://rooms.example/" });
 * const room = await runtime.connect({ toRoom: "lobby", as: "ann", host: HostRole.ifFirst });
 * await room.send("hello, everybody");
 * for await (const message of room.messages()) {
 *     console.log(message.from, message.text);
 *     await room.send("thank you", { to: message.from });
 * }
 * ```
 *
 * The names are those of the Swift package. Durations and timestamps are numbers of seconds; timestamps are on the
 * clock of `performance.now()`. Every call that waits takes an `AbortSignal`. New codes, cases and event types may be
 * added: always have a `default`.
 */

/** The id of a participant, kept through every resume and rejoin. */
export type ParticipantID = string;
/** One participant's stay in a room. */
export type SessionID = string;
/** Seconds. */
export type Duration = number;
/** Seconds on the clock of `performance.now()`. */
export type Timestamp = number;
/** The bytes of a message; a string is sent as UTF-8 text. */
export type Sendable = string | ArrayBuffer | ArrayBufferView;

/** Whether a participant creates its room as the host, or joins one that exists. */
export type HostRole = "host" | "guest" | "awaited" | "ifFirst";
/** The roles by name. */
export declare const HostRole: {
    /** Creates the room. Refused with `room_exists` where there is one. */
    readonly host: "host";
    /** Joins a room that exists. Refused with `room_not_found` where there is none. */
    readonly guest: "guest";
    /** Joins the room as soon as it exists: waits for its host. */
    readonly awaited: "awaited";
    /** Creates the room where there is none, else joins it. */
    readonly ifFirst: "ifFirst";
};

// MARK: - Configuration

/** The choices of a program: the server, and how to connect. */
export interface RoomConfiguration {
    /** The room server: a `ws://` or `wss://` URL. */
    server: string;
    /**
     * Returns a join token. Asked before each attempt that needs one: when there is none, when the one that there is
     * lasts for less than 30 s, and when the server has refused it. A call that has not returned after 30 s is aborted
     * and counts as failed.
     */
    token?: (request: TokenRequest, signal: AbortSignal) =>
        string | JoinCredential | Promise<string | JoinCredential>;
    /** Whether any path may be used, or only relayed ones. By default `all`. */
    icePolicy?: "all" | "relay";
    /** The ICE servers in addition to those of the room server. */
    iceServers?: ICEServer[];
    /** Returns further ICE servers, such as those of a TURN service. Nothing waits for it. */
    iceServerProvider?: (request: ICEServerRequest, signal: AbortSignal) =>
        ProvidedICEServers | Promise<ProvidedICEServers>;
    /** The peer connections that are renewed after a rejoin. By default `all`. */
    rejoinPolicy?: "all" | "broken" | "none";
    /** The budgets of the recovery of peer connections. */
    recovery?: Partial<RecoveryBudgets>;
    /** The delays between attempts to reach the room server. */
    reconnect?: Partial<ReconnectBackoff>;
    /** Bytes of unacknowledged messages to one participant and channel above which `send` waits. By default 8 MiB. */
    sendLimit?: number;
    /** Bytes of messages that wait for the application above which senders are held back. By default 8 MiB. */
    receiveLimit?: number;
    /** Bytes of one message on a reliable channel. By default 4 MiB. */
    maximumMessageSize?: number;
    /** The first join is given up after this long; later outages are never given up. By default 30 s. */
    joinTimeout?: Duration;
}

/** A join token, and its expiry. */
export interface JoinCredential {
    /** The token to show to the server. A secret. */
    value: string;
    /** How long the token can be used from now on. Absent: unknown, or without limit. */
    validFor?: Duration;
}

/** A question to the provider of join tokens: for whom, and why. */
export interface TokenRequest {
    /** The name of the room. */
    readonly room: string;
    /** The name of the participant. */
    readonly name: string;
    /** How the participant joins the room first. */
    readonly role: HostRole;
    /** Why a token is needed. */
    readonly reason: "firstJoin" | "expired" | "refused";
    /** Whether the last token was refused, so that the answer must not come from a cache. */
    readonly mustBeFresh: boolean;
}

/** A STUN or TURN server with its credentials. */
export interface ICEServer {
    /** The URLs: `stun:host:port`, `turn:host:port?transport=udp`, `turns:…`. */
    urls: string[];
    /** The user name; absent for STUN. */
    username?: string;
    /** The password; absent for STUN. A secret. */
    credential?: string;
}

/** A question to the provider of ICE servers: for whom. */
export interface ICEServerRequest {
    /** The name of the room. */
    readonly room: string;
    /** The name of the participant. */
    readonly name: string;
}

/** ICE servers of the application's own provider, and the expiry of their credentials. */
export interface ProvidedICEServers {
    /** The servers. */
    servers: ICEServer[];
    /** How long the servers can be used from now on. Absent: without limit. */
    validFor?: Duration;
}

/** The patience of each rung of the recovery ladder. */
export interface RecoveryBudgets {
    /** Silence after which a path is replaced by a fresh one (an ICE restart). 2 s. */
    silence: Duration;
    /** As `silence`, after a change of the network, a suspend, or `reconnectNow()`. 0.5 s. */
    probe: Duration;
    /** A fresh path that is not up after this is tried again. 2.5 s. */
    restart: Duration;
    /** Once restarts brought a path over which nothing came for this long, the connection is rebuilt. 15 s. */
    rebuild: Duration;
    /** The same where restarts find no path. 60 s. */
    rebuildWithoutPath: Duration;
    /** How long a new connection may take before it is made anew. 10 s. */
    connect: Duration;
    /** How long a participant is waited for that the room server does not know after its restart. 60 s. */
    absence: Duration;
    /** Healthy paths that are renewed are spread over this time. 1 s. */
    spread: Duration;
    /** How long a participant may be without a connection until the event `stalled` tells why. 8 s. */
    stall: Duration;
}

/** The delays between attempts: exponential, each delay random between zero and the step. */
export interface ReconnectBackoff {
    /** The first step; it doubles with every attempt. 0.1 s. */
    base: Duration;
    /** The longest step in the first half minute of an outage. 1 s. */
    cap: Duration;
    /** The longest step of all. 10 s. */
    maximum: Duration;
    /** Attempts of one outage after which the room is given up. Absent: never. */
    attemptLimit?: number;
}

// MARK: - The runtime

/**
 * The source of rooms. One for a page is enough.
 *
 * When the page ends, a guest leaves its rooms. A host only closes its connection, and keeps its name and its role for
 * the server's grace period. A page that is loaded again joins as a new participant: under its old name, and a host as
 * the host.
 */
export declare class TransportRuntime {
    /** Creates a runtime. Throws a `RoomError` `configuration` that says what is wrong. */
    constructor(configuration: RoomConfiguration);

    /** Runs `body` with a runtime, and stops the runtime when `body` has returned or thrown. */
    static withRunning<Result>(
        configuration: RoomConfiguration, body: (runtime: TransportRuntime) => Result | Promise<Result>
    ): Promise<Result>;

    /**
     * Joins a room: the one entry for hosts and guests.
     *
     * Throws a `RoomError`: `refused` with the server's code in `protocolCode` (`room_not_found`, `name_taken`, …),
     * `timed_out` when the server could not be reached within `joinTimeout`, `cancelled`, `left` when the runtime was
     * stopped.
     */
    connect(options: {
        /** The room's name: 1 to 128 bytes of UTF-8. */
        toRoom: string;
        /** The name to show to others, unique in the room. */
        as: string;
        /** `true` creates the room as its host; `false`, the default, joins one that exists. */
        host?: boolean | HostRole;
        /** Shown to the others: at most 16 entries, keys of 64 bytes, values of 1024, 4096 in all. */
        metadata?: Record<string, string>;
        signal?: AbortSignal;
    }): Promise<Room>;

    /** Joins a room like `connect`, but returns at once: watch `room.events()` for the join and for refusals. */
    open(options: {
        room: string; as: string; host?: boolean | HostRole; metadata?: Record<string, string>;
    }): Room;

    /** Leaves the rooms that are still connected. Idempotent. */
    stop(): Promise<void>;
}

// MARK: - The room

/** A channel of a room, with its guarantees: in order and exactly once; in any order; may be lost. */
export type RoomChannel = "reliable" | "unordered" | "lossy";

/**
 * A room that this page is in: sends, receives, and reports who is there. Recovery needs nothing from the application.
 */
export declare class Room {
    private constructor();
    /** The room's name. */
    readonly name: string;

    /** This participant, or undefined before the room is joined. */
    readonly selfID: ParticipantID | undefined;
    /** The other participants that are in the room now. */
    readonly participants: RoomParticipant[];
    /** Whether this participant is the room's host. */
    readonly isHost: boolean;
    /** The room's attributes, as its host has set them. */
    readonly attributes: Record<string, string>;
    /** The current status of the connection to the room server. */
    readonly signalingStatus: SignalingStatus;
    /** Why the room has ended, or undefined while it goes on. */
    readonly endReason: EndReason | undefined;
    /** The present state of the room as one value. */
    readonly snapshot: RoomSnapshot;

    /** The states of the room: the present one at once, then the newest whenever it has changed. */
    snapshots(): AsyncIterableIterator<RoomSnapshot>;
    /**
     * The events of the room, for any number of consumers, each with a queue of its own. The first has all events from
     * the beginning; each later one begins with the events that lead to the present state. Ends after `left`.
     */
    events(): AsyncIterableIterator<RoomEvent>;

    /** The messages of one channel, for one consumer. Senders are held back while nobody reads. Ends with the room. */
    messages(options?: { on?: RoomChannel }): AsyncIterableIterator<RoomMessage>;
    /** The messages of one channel in batches: all that have arrived since the last read at once. */
    messageBatches(options?: { on?: RoomChannel }): AsyncIterableIterator<RoomMessage[]>;
    /** Calls `handler` for every message of every channel as it arrives. From then on the sequences get nothing. */
    onMessage(handler: (message: RoomMessage) => void): void;
    /** Removes the `onMessage` handler: messages go to the sequences again. */
    clearMessageHandler(): void;

    /**
     * Sends to everybody in the room, or to one participant. Returns for whom the message was accepted.
     *
     * Waits until the room is joined, and while the buffer of a connected receiver is full. Throws a `RoomError`:
     * `left`, `peer_not_found`, `message_too_large`, `cancelled`, `refused`.
     */
    send(message: Sendable, options?: {
        to?: ParticipantID; channel?: RoomChannel; isText?: boolean; signal?: AbortSignal;
    }): Promise<SendReport>;
    /** Sends to one participant without waiting. Throws `would_block`, and takes nothing, while its buffer is full. */
    trySend(message: Sendable, options: { to: ParticipantID; channel?: RoomChannel; isText?: boolean }): void;
    /**
     * Returns when everything accepted before the call has arrived, except at participants that left. Throws
     * `timed_out`, naming the participants that did not answer within `within` (30 s), or `cancelled`.
     */
    flush(options?: { within?: Duration; signal?: AbortSignal }): Promise<void>;

    /** Returns the topic of this name: of bytes or text, or of values in the format of a codec. */
    topic(name: string, options?: { reliability?: TopicReliability }): Topic<Uint8Array, Sendable>;
    topic<Value>(
        name: string, options: { codec: MessageCodec<Value>; reliability?: TopicReliability }
    ): Topic<Value>;

    /**
     * Asks one participant, and returns its answer: bytes for bytes, or values in the format of a codec. Throws a
     * `RequestError`. `timeout`: 30 s by default; `Infinity`: none.
     */
    request(method: string, body: Sendable, options: {
        to: ParticipantID; timeout?: Duration; signal?: AbortSignal;
    }): Promise<Uint8Array>;
    request<Request, Answer>(method: string, value: Request, options: {
        to: ParticipantID; codec: MessageCodec<any>; timeout?: Duration; signal?: AbortSignal;
    }): Promise<Answer>;
    /**
     * Handles a method. A handler that throws a `RequestFailure` gives the caller its code and message; of any other
     * error the caller learns only that the handler has failed. `signal` is aborted when the caller cancels or is gone.
     */
    handle(
        method: string,
        handler: (body: Uint8Array, caller: ParticipantID, signal: AbortSignal) => Sendable | Promise<Sendable>
    ): RequestHandler;
    handle<Request, Answer>(
        method: string,
        handler: (value: Request, caller: ParticipantID, signal: AbortSignal) => Answer | Promise<Answer>,
        options: { codec: MessageCodec<any> }
    ): RequestHandler;

    /**
     * Opens a stream of bytes to one participant, to several, or to everybody who is in the room now. Throws as `send`
     * does, `not_supported`, `would_block` when 64 streams to it are open, and `configuration`.
     */
    openStream(name: string, options?: {
        to?: ParticipantID | ParticipantID[]; length?: number; metadata?: Record<string, string>; signal?: AbortSignal;
    }): Promise<RoomOutgoingStream>;
    /** The streams that other participants open to this one. */
    incomingStreams(): AsyncIterableIterator<RoomIncomingStream>;

    /** Leaves the room: flushes within `within` (5 s), notifies the others, and closes all connections. Idempotent. */
    leave(options?: { within?: Duration }): Promise<void>;
    /** Reports that the network may have changed: a waiting attempt is made now, and every connection is probed. */
    reconnectNow(): void;
    /** Requests a new path to one participant, or to all, as the room does by itself when a path fails. */
    restartPaths(options?: { to?: ParticipantID }): void;
    /** Replaces the metadata that the others see, or the room's attributes (for hosts). */
    update(values: { metadata?: Record<string, string>; attributes?: Record<string, string> }): void;
    /** Removes a participant permanently. For hosts. */
    kick(participant: ParticipantID, options?: { reason?: string }): void;
    /** Ends the room for everybody. For hosts. */
    close(options?: { reason?: string }): void;
    /**
     * The certificates of the connection to a participant, and the code by which two people can compare them. Undefined
     * before the first connection, and in a page without a secure context, which has no SHA-256.
     */
    security(options: { of: ParticipantID }): Promise<PeerSecurity | undefined>;
    /** Returns counters of the connections to all participants. */
    statistics(): Promise<Map<ParticipantID, PeerConnectionStatistics>>;
}

/** Another participant of a room. */
export interface RoomParticipant {
    /** The id, kept through every resume and rejoin. */
    readonly id: ParticipantID;
    /** The session. A new one is a different participant, whatever the id. */
    readonly session: SessionID;
    /** Higher after each rejoin. */
    readonly epoch: number;
    /** The name to show; unique in the room. Text of somebody else. */
    readonly name: string;
    /** Whether this is the room's host. */
    readonly isHost: boolean;
    /** The metadata that the participant shows to others. */
    readonly metadata: Record<string, string>;
    /** The features of the participant's client. */
    readonly capabilities: string[];
}

/** A message that came from another participant. */
export interface RoomMessage {
    /** The sender. */
    readonly from: ParticipantID;
    /** The channel that it came on. */
    readonly channel: RoomChannel;
    /** Whether the sender sent text. */
    readonly isText: boolean;
    /** The bytes. */
    readonly payload: Uint8Array;
    /** The payload as text, undefined when it is not valid UTF-8. */
    readonly text: string | undefined;
}

/** The outcome of sending one message. */
export interface SendReport {
    /** The participants for which the message was not accepted. */
    readonly missed: { readonly participant: ParticipantID; readonly reason: MissedReason }[];
    /** The participants for which the message was accepted. */
    readonly accepted: ParticipantID[];
    /** The number of participants for which the message was accepted. */
    readonly acceptedCount: number;
    /** Whether the message was accepted for every participant that it was meant for. */
    readonly isComplete: boolean;
}

/** Why a message was not accepted for a participant. */
export type MissedReason =
    | { type: "left" } | { type: "unreachable" } | { type: "dropped" } | { type: "tooLarge"; limit: number }
    | { type: "notSupported" } | { type: "tooManyTopics" } | { type: "cancelled" };

// MARK: - Topics, requests, streams

/** `reliable`: in order and exactly once. `lossy`: may be lost; a slow subscriber gets the newest messages. */
export type TopicReliability = "reliable" | "lossy";

/** A named stream of messages inside a room: subscribers get what is published from then on. */
export interface Topic<Value, Input = Value> {
    readonly name: string;
    readonly reliability: TopicReliability;
    /** Publishes to everybody in the room, or to one participant. Waits, reports and throws as `send` does. */
    publish(value: Input, options?: { to?: ParticipantID; signal?: AbortSignal }): Promise<SendReport>;
    /** Subscribes: the messages that come from now on. Each call is a subscription of its own; `return()` ends it. */
    messages(): AsyncIterableIterator<TopicMessage<Value>>;
}

/** A message of a topic. */
export interface TopicMessage<Value> {
    /** The sender. */
    readonly from: ParticipantID;
    /** The decoded value; for topics without a codec the bytes. */
    readonly value: Value;
    /** Whether the sender sent text. */
    readonly isText: boolean;
    /** The value of a topic without a codec as text, undefined when it is not valid UTF-8. */
    readonly text?: string;
}

/** Turns values into the bytes of a message and back. */
export interface MessageCodec<Value> {
    /** Whether the bytes are UTF-8 text. */
    readonly isText?: boolean;
    encode(value: Value): Uint8Array | string;
    /** Throws when the bytes, which can be anything, are no such value. */
    decode(bytes: Uint8Array): Value;
}

/** The codec of JSON. */
export declare const JSONMessageCodec: MessageCodec<any>;

/** The registration of a handler. */
export interface RequestHandler {
    readonly method: string;
    /** Removes the handler. Those requests that run are finished. Idempotent. */
    remove(): void;
}

/** A failure that a request handler reports to the caller on purpose. */
export declare class RequestFailure extends Error {
    constructor(code: string, message?: string);
    /** The application's own code, 1 to 64 bytes. */
    code: string;
}

/** The reason why a request has no answer. */
export declare class RequestError extends Error {
    /** The kind of the failure: what programs look at. */
    readonly code:
        | "refused" | "unknown_method" | "handler_failed" | "busy" | "timed_out" | "peer_gone" | "cancelled"
        | "too_large" | "undecodable" | "unencodable" | "not_supported" | "left";
    readonly method: string;
    readonly participant: ParticipantID;
    /** The handler's own code and message; only for `refused`. */
    readonly failure?: RequestFailure;
}

/** A stream of bytes from this participant to one or several others. Write from one task. */
export interface RoomOutgoingStream {
    readonly name: string;
    readonly length: number | undefined;
    /** The participants that were to receive the stream and do not, with the reasons. */
    readonly failures: Map<ParticipantID, RoomStreamError>;
    /** Writes bytes: returns when they are in the bounded buffers of all receivers. */
    write(bytes: Sendable, options?: { signal?: AbortSignal }): Promise<void>;
    /** Ends the stream: returns when every receiver has consumed all bytes and the end. */
    finish(options?: { signal?: AbortSignal }): Promise<void>;
    /** Gives the stream up: the receivers get an error with this reason. */
    cancel(reason?: string, code?: string): void;
    /** Bytes that every receiver that is left has consumed. */
    readonly acknowledgedCount: number;
    /** The numbers of consumed bytes as they grow, for one consumer. Ends with the stream. */
    readonly progress: AsyncIterableIterator<number>;
}

/** A stream of bytes from another participant: a sequence of chunks, for one consumer. */
export interface RoomIncomingStream extends AsyncIterable<Uint8Array> {
    readonly from: ParticipantID;
    /** The name that the sender has given. Text of somebody else: no path without making it safe. */
    readonly name: string;
    /** The number of bytes that the sender has announced; undefined when it is unknown. */
    readonly length: number | undefined;
    readonly metadata: Record<string, string>;
    /** Wants no more of the stream: the sender gets an error with this reason. */
    cancel(reason?: string, code?: string): void;
}

/**
 * Sends a blob or file on a stream, and ends it: returns when every receiver has consumed it. The blob is never in
 * memory as a whole. `onProgress` gets the number of bytes that the receivers have consumed.
 */
export declare function sendBlob(
    stream: RoomOutgoingStream, blob: Blob, options?: { signal?: AbortSignal; onProgress?: (count: number) => void },
): Promise<void>;

/** Receives a stream into a blob of the media type `type`. Throws a `RoomStreamError` when it fails or is aborted. */
export declare function receiveBlob(
    stream: RoomIncomingStream,
    options?: { signal?: AbortSignal; onProgress?: (count: number) => void; type?: string },
): Promise<Blob>;

/** Receives a stream into a writable one, and closes it. A slow writer holds the sender back. */
export declare function receiveInto(
    stream: RoomIncomingStream, writable: WritableStream<Uint8Array>,
    options?: { signal?: AbortSignal; onProgress?: (count: number) => void },
): Promise<void>;

/** Why a stream has failed. */
export declare class RoomStreamError extends Error {
    readonly code:
        | "cancelled_by_peer" | "cancelled" | "peer_gone" | "busy" | "incomplete" | "length_exceeded"
        | "task_cancelled";
    /** The code that the side that gave the stream up has sent; empty when there is none. */
    readonly reason: string;
}

// MARK: - Events and states

/** An event of a room. */
export type RoomEvent =
    /** The connection to the room server came, went, or is being tried. */
    | { type: "signaling"; status: SignalingStatus }
    /** This participant is in the room: for the first time, or back. */
    | { type: "joined"; membership: RoomMembership }
    /** Never twice for one stay without a `peerLeft` between, also across outages. */
    | { type: "peerJoined"; participant: RoomParticipant }
    /** The participant left, was removed, or did not come back in time. */
    | { type: "peerLeft"; participant: RoomParticipant; reason: LeaveReason }
    /** Metadata, the epoch or the host role changed; the session is the same. */
    | { type: "peerChanged"; participant: RoomParticipant; changes: ParticipantChanges }
    /** The host has set other attributes of the room: all of them, and the keys that are new, different or gone. */
    | { type: "attributesChanged"; attributes: Record<string, string>; changes: string[] }
    /** The room has another host. */
    | { type: "hostChanged"; host: ParticipantID; term: number }
    /** The connection to a participant came, went, or is being healed. */
    | { type: "peer"; participant: ParticipantID; status: PeerStatus }
    /** A participant has not been connected for a while: the reason, and what to do about it. */
    | { type: "stalled"; participant: ParticipantID; stall: PeerStall }
    /** A stall is over. */
    | { type: "resolved"; participant: ParticipantID; stall: PeerStall }
    /** A recovery has ended; its steps with their times. */
    | { type: "incident"; incident: RoomIncident }
    /** Messages towards a participant were dropped: it left, or its connection was broken and the buffer full. */
    | { type: "undelivered"; participant: ParticipantID; count: number }
    /** Something was refused; the room goes on. */
    | { type: "error"; error: RoomError }
    /** The last event: left, or refused permanently. */
    | { type: "left"; reason: EndReason };

/** Why a participant is not in the room any more. */
export type LeaveReason = "left" | "timedOut" | "kicked" | "roomClosed";

/** How this participant is in the room. */
export interface RoomMembership {
    readonly participant: ParticipantID;
    readonly session: SessionID;
    readonly epoch: number;
    readonly isHost: boolean;
    readonly hostTerm: number;
    /** The first join, or how the connection came back. */
    readonly kind: "first" | "resumed" | "rejoined";
}

/** The difference between two states of a participant. */
export interface ParticipantChanges {
    /** The keys of metadata that are new, have another value, or are gone. */
    readonly metadata: string[];
    /** Whether the participant became the host, or is not the host any more. */
    readonly isHostRole: boolean;
    /** Whether the participant came back with a higher epoch. */
    readonly hasRejoined: boolean;
}

/** The state of the connection to the room server, as far as it is known. */
export type SignalingStatus =
    /** The `attempt`th attempt of this outage runs, or waits until `nextAttemptAt`. */
    | { type: "connecting"; attempt: number; nextAttemptAt?: Timestamp; cause?: SignalingFailure }
    /** In the room, with signs of life from the server within the deadline. */
    | { type: "connected" }
    /** Not connected, and no attempt is under way yet. */
    | { type: "disconnected"; cause?: SignalingFailure }
    /** Ended permanently. */
    | { type: "closed"; reason: EndReason };

/** The state of the connection to a participant, as far as it is known. */
export type PeerStatus =
    /** Waits for its turn: others are connecting. */
    | { type: "waiting" }
    /** The connection is being made. */
    | { type: "connecting" }
    /** Messages flow. The path, where it is known. */
    | { type: "connected"; path?: PeerPath }
    /** It was connected and is being healed since `since`; messages on `reliable` are kept. */
    | { type: "recovering"; rung: RecoveryRung; attempt: number; since: Timestamp };

/** The rungs of the recovery ladder: late signs of life, a new path, a new connection. */
export type RecoveryRung = "wait" | "restart" | "rebuild";

/** A path of a peer connection, as far as it is known. */
export interface PeerPath {
    readonly local: "host" | "srflx" | "prflx" | "relay" | "none";
    readonly remote: "host" | "srflx" | "prflx" | "relay" | "none";
    /** A description for people: `udp 192.0.2.1:5000 → 192.0.2.2:6000`. */
    readonly summary: string;
}

/** The reason why a peer connection does not come up, or carries no data. */
export interface PeerStall {
    /** The kind of the stall, such as `signalingDown`, `noAnswer`, `checksUnanswered`. */
    readonly code: string;
    /** One sentence that says what is missing. */
    readonly message: string;
    /** One sentence that says what to do about it. */
    readonly cure: string;
}

/** Why a signaling connection, or an attempt, ended. */
export interface SignalingFailure {
    /** One sentence; never a secret. */
    readonly description: string;
    readonly isRetryable: boolean;
    /** The status of an HTTP answer or a WebSocket close code. */
    readonly status?: number;
    /** When to try again, where the server asks for it. */
    readonly retryAfter?: { readonly lowerBound: Duration; readonly upperBound: Duration };
    /** The code of the room server's refusal. */
    readonly code?: string;
    /** The kind of the failure, for the record of an incident. */
    readonly cause: string;
}

/** Why a room has ended for this participant. */
export type EndReason =
    | { type: "left" }
    | { type: "kicked"; message: string }
    | { type: "roomClosed"; message: string }
    | { type: "replaced" }
    | { type: "staleEpoch"; message: string }
    | { type: "refused"; failure: SignalingFailure }
    | { type: "credentialFailed"; failure: SignalingFailure }
    | { type: "gaveUp"; failure: SignalingFailure };

/** Returns the reason as an error; undefined when this participant has left by itself. */
export declare function errorOfEndReason(reason: EndReason): RoomError | undefined;

/** The record of one recovery of a peer connection or of signaling, step by step. */
export interface RoomIncident {
    /** Undefined: the connection to the room server. */
    readonly participant?: ParticipantID;
    /** Why something was recovered: `silence`, `pathLost`, `networkChanged`, `suspended`, `connectionLost`, … */
    readonly cause: string;
    readonly startedAt: Timestamp;
    readonly endedAt: Timestamp;
    /** The highest rung that was needed; undefined for signaling. */
    readonly rung?: RecoveryRung;
    readonly outcome: "recovered" | "participantLeft";
    /** The steps in the order of time; at most 65. */
    readonly steps: {
        /** `detected`, `probed`, `restartRequested`, `described`, `answered`, `connected`, `recovered`, … */
        readonly kind: string;
        readonly at: Timestamp;
        readonly cause?: string;
        readonly number?: number;
        readonly text?: string;
    }[];
}

/** The state of a room at one time: everything that a user interface shows, as one value. */
export interface RoomSnapshot {
    /** The room's name. */
    readonly room: string;
    /** How this participant is in the room. Undefined before the first join. */
    readonly membership?: RoomMembership;
    readonly signaling: SignalingStatus;
    readonly attributes: Record<string, string>;
    /** The other participants in the order of their ids. */
    readonly members: RoomMember[];
    /** Why the room has ended. Undefined while it goes on. */
    readonly endReason?: EndReason;
    readonly selfID?: ParticipantID;
    readonly isHost: boolean;
    /** The room's host. Undefined before the first join, and while the room waits for one. */
    readonly host?: ParticipantID;
}

/** Another participant, with the state of the connection to it. */
export interface RoomMember {
    readonly id: ParticipantID;
    readonly participant: RoomParticipant;
    readonly status: PeerStatus;
    /** Why it is not reached, while there is a stall. */
    readonly stall?: PeerStall;
}

/** The certificates between which a peer connection is encrypted. */
export interface PeerSecurity {
    /** The fingerprint of this side's certificate: `sha-256 AB:CD:…`. */
    readonly localFingerprint: string;
    readonly remoteFingerprint: string;
    /** Six groups of five digits, the same on both sides. */
    readonly verificationCode: string;
}

/** Counters of one peer connection. */
export interface PeerConnectionStatistics {
    readonly messagesSent: number;
    readonly messagesReceived: number;
    readonly bytesSent: number;
    readonly bytesReceived: number;
    /** The round-trip time, when it is known. */
    readonly roundTrip?: Duration;
    /** The time of the last datagram, when it is known. */
    readonly lastEvidence?: Timestamp;
}

// MARK: - Errors

/** Why a call on a room failed. */
export declare class RoomError extends Error {
    /** The kind of the failure: what programs look at. */
    readonly code:
        | "left" | "refused" | "timed_out" | "cancelled" | "configuration" | "unavailable" | "peer_not_found"
        | "message_too_large" | "would_block" | "not_supported";
    /** The code of the server's answer, as in the wire protocol. */
    readonly protocolCode?: string;
    /** Whether the same call may succeed later. */
    readonly isRetryable: boolean;
    /** Of a message to everybody that failed or was cancelled on the way: for whom it was accepted. */
    readonly report?: SendReport;
}
