package import RoomProtocol
internal import RoomValues
package import TransportValues

extension SignalingMachine {
    /// Sends a message to the server, now or as soon as there is a connection. It is numbered, and kept until
    /// acknowledged.
    package mutating func send(
        _ message: ClientMessage, now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        guard !isClosed else { return }
        if let dropped = streams.append(message) {
            actions.append(.overflow(dropped: dropped))
            if isConnected {
                abortAndRetry(
                    SignalingFailure("the server acknowledges nothing"), now: now, using: &generator, &actions)
            }
            return
        }
        withConnection(now: now, using: &generator, &actions) { $0.send($1.takeUnsent(), &$1, &$2) }
    }

    /// Takes back what was not sent yet.
    package mutating func removeUnsentSignals(where isSuperseded: (Signal) -> Bool) {
        streams.removeUnsentSignals(where: isSuperseded)
    }

    package mutating func received(
        _ envelope: Envelope<ServerMessage>, _ generation: ConnectionGeneration, now: Timestamp,
        using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        guard generation == currentGeneration else { return }
        checkLateness(now: now, using: &generator, &actions)
        switch state {
        case .idle, .waiting, .fetching, .opening, .closed: return
        case .greeting(let attempt, let waiting):
            receivedGreeting(envelope.message, attempt, waiting: waiting, now: now, using: &generator, &actions)
        case .connected:
            withConnection(now: now, using: &generator, &actions) { $0.received(envelope, &$1, now: now, &$2) }
        }
    }

    package mutating func receivedMalformed(
        _ error: ProtocolError, _ generation: ConnectionGeneration, now: Timestamp,
        using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        guard generation == currentGeneration else { return }
        if error.code == .versionMismatch {
            actions.append(.deliver(.error(error), isReplayed: false))
        } else if !error.isFatal, isConnected {
            withConnection(now: now, using: &generator, &actions) {
                $0.receivedUnusable(error.sequence, &$1, now: now, &$2)
            }
        } else {
            // What it said is lost, and its number with it.
            streams.requireRejoin()
            abortAndRetry(SignalingFailure(error), now: now, using: &generator, &actions)
        }
    }

    private mutating func receivedGreeting(
        _ message: ServerMessage, _ attempt: Attempt, waiting: Duration?, now: Timestamp,
        using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        if let waiting { wait(waiting, attempt, now: now, &actions) }
        switch message {
        case .waiting(let interval, let deadline):
            wait(interval + deadline, attempt, now: now, &actions)
            cause = .waitingForRoom
            changeStatus(.connecting(attempt: self.attempt, nextAttemptAt: nil, cause: cause), &actions)
        case .joined(let joined): enter(joined, attempt, now: now, using: &generator, &actions)
        case .error: actions.append(.deliver(message, isReplayed: false))
        case .goingAway(let window): leaveInOrder(window, now: now, using: &generator, &actions)
        case .ping(let id): actions.append(.send(Envelope(.pong(id: id)), attempt.generation))
        case .pong, .ack, .iceServers, .peerJoined, .peerLeft, .peerChanged, .hostChanged, .roomChanged, .signal:
            break
        }
    }

    /// The room does not exist yet: the server says something before `patience` is over, or is gone.
    private mutating func wait(
        _ patience: Duration, _ attempt: Attempt, now: Timestamp, _ actions: inout [Action]
    ) {
        let deadline = now + patience
        state = .greeting(
            Attempt(generation: attempt.generation, startedAt: now, deadline: deadline), waiting: patience)
        actions.append(.scheduleTimer(.attempt, at: deadline))
    }

    private mutating func enter(
        _ joined: Joined, _ attempt: Attempt, now: Timestamp, using generator: inout SeededGenerator,
        _ actions: inout [Action]
    ) {
        guard let unsent = streams.begin(joined) else {
            abortAndRetry(
                SignalingFailure("the server resumed at another place of the stream"), now: now, using: &generator,
                &actions)
            return
        }
        credential.accepted()
        cause = nil
        actions.append(.cancelTimer(.attempt))
        var timers: [AdmittedConnection.Action] = []
        state = .connected(
            AdmittedConnection(attempt.generation, joined, configuration: configuration, now: now, &timers))
        withConnection(now: now, using: &generator, &actions) { $2 = timers }
        changeStatus(.connected, &actions)
        withConnection(now: now, using: &generator, &actions) { $0.send(unsent, &$1, &$2) }
        actions.append(.deliver(.joined(joined), isReplayed: false))
    }

    /// The server ends in order: both sides know what the other has, so the connection is left at once.
    mutating func leaveInOrder(
        _ window: RetryWindow, now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        if let generation = currentGeneration { actions.append(.closeTransport(generation, .goingAway)) }
        retry(
            SignalingFailure("the server is going away", retryAfter: window, cause: .serverGoingAway), now: now,
            using: &generator, &actions)
    }

    // MARK: Time

    package mutating func timerFired(
        _ timer: TimerID, now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        switch timer {
        case .attempt: attemptTimerFired(now: now, using: &generator, &actions)
        case .connection(let timer):
            withConnection(now: now, using: &generator, &actions) { $0.timerFired(timer, &$1, now: now, &$2) }
        }
    }

    private mutating func attemptTimerFired(
        now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        func notYet(_ deadline: Timestamp) -> Bool {
            guard now < deadline else { return false }
            actions.append(.scheduleTimer(.attempt, at: deadline))
            return true
        }
        switch state {
        case .idle, .connected, .closed: break
        case .fetching(let until):
            // What the provider says later is for the next attempt, or for the hello of this one.
            if let until, !notYet(until) { open(now: now, &actions) }
        case .waiting(let until): if !notYet(until) { beginAttempt(now: now, &actions) }
        case .opening(let opening):
            if !notYet(opening.deadline) {
                abortAndRetry(SignalingFailure("connecting took too long"), now: now, using: &generator, &actions)
            }
        case .greeting(let attempt, _):
            if !notYet(attempt.deadline) {
                abortAndRetry(
                    SignalingFailure("the server did not answer the hello"), now: now, using: &generator, &actions)
            }
        }
    }

    /// Probes an open connection, or makes the next attempt at once.
    package mutating func probeOrRetry(
        now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        switch state {
        case .idle, .fetching, .closed: break
        case .waiting: beginAttempt(now: now, &actions)
        case .opening(let attempt), .greeting(let attempt, _):
            renew(attempt.generation, since: attempt.startedAt, now: now, &actions)
        case .connected: withConnection(now: now, using: &generator, &actions) { $0.probe(&$1, now: now, &$2) }
        }
    }

    /// Before anything else: whether this process did not run for a while (stopped, starved) without having slept.
    package mutating func checkLateness(
        now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        withConnection(now: now, using: &generator, &actions) { $0.checkLateness(&$1, now: now, &$2) }
    }

    /// This machine has slept for `sleep`. An open connection is asked for a sign of life, and has its time for it; an
    /// attempt that was under way is made anew; a credential has aged.
    package mutating func woke(
        after sleep: Duration, now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        credential.woke(after: sleep)
        switch state {
        case .idle, .fetching, .closed: break
        case .waiting: beginAttempt(now: now, &actions)
        case .opening, .greeting:
            if let generation = currentGeneration { actions.append(.abortTransport(generation)) }
            beginAttempt(now: now, &actions)
        case .connected: catchUp(now: now, using: &generator, &actions)
        }
    }

    /// Asks an open connection for an answer, which comes behind all messages that the server has sent before.
    package mutating func catchUp(now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]) {
        withConnection(now: now, using: &generator, &actions) { $0.catchUp(&$1, now: now, &$2) }
    }

    /// As `probeOrRetry`. `isLost`: the connection leaves from an address that this machine does not have any more. It
    /// would be silent for ever.
    package mutating func networkChanged(
        isLost: Bool, now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        guard isLost, case .connected(let connected) = state else {
            return probeOrRetry(now: now, using: &generator, &actions)
        }
        actions.append(.abortTransport(connected.generation))
        leaveConnected(&actions)
        cause = SignalingFailure("the connection's local address is gone", cause: .networkChanged)
        changeStatus(.disconnected(cause: cause), &actions)
        attempt += 1
        beginAttempt(now: now, &actions)
    }

    /// Another participant has just reached the server: the next attempt is made now. At most once a second, so that
    /// no participant can dictate the pace.
    package mutating func serverIsBack(
        now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        if let lastHintAt, now - lastHintAt < .seconds(1) { return }
        switch state {
        case .waiting, .opening:
            lastHintAt = now
            probeOrRetry(now: now, using: &generator, &actions)
        case .idle, .fetching, .greeting, .connected, .closed: break
        }
    }

    /// Another participant receives nothing from this side, and this side receives its messages: what this side sends
    /// may get lost, to the server too. At most once a second.
    package mutating func unheard(now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]) {
        if let lastHintAt, now - lastHintAt < .seconds(1) { return }
        guard isConnected else { return }
        lastHintAt = now
        probeOrRetry(now: now, using: &generator, &actions)
    }

    /// An attempt that has been under way for a while may be bound to a network that is no more.
    private mutating func renew(
        _ generation: ConnectionGeneration, since: Timestamp, now: Timestamp, _ actions: inout [Action]
    ) {
        guard now - since > .milliseconds(500) else { return }
        actions.append(.abortTransport(generation))
        beginAttempt(now: now, &actions)
    }
}
