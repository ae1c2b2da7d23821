package import RoomProtocol
package import RoomValues
package import TransportValues

/// One signaling connection from the server's `joined` on: signs of life, acknowledgements, and the server's messages
/// in their order. The streams outlive it and are lent to it.
///
/// After `abort` or `leave` it is over.
package struct AdmittedConnection: Sendable {
    package enum Action: Sendable, Hashable {
        case send(Envelope<ClientMessage>)
        case scheduleTimer(TimerID, at: Timestamp)
        /// `isReplayed`: the roster of the `joined` before it is newer.
        case deliver(ServerMessage, isReplayed: Bool)
        /// It has held long enough to end the outage before it.
        case reportStable
        /// End it in order: the server is going away.
        case leave(RetryWindow)
        /// End it without a close handshake.
        case abort(SignalingFailure)
    }

    package enum TimerID: Sendable, Hashable, CaseIterable {
        /// The connection has held long enough.
        case stability
        case liveness
        case acknowledgement
    }

    let generation: ConnectionGeneration
    private let ackDelay: Duration
    private let ackEvery: Int
    /// Numbered messages up to this one are older than the roster of `joined`.
    private let replayedUpTo: SequenceNumber
    /// Nil when it has been reached.
    private var stableAt: Timestamp?
    private var liveness: Liveness
    private var ackDeadline: Timestamp?

    package init(
        _ generation: ConnectionGeneration, _ joined: Joined, configuration: SignalingConfiguration, now: Timestamp,
        _ actions: inout [Action]
    ) {
        self.generation = generation
        ackDelay = configuration.ackDelay
        ackEvery = configuration.ackEvery
        replayedUpTo = joined.isResumed ? joined.sent ?? 0 : 0
        liveness = Liveness(
            interval: joined.pingInterval, deadline: joined.pingDeadline, probeDeadline: configuration.probeDeadline,
            tolerance: configuration.timerTolerance, now: now)
        let stableAt = now + configuration.backoff.stableAfter
        self.stableAt = stableAt
        actions += [
            .scheduleTimer(.stability, at: stableAt), .scheduleTimer(.liveness, at: liveness.nextCheck),
        ]
    }

    /// Whether what the server has said lately may still be unread: this process did not run for a while.
    var isCatchingUp: Bool { liveness.isCatchingUp }

    // MARK: Messages

    /// Sends messages; each carries the acknowledgement of what came.
    package func send(
        _ envelopes: [Envelope<ClientMessage>], _ streams: inout SignalingStreams, _ actions: inout [Action]
    ) {
        for envelope in envelopes { actions.append(.send(streams.stamped(envelope))) }
    }

    package mutating func received(
        _ envelope: Envelope<ServerMessage>, _ streams: inout SignalingStreams, now: Timestamp,
        _ actions: inout [Action]
    ) {
        if let ack = envelope.ack, !acknowledged(ack, &streams, &actions) { return }
        guard arrived(envelope.sequence, &streams, now: now, &actions) else { return }
        switch envelope.message {
        case .ack(let received): _ = acknowledged(received, &streams, &actions)
        case .ping(let id): send([Envelope(.pong(id: id))], &streams, &actions)
        case .pong(let id): liveness.pong(id: id)
        case .joined, .waiting: break
        case .goingAway(let window): actions.append(.leave(window))
        case .peerJoined, .peerLeft, .peerChanged, .hostChanged, .roomChanged, .signal, .iceServers, .error:
            let isReplayed = envelope.sequence.map { $0 <= replayedUpTo } ?? false
            actions.append(.deliver(envelope.message, isReplayed: isReplayed))
        }
    }

    /// A message came that cannot be used: from a newer server, or over a limit of ours. It is counted, so that it is
    /// not sent again for ever.
    mutating func receivedUnusable(
        _ sequence: SequenceNumber?, _ streams: inout SignalingStreams, now: Timestamp, _ actions: inout [Action]
    ) {
        _ = arrived(sequence, &streams, now: now, &actions)
    }

    /// A message is a sign of life, and takes its place in the stream. False: it is not to be acted upon.
    private mutating func arrived(
        _ sequence: SequenceNumber?, _ streams: inout SignalingStreams, now: Timestamp, _ actions: inout [Action]
    ) -> Bool {
        if liveness.evidence(now: now) { actions.append(.scheduleTimer(.liveness, at: liveness.nextCheck)) }
        guard let sequence else { return true }
        switch streams.take(sequence) {
        case .next:
            acknowledge(&streams, now: now, &actions)
            return true
        case .duplicate:
            acknowledge(&streams, now: now, &actions)
            return false
        case .gap:
            actions.append(.abort(SignalingFailure("a message of the server is missing")))
            return false
        }
    }

    private func acknowledged(
        _ sequence: SequenceNumber, _ streams: inout SignalingStreams, _ actions: inout [Action]
    ) -> Bool {
        if streams.acknowledged(sequence) { return true }
        actions.append(.abort(SignalingFailure("the server acknowledged what was never sent")))
        return false
    }

    /// Acknowledges what came: with the next message, after a while, or at once when there is much of it.
    private mutating func acknowledge(
        _ streams: inout SignalingStreams, now: Timestamp, _ actions: inout [Action]
    ) {
        if streams.unacknowledged >= ackEvery {
            actions.append(.send(streams.takeAcknowledgement()))
        } else if ackDeadline == nil {
            let deadline = now + ackDelay
            ackDeadline = deadline
            actions.append(.scheduleTimer(.acknowledgement, at: deadline))
        }
    }

    // MARK: Time

    package mutating func timerFired(
        _ timer: TimerID, _ streams: inout SignalingStreams, now: Timestamp, _ actions: inout [Action]
    ) {
        switch timer {
        case .stability:
            guard let stableAt else { return }
            guard now >= stableAt else {
                actions.append(.scheduleTimer(.stability, at: stableAt))
                return
            }
            self.stableAt = nil
            actions.append(.reportStable)
        case .liveness: act(on: liveness.check(now: now), &streams, &actions)
        case .acknowledgement:
            guard let deadline = ackDeadline else { return }
            guard now >= deadline else {
                actions.append(.scheduleTimer(.acknowledgement, at: deadline))
                return
            }
            ackDeadline = nil
            if streams.unacknowledged > 0 { actions.append(.send(streams.takeAcknowledgement())) }
        }
    }

    /// Asks for a sign of life.
    mutating func probe(_ streams: inout SignalingStreams, now: Timestamp, _ actions: inout [Action]) {
        act(on: liveness.probe(now: now), &streams, &actions)
    }

    /// Asks for an answer, which comes behind all news that the server has sent before.
    mutating func catchUp(_ streams: inout SignalingStreams, now: Timestamp, _ actions: inout [Action]) {
        act(on: liveness.woke(now: now), &streams, &actions)
    }

    /// Before anything else: whether this process did not run for a while (stopped, starved) without having slept.
    mutating func checkLateness(_ streams: inout SignalingStreams, now: Timestamp, _ actions: inout [Action]) {
        if let verdict = liveness.checkLateness(now: now) { act(on: verdict, &streams, &actions) }
    }

    private func act(
        on verdict: Liveness.Verdict, _ streams: inout SignalingStreams, _ actions: inout [Action]
    ) {
        switch verdict {
        case .checkAt(let time): actions.append(.scheduleTimer(.liveness, at: time))
        case .ping(let id, let time):
            send([Envelope(.ping(id: id))], &streams, &actions)
            actions.append(.scheduleTimer(.liveness, at: time))
        case .dead: actions.append(.abort(SignalingFailure("the server has been silent for too long", cause: .silence)))
        }
    }
}
