//# allFunctionsCalledOnLoad
// The facts that a `RoomMachine` takes, and the actions that it returns.

/**
 * @typedef {import("./values.js").Case} RoomFact A fact. Everything about a connection carries its generation; late
 *     news of an old one is dropped.
 *
 *     `started` (once, first), `leaveRequested`, `reconnectRequested`, `networkChanged(value)`, `woke(after)`,
 *     `restartRequested(value)`, `metadataUpdated(value)`, `attributesUpdated(value)`, `kickRequested(value, reason)`,
 *     `closeRequested(reason)`, `timerFired(value)`.
 *
 *     Of signaling: `transportConnected(value)`, `transportFailed(value0, value1)`, `transportClosed(value0, value1)`,
 *     `received(value0, value1)`, `receivedMalformed(value0, value1)`.
 *
 *     Of providers: `credentialReady(token, expiresAt)`, `credentialFailed(value)`, `iceServersProvided(value, ttl)`,
 *     `iceServersFailed(value)`.
 *
 *     Of a peer connection: `peer(value0, value1, value2)`, the last of which is a `PeerFact`.
 *
 * @typedef {import("./values.js").Case} RoomAction An action of the shell, to be performed in this order.
 *
 *     `openTransport(value)`, `abortTransport(value)`, `closeTransport(value0, value1)`, `send(value0, value1)`,
 *     `requestCredential(forced)`, `requestICEServers`, `scheduleTimer(value, at)`, `cancelTimer(value)`,
 *     `emit(value)`, `peer(value0, value1, value2)`, the last of which is a `PeerCommand`.
 *
 *     Timers: `signaling(value)`, `session`, `peer(value0, value1)`, `offers`. One that fires too early, late, or twice
 *     does no harm.
 */

export {};
