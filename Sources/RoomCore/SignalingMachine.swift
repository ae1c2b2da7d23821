package import RoomProtocol
package import RoomValues
package import TransportValues

/// Keeps one signaling connection: attempts, backoff and credentials, and a status that claims no more than the
/// evidence shows. An open connection decides for itself (`AdmittedConnection`). Knows nothing of rooms: it asks for
/// the `hello`, and passes on the messages of the server.
package struct SignalingMachine: Sendable {
    package enum Action: Sendable, Hashable {
        case openTransport(ConnectionGeneration)
        case abortTransport(ConnectionGeneration)
        case closeTransport(ConnectionGeneration, SignalingClose)
        case send(Envelope<ClientMessage>, ConnectionGeneration)
        case requestCredential(forced: Bool)
        case scheduleTimer(TimerID, at: Timestamp)
        case cancelTimer(TimerID)
        case changeStatus(SignalingStatus)
        /// Answered at once by `sendHello(_:)`. `attempt` counts the connections of this machine.
        case requestHello(token: String?, received: SequenceNumber, mustRejoin: Bool, attempt: UInt64)
        /// `isReplayed`: the roster of the `joined` before it is newer.
        case deliver(ServerMessage, isReplayed: Bool)
        /// Messages were dropped; a rejoin follows.
        case overflow(dropped: Int)
    }

    package enum TimerID: Sendable, Hashable {
        /// Backoff, attempt and hello timeouts.
        case attempt
        case connection(AdmittedConnection.TimerID)
    }

    enum State: Sendable {
        /// Nothing was begun. Can transition to: fetching, opening, closed.
        case idle
        /// Backoff. Can transition to: fetching, opening, closed.
        case waiting(until: Timestamp)
        /// A credential was asked for. `until`: when the attempt is made without it. Can transition to:
        /// opening, waiting, closed.
        case fetching(until: Timestamp?)
        /// The transport is connecting. Can transition to: greeting, waiting, fetching, closed.
        case opening(Attempt)
        /// `hello` was sent. `waiting`: the server keeps it until the room exists, and may be silent meanwhile for so
        /// long. Can transition to: connected, waiting, fetching, closed.
        case greeting(Attempt, waiting: Duration?)
        /// `joined` has come. Can transition to: waiting, fetching, opening, closed.
        case connected(AdmittedConnection)
        /// Final.
        case closed
    }
    struct Attempt: Sendable {
        var generation: ConnectionGeneration
        var startedAt: Timestamp
        var deadline: Timestamp
    }

    let configuration: SignalingConfiguration
    var state = State.idle
    var backoff: Backoff
    var credential: SignalingCredential
    var streams: SignalingStreams
    /// Empty between two calls; kept for its storage.
    private var connectionActions: [AdmittedConnection.Action] = []
    /// The last generation that was used.
    var generation: ConnectionGeneration = 0
    /// Attempts of this outage.
    var attempt = 0
    /// Why the last attempt or connection ended.
    var cause: SignalingFailure?
    var hasBeenConnected: Bool { streams.hasBegun }
    /// When a report of another participant about the server was last acted on.
    var lastHintAt: Timestamp?
    package private(set) var status = SignalingStatus.disconnected(cause: nil)

    package init(_ configuration: MachineConfiguration) {
        self.configuration = configuration.signaling
        backoff = Backoff(configuration.signaling.backoff)
        credential = SignalingCredential(
            token: configuration.token, hasProvider: configuration.hasCredentialProvider,
            margin: configuration.signaling.credentialMargin)
        streams = SignalingStreams(
            countLimit: configuration.signaling.queueLimit, byteLimit: configuration.signaling.queueByteLimit)
    }

    /// Whether what the server has said lately may still be unread: this process did not run for a while.
    package var isCatchingUp: Bool {
        if case .connected(let connected) = state { connected.isCatchingUp } else { false }
    }

    package var isConnected: Bool { if case .connected = state { true } else { false } }

    package var isClosed: Bool { if case .closed = state { true } else { false } }

    /// Messages that wait for the server's acknowledgement or for a connection.
    package var queuedMessages: Int { streams.queuedMessages }

    // MARK: Attempts

    package mutating func start(now: Timestamp, _ actions: inout [Action]) {
        guard case .idle = state else { return }
        attempt = 1
        beginAttempt(now: now, &actions)
    }

    /// Fetches a credential if one is needed, then opens a transport.
    mutating func beginAttempt(now: Timestamp, _ actions: inout [Action]) {
        changeStatus(.connecting(attempt: attempt, nextAttemptAt: nil, cause: cause), &actions)
        if credential.mustBeFetched(now: now) {
            credential.requested()
            // A participant that was in the room shows a session token: a provider that is slow or broken must not keep
            // it outside.
            let until = hasBeenConnected && !credential.isForcing ? now + configuration.credentialPatience : nil
            state = .fetching(until: until)
            if let until {
                actions.append(.scheduleTimer(.attempt, at: until))
            } else {
                actions.append(.cancelTimer(.attempt))
            }
            actions.append(.requestCredential(forced: credential.isForcing))
        } else {
            open(now: now, &actions)
        }
    }

    mutating func open(now: Timestamp, _ actions: inout [Action]) {
        generation += 1
        let deadline = now + configuration.attemptTimeout
        state = .opening(Attempt(generation: generation, startedAt: now, deadline: deadline))
        actions += [.openTransport(generation), .scheduleTimer(.attempt, at: deadline)]
    }

    package mutating func credentialReady(
        token: String?, expiresAt: Timestamp?, now: Timestamp, _ actions: inout [Action]
    ) {
        guard !isClosed else { return }
        credential.arrived(token, expiresAt: expiresAt, now: now)
        // One that is about to expire already is used nevertheless: the provider has no better one. It is asked again
        // before the next attempt.
        if case .fetching = state { open(now: now, &actions) }
    }

    package mutating func credentialFailed(
        _ failure: SignalingFailure, now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        guard case .fetching(let until) = state else { return }
        if !failure.isRetryable {
            close(.credentialFailed(failure), &actions)
        } else if until != nil {
            open(now: now, &actions)
        } else {
            retry(failure, now: now, using: &generator, &actions)
        }
    }

    package mutating func transportConnected(
        _ generation: ConnectionGeneration, now: Timestamp, _ actions: inout [Action]
    ) {
        guard case .opening(let opening) = state, opening.generation == generation else {
            // Late success of an attempt that was given up.
            if generation != currentGeneration { actions.append(.abortTransport(generation)) }
            return
        }
        let deadline = now + configuration.helloTimeout
        state = .greeting(Attempt(generation: generation, startedAt: now, deadline: deadline), waiting: nil)
        actions += [
            .scheduleTimer(.attempt, at: deadline),
            .requestHello(
                token: credential.token, received: streams.received, mustRejoin: streams.mustRejoin, attempt: generation
            ),
        ]
    }

    /// Sends the `hello` that was asked for.
    package mutating func sendHello(_ hello: Hello, _ actions: inout [Action]) {
        guard case .greeting(let attempt, _) = state else { return }
        actions.append(.send(Envelope(.hello(hello)), attempt.generation))
    }

    package mutating func transportFailed(
        _ generation: ConnectionGeneration, _ failure: SignalingFailure, now: Timestamp,
        using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        guard case .opening(let opening) = state, opening.generation == generation else { return }
        // For a participant that was let in before, a 403 is not final: it may be of something on the way (a proxy, a
        // portal).
        if failure.status == 401 || (failure.status == 403 && !hasBeenConnected) {
            if !refreshCredential(failure, now: now, using: &generator, &actions) { close(.refused(failure), &actions) }
        } else if failure.isRetryable || hasBeenConnected {
            retry(failure, now: now, using: &generator, &actions)
        } else {
            close(.refused(failure), &actions)
        }
    }

    package mutating func transportClosed(
        _ generation: ConnectionGeneration, _ failure: SignalingFailure?, now: Timestamp,
        using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        guard generation == currentGeneration else { return }
        retry(failure ?? SignalingFailure("the server closed the connection"), now: now, using: &generator, &actions)
    }

    // MARK: Ends

    /// Ends the connection or attempt, and waits for the next one. The transport is gone, or was aborted.
    package mutating func retry(
        _ failure: SignalingFailure, now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        guard !isClosed else { return }
        leaveConnected(&actions)
        cause = failure
        changeStatus(.disconnected(cause: failure), &actions)
        guard var delay = backoff.nextDelay(now: now, using: &generator) else {
            close(.gaveUp(failure), &actions)
            return
        }
        attempt += 1
        if let window = failure.retryAfter {
            let earliest = min(max(window.lowerBound, .zero), .seconds(3600))
            delay =
                earliest + generator.duration(upTo: min(max(window.upperBound, earliest), .seconds(3600)) - earliest)
        }
        let until = now + delay
        state = .waiting(until: until)
        changeStatus(.connecting(attempt: attempt, nextAttemptAt: until, cause: failure), &actions)
        actions.append(.scheduleTimer(.attempt, at: until))
    }

    /// As `retry`, for a transport that may still be open: it is ended without a close handshake.
    package mutating func abortAndRetry(
        _ failure: SignalingFailure, now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        if let generation = currentGeneration { actions.append(.abortTransport(generation)) }
        retry(failure, now: now, using: &generator, &actions)
    }

    /// Asks the provider for a new credential and tries again: at once, and behind a backoff when that was done not
    /// long ago. False, and nothing done, when another one would not help.
    package mutating func refreshCredential(
        _ failure: SignalingFailure, now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]
    ) -> Bool {
        guard !isClosed else { return false }
        switch credential.refused(isTooOld: failure.code == .tokenExpired, now: now) {
        case .useless: return false
        case .later:
            abortAndRetry(failure, now: now, using: &generator, &actions)
            return true
        case .atOnce: break
        }
        if let generation = currentGeneration { actions.append(.abortTransport(generation)) }
        leaveConnected(&actions)
        cause = failure
        attempt += 1
        beginAttempt(now: now, &actions)
        return true
    }

    /// Drops the place in both streams: the next `hello` asks for a rejoin.
    package mutating func requireRejoin() { streams.requireRejoin() }

    /// Comes back over a new connection, for what only a `joined` brings.
    package mutating func reconnectInOrder(now: Timestamp, _ actions: inout [Action]) {
        guard case .connected(let connected) = state else { return }
        actions.append(.closeTransport(connected.generation, .normal))
        leaveConnected(&actions)
        cause = nil
        attempt += 1
        beginAttempt(now: now, &actions)
    }

    package mutating func leave(_ actions: inout [Action]) {
        switch state {
        case .connected(let connected): actions.append(.send(Envelope(.leave), connected.generation))
        // Behind the `hello`, which the server may take.
        case .greeting(let attempt, _): actions.append(.send(Envelope(.leave), attempt.generation))
        case .idle, .waiting, .fetching, .opening, .closed: break
        }
        close(.left, &actions)
    }

    package mutating func close(_ reason: EndReason, _ actions: inout [Action]) {
        switch state {
        case .closed: return
        case .idle, .waiting, .fetching: break
        case .opening(let opening): actions.append(.abortTransport(opening.generation))
        case .greeting(let attempt, _): actions.append(.closeTransport(attempt.generation, .normal))
        case .connected(let connected): actions.append(.closeTransport(connected.generation, .normal))
        }
        leaveConnected(&actions)
        actions.append(.cancelTimer(.attempt))
        state = .closed
        changeStatus(.closed(reason), &actions)
    }

    // MARK: Small parts

    /// The generation of the transport that is opening or open.
    var currentGeneration: ConnectionGeneration? {
        switch state {
        case .idle, .waiting, .fetching, .closed: nil
        case .opening(let attempt), .greeting(let attempt, _): attempt.generation
        case .connected(let connected): connected.generation
        }
    }

    func leaveConnected(_ actions: inout [Action]) {
        guard case .connected = state else { return }
        for timer in AdmittedConnection.TimerID.allCases { actions.append(.cancelTimer(.connection(timer))) }
    }

    /// Lets the connection decide, where there is one, and carries out what it has decided.
    mutating func withConnection(
        now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action],
        _ body: (inout AdmittedConnection, inout SignalingStreams, inout [AdmittedConnection.Action]) -> Void
    ) {
        guard case .connected(var connection) = state else { return }
        var decisions: [AdmittedConnection.Action] = []
        swap(&decisions, &connectionActions)
        body(&connection, &streams, &decisions)
        state = .connected(connection)
        for decision in decisions {
            switch decision {
            case .send(let envelope): actions.append(.send(envelope, connection.generation))
            case .scheduleTimer(let timer, let time): actions.append(.scheduleTimer(.connection(timer), at: time))
            case .deliver(let message, let isReplayed): actions.append(.deliver(message, isReplayed: isReplayed))
            case .reportStable:
                backoff.stabilized()
                attempt = 0
            case .leave(let window): leaveInOrder(window, now: now, using: &generator, &actions)
            case .abort(let failure): abortAndRetry(failure, now: now, using: &generator, &actions)
            }
        }
        decisions.removeAll(keepingCapacity: true)
        swap(&decisions, &connectionActions)
    }

    mutating func changeStatus(_ new: SignalingStatus, _ actions: inout [Action]) {
        guard new != status else { return }
        status = new
        actions.append(.changeStatus(new))
    }
}
