package import RoomProtocol

/// The numbered messages of both directions, which outlive connections, and whether they can be resumed.
package struct SignalingStreams: Sendable {
    private var outgoing: OutgoingStream
    private var incoming = IncomingStream()
    /// The place in the streams is lost: only a rejoin begins new ones.
    private(set) var mustRejoin = false
    /// The server has let this participant in before.
    private(set) var hasBegun = false

    package init(countLimit: Int, byteLimit: Int) {
        outgoing = OutgoingStream(countLimit: countLimit, byteLimit: byteLimit)
    }

    /// Messages that wait for the server's acknowledgement or for a connection.
    var queuedMessages: Int { outgoing.count }
    /// The last message of the server that came in order.
    var received: SequenceNumber { incoming.received }
    /// How many messages of the server were taken since the last acknowledgement.
    var unacknowledged: Int { incoming.unacknowledged }

    mutating func requireRejoin() { mustRejoin = true }

    /// The server has let this participant in. Returns what is sent first; nil where the server's place in the streams
    /// is not ours, so that only a rejoin helps.
    package mutating func begin(_ joined: Joined) -> [Envelope<ClientMessage>]? {
        let unsent: [Envelope<ClientMessage>]
        if joined.isResumed {
            guard !mustRejoin, hasBegun, let again = outgoing.resume(received: joined.received) else {
                mustRejoin = true
                return nil
            }
            unsent = again
        } else {
            incoming.restart()
            outgoing.restart()
            unsent = outgoing.takeUnsent()
        }
        mustRejoin = false
        hasBegun = true
        return unsent
    }

    // MARK: Outgoing

    /// Appends a message. Returns the number of dropped messages where the queue was at its limit: nothing is
    /// acknowledged, or nobody has come back for long, and what was negotiated meanwhile is worth nothing any more.
    package mutating func append(_ message: ClientMessage) -> Int? {
        if outgoing.append(message) { return nil }
        let before = outgoing.count
        mustRejoin = true
        outgoing.restart()
        if case .kick = message { _ = outgoing.append(message) }
        return before + 1 - outgoing.count
    }

    /// Numbers what was not sent yet and hands it out.
    package mutating func takeUnsent() -> [Envelope<ClientMessage>] { outgoing.takeUnsent() }

    /// Takes back signals that were not sent yet.
    mutating func removeUnsentSignals(where isSuperseded: (Signal) -> Bool) {
        outgoing.removeUnsentSignals(where: isSuperseded)
    }

    /// The server has everything up to `sequence`. False: it cannot have, and only a rejoin helps.
    package mutating func acknowledged(_ sequence: SequenceNumber) -> Bool {
        if outgoing.acknowledge(sequence) { return true }
        mustRejoin = true
        return false
    }

    // MARK: Incoming

    /// Takes a message of the server. After a gap only a rejoin helps.
    package mutating func take(_ sequence: SequenceNumber) -> IncomingStream.Verdict {
        let verdict = incoming.take(sequence)
        if verdict == .gap { mustRejoin = true }
        return verdict
    }

    /// Returns the envelope with the acknowledgement that every message carries.
    mutating func stamped(_ envelope: Envelope<ClientMessage>) -> Envelope<ClientMessage> {
        var envelope = envelope
        if incoming.received > 0 { envelope.ack = incoming.received }
        incoming.acknowledge()
        return envelope
    }

    /// Returns an acknowledgement that travels alone.
    mutating func takeAcknowledgement() -> Envelope<ClientMessage> {
        incoming.acknowledge()
        return Envelope(.ack(received: incoming.received))
    }
}
