//# allFunctionsCalledOnLoad
// What a pair needs of its surroundings.

/** @typedef {import("./delivery-channel.js").ChannelParameters} ChannelParameters */
/** @typedef {import("./delivery-outbox.js").Outcome} Outcome */
/** @typedef {import("./delivery-protocol.js").Hint} Hint */
/** @typedef {import("./room.js").Sendable} Sendable */
/** @typedef {import("./room-message.js").RoomMessage} RoomMessage */

/**
 * @typedef {object} Link The peer connection, whichever it is at the time. A data channel is known by its label: of
 *     several with the same one, only the newest is reported and used.
 * @property {(label: string, data: Uint8Array | string) => string | void} send Sends a message, without calling back.
 *     Returns, or throws as `RTCDataChannel.send` does, why not: `wouldBlock`, `messageTooLarge`, anything else:
 * closed.
 * @property {(label: string) => number} bufferedAmount
 * @property {() => number} maximumMessageSize
 * @property {(parameters: ChannelParameters) => void} openChannel
 * @property {(label: string) => void} closeChannel
 *
 * @typedef {object} Handlers
 * @property {(message: RoomMessage) => void} message
 * @property {(message: import("./pair-topics.js").TopicArrival) => boolean} [topic] Takes a message of a topic.
 *     False: nobody subscribes. Otherwise `message.consume()` follows when it was read.
 * @property {(request: import("./pair-requests.js").Request) => Promise<{ payload: Sendable, isText?: boolean }>}
 *     [request] Answers a request; throws a `RequestFailure`.
 * @property {(stream: import("./room-streams.js").RoomIncomingStream) => void} [stream] A stream begins.
 * @property {(hint: Hint) => void} [hint]
 * @property {(reason: string) => void} broken The other side broke the delivery protocol, or the reliable channel takes
 *     nothing any more: close the peer connection.
 * @property {() => void} [dataArrived] The first message since the status was last `recovering` has come.
 * @property {(isMissing: boolean) => void} [acknowledgement] Data is not acknowledged for some seconds, or is again.
 * @property {(count: number) => void} [undelivered] Messages were given up.
 * @property {(count: number) => void} [lossyDropped] Lossy messages were not sent.
 *
 * @typedef {{
 *     PairExchange: typeof import("./pair-exchange.js").PairExchange,
 *     PairStreams: typeof import("./pair-streams.js").PairStreams,
 * }} PairExtras Topics, requests and streams.
 *
 * @typedef {{ sendLimit: number, maximumMessageSize: number, stall?: number }} PairConfiguration
 * @typedef {(after: number, callback: () => void) => () => void} Schedule Calls back after so many seconds; what it
 *     returns cancels that.
 * @typedef {Exclude<Outcome, { type: "full" }> | { type: "cancelled" }} Sent
 *
 * @typedef {object} PairOptions
 * @property {string} ownSession
 * @property {string} peerSession
 * @property {string} [participant] The id of the other side.
 * @property {readonly string[]} capabilities Of the other side.
 * @property {PairConfiguration} configuration
 * @property {import("./numbered-stream.js").NumberedStreams} [streams] From a `DeliveryMemory`; to store there when
 *     the pair has ended.
 * @property {PairExtras} [extras] Undefined: there are only messages.
 * @property {number} [requestBase] After it the ids of requests begin; never the same for two pairs of a room.
 * @property {() => number} now
 * @property {Schedule} schedule
 * @property {Link} link
 * @property {Handlers} handlers
 */

export {};
