package import RoomProtocol
internal import RoomValues
package import TransportValues

extension SignalingMachine {
    /// Says something to the server: now, or as soon as there is a connection. Numbered, and kept until acknowledged.
    package mutating func send(
        _ message: ClientMessage, now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        guard !isClosed else { return }
        if !outgoing.append(message) {
            // Nothing is acknowledged, or nobody has come back for long: what was negotiated meanwhile is worth nothing
            // any more.
            let before = outgoing.count
            mustRejoin = true
            outgoing.restart()
            if case .kick = message { _ = outgoing.append(message) }
            actions.append(.overflow(dropped: before + 1 - outgoing.count))
            if case .connected = state {
                abortAndRetry(
                    SignalingFailure("the server acknowledges nothing"), now: now, using: &generator, &actions)
            }
            return
        }
        guard case .connected(let connected) = state else { return }
        for envelope in outgoing.takeUnsent() { transmit(envelope, connected.generation, &actions) }
    }

    /// Takes back what was not sent yet.
    package mutating func removeUnsentSignals(where isSuperseded: (Signal) -> Bool) {
        outgoing.removeUnsentSignals(where: isSuperseded)
    }

    package mutating func received(
        _ envelope: Envelope<ServerMessage>, _ generation: ConnectionGeneration, now: Timestamp,
        using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        guard generation == currentGeneration else { return }
        checkLateness(now: now, using: &generator, &actions)
        switch state {
        case .idle, .waiting, .fetching, .opening, .closed: return
        case .greeting(let greeting):
            receivedGreeting(envelope.message, greeting, now: now, using: &generator, &actions)
        case .connected(let connected): receivedConnected(envelope, connected, now: now, using: &generator, &actions)
        }
    }

    package mutating func receivedMalformed(
        _ error: ProtocolError, _ generation: ConnectionGeneration, now: Timestamp,
        using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        guard generation == currentGeneration else { return }
        if error.code == .versionMismatch {
            actions.append(.deliver(.error(error), isReplayed: false))
        } else if !error.isFatal, case .connected(let connected) = state {
            // From a newer server, or over a limit of ours: counted, so that it is not sent again for ever, and passed
            // over.
            _ = arrived(sequence: error.sequence, connected, now: now, using: &generator, &actions)
        } else {
            // What it said is lost, and its number with it.
            mustRejoin = true
            abortAndRetry(SignalingFailure(error), now: now, using: &generator, &actions)
        }
    }

    private mutating func receivedGreeting(
        _ message: ServerMessage, _ greeting: Greeting, now: Timestamp, using generator: inout SeededGenerator,
        _ actions: inout [Action]
    ) {
        if let patience = greeting.waiting { wait(patience, greeting, now: now, &actions) }
        switch message {
        case .waiting(let interval, let deadline):
            wait(interval + deadline, greeting, now: now, &actions)
            cause = .waitingForRoom
            changeStatus(.connecting(attempt: attempt, nextAttemptAt: nil, cause: cause), &actions)
        case .joined(let joined): enter(joined, greeting, now: now, using: &generator, &actions)
        case .error: actions.append(.deliver(message, isReplayed: false))
        case .goingAway(let window): goAway(window, now: now, using: &generator, &actions)
        case .ping(let id): actions.append(.send(Envelope(.pong(id: id)), greeting.generation))
        case .pong, .ack, .iceServers, .peerJoined, .peerLeft, .peerChanged, .hostChanged, .roomChanged, .signal:
            break
        }
    }

    /// The room does not exist yet: the server says something before `patience` is over, or is gone.
    private mutating func wait(
        _ patience: Duration, _ greeting: Greeting, now: Timestamp, _ actions: inout [Action]
    ) {
        var greeting = greeting
        greeting.waiting = patience
        greeting.startedAt = now
        greeting.deadline = now + patience
        state = .greeting(greeting)
        actions.append(.scheduleTimer(.attempt, at: greeting.deadline))
    }

    private mutating func enter(
        _ joined: Joined, _ greeting: Greeting, now: Timestamp, using generator: inout SeededGenerator,
        _ actions: inout [Action]
    ) {
        let toSend: [Envelope<ClientMessage>]
        if joined.isResumed {
            guard !mustRejoin, hasBeenConnected, let again = outgoing.resume(received: joined.received) else {
                mustRejoin = true
                abortAndRetry(
                    SignalingFailure("the server resumed at another place of the stream"), now: now, using: &generator,
                    &actions)
                return
            }
            toSend = again
        } else {
            incoming.restart()
            outgoing.restart()
            toSend = outgoing.takeUnsent()
        }
        mustRejoin = false
        hasBeenConnected = true
        credential.accepted()
        cause = nil
        let liveness = Liveness(
            interval: joined.pingInterval, deadline: joined.pingDeadline, probeDeadline: configuration.probeDeadline,
            tolerance: configuration.timerTolerance, now: now)
        let stableAt = now + configuration.backoff.stableAfter
        state = .connected(
            Connected(
                generation: greeting.generation, session: joined.session,
                replayedUpTo: joined.isResumed ? joined.sent ?? 0 : 0, stableAt: stableAt, liveness: liveness))
        actions += [
            .cancelTimer(.attempt), .scheduleTimer(.stability, at: stableAt),
            .scheduleTimer(.liveness, at: liveness.nextCheck),
        ]
        changeStatus(.connected, &actions)
        for envelope in toSend { transmit(envelope, greeting.generation, &actions) }
        actions.append(.deliver(.joined(joined), isReplayed: false))
    }

    private mutating func receivedConnected(
        _ envelope: Envelope<ServerMessage>, _ connected: Connected, now: Timestamp,
        using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        if let ack = envelope.ack, !acknowledged(ack, now: now, using: &generator, &actions) { return }
        guard arrived(sequence: envelope.sequence, connected, now: now, using: &generator, &actions) else { return }
        switch envelope.message {
        case .ack(let received): _ = acknowledged(received, now: now, using: &generator, &actions)
        case .ping(let id): transmit(Envelope(.pong(id: id)), connected.generation, &actions)
        case .pong(let id):
            // As `arrived` has left it.
            guard case .connected(var connected) = state else { return }
            connected.liveness.pong(id: id)
            state = .connected(connected)
        case .joined, .waiting: break
        case .goingAway(let window): goAway(window, now: now, using: &generator, &actions)
        case .peerJoined, .peerLeft, .peerChanged, .hostChanged, .roomChanged, .signal, .iceServers, .error:
            let isReplayed = envelope.sequence.map { $0 <= connected.replayedUpTo } ?? false
            actions.append(.deliver(envelope.message, isReplayed: isReplayed))
        }
    }

    /// A message is a sign of life, and takes its place in the stream. False: it is not to be acted upon.
    private mutating func arrived(
        sequence: SequenceNumber?, _ connected: Connected, now: Timestamp, using generator: inout SeededGenerator,
        _ actions: inout [Action]
    ) -> Bool {
        var connected = connected
        if connected.liveness.evidence(now: now) {
            actions.append(.scheduleTimer(.liveness, at: connected.liveness.nextCheck))
        }
        state = .connected(connected)
        guard let sequence else { return true }
        switch incoming.take(sequence) {
        case .next:
            acknowledge(now: now, &actions)
            return true
        case .duplicate:
            acknowledge(now: now, &actions)
            return false
        case .gap:
            mustRejoin = true
            abortAndRetry(SignalingFailure("a message of the server is missing"), now: now, using: &generator, &actions)
            return false
        }
    }

    private mutating func acknowledged(
        _ sequence: SequenceNumber, now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]
    ) -> Bool {
        if outgoing.acknowledge(sequence) { return true }
        mustRejoin = true
        abortAndRetry(
            SignalingFailure("the server acknowledged what was never sent"), now: now, using: &generator, &actions)
        return false
    }

    /// The server ends in order: both sides know what the other has, so the connection is left at once.
    private mutating func goAway(
        _ window: RetryWindow, now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        if let generation = currentGeneration { actions.append(.closeTransport(generation, .goingAway)) }
        retry(
            SignalingFailure("the server is going away", retryAfter: window, cause: .serverGoingAway), now: now,
            using: &generator, &actions)
    }

    /// Acknowledges what came: with the next message, after a while, or at once when there is much of it.
    private mutating func acknowledge(now: Timestamp, _ actions: inout [Action]) {
        guard case .connected(var connected) = state else { return }
        if incoming.unacknowledged >= configuration.ackEvery {
            sendAck(connected.generation, &actions)
        } else if connected.ackDeadline == nil {
            let deadline = now + configuration.ackDelay
            connected.ackDeadline = deadline
            state = .connected(connected)
            actions.append(.scheduleTimer(.acknowledgement, at: deadline))
        }
    }

    private mutating func sendAck(_ generation: ConnectionGeneration, _ actions: inout [Action]) {
        incoming.acknowledge()
        actions.append(.send(Envelope(.ack(received: incoming.received)), generation))
    }

    /// Every message carries the acknowledgement.
    private mutating func transmit(
        _ envelope: Envelope<ClientMessage>, _ generation: ConnectionGeneration, _ actions: inout [Action]
    ) {
        var envelope = envelope
        if incoming.received > 0 { envelope.ack = incoming.received }
        incoming.acknowledge()
        actions.append(.send(envelope, generation))
    }

    // MARK: Time

    package mutating func timerFired(
        _ timer: TimerID, now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        switch timer {
        case .attempt: attemptTimerFired(now: now, using: &generator, &actions)
        case .stability:
            guard case .connected(var connected) = state, let stableAt = connected.stableAt else { return }
            guard isDue(.stability, at: stableAt, now: now, &actions) else { return }
            connected.stableAt = nil
            state = .connected(connected)
            backoff.stabilized()
            attempt = 0
        case .liveness:
            guard case .connected(var connected) = state else { return }
            let verdict = connected.liveness.check(now: now)
            state = .connected(connected)
            act(on: verdict, connected.generation, now: now, using: &generator, &actions)
        case .acknowledgement:
            guard case .connected(var connected) = state, let deadline = connected.ackDeadline else { return }
            guard isDue(.acknowledgement, at: deadline, now: now, &actions) else { return }
            connected.ackDeadline = nil
            state = .connected(connected)
            if incoming.unacknowledged > 0 { sendAck(connected.generation, &actions) }
        }
    }

    /// Returns whether a timer has fired in time; schedules one that was too early again.
    private func isDue(_ timer: TimerID, at deadline: Timestamp, now: Timestamp, _ actions: inout [Action]) -> Bool {
        if now < deadline { actions.append(.scheduleTimer(timer, at: deadline)) }
        return now >= deadline
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
        case .greeting(let greeting):
            if !notYet(greeting.deadline) {
                abortAndRetry(
                    SignalingFailure("the server did not answer the hello"), now: now, using: &generator, &actions)
            }
        }
    }

    private mutating func act(
        on verdict: Liveness.Verdict, _ generation: ConnectionGeneration, now: Timestamp,
        using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        switch verdict {
        case .checkAt(let time): actions.append(.scheduleTimer(.liveness, at: time))
        case .ping(let id, let time):
            transmit(Envelope(.ping(id: id)), generation, &actions)
            actions.append(.scheduleTimer(.liveness, at: time))
        case .dead:
            abortAndRetry(
                SignalingFailure("the server has been silent for too long", cause: .silence), now: now,
                using: &generator, &actions)
        }
    }

    /// There is reason to act now: asks for a sign of life, or tries at once instead of waiting.
    package mutating func probeOrRetry(
        now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        switch state {
        case .idle, .fetching, .closed: break
        case .waiting: beginAttempt(now: now, &actions)
        case .opening(let opening): renew(opening.generation, since: opening.startedAt, now: now, &actions)
        case .greeting(let greeting): renew(greeting.generation, since: greeting.startedAt, now: now, &actions)
        case .connected(var connected):
            let verdict = connected.liveness.probe(now: now)
            state = .connected(connected)
            act(on: verdict, connected.generation, now: now, using: &generator, &actions)
        }
    }

    /// Before anything else: whether this process did not run for a while (stopped, starved) without having slept.
    package mutating func checkLateness(
        now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        guard case .connected(var connected) = state, let verdict = connected.liveness.checkLateness(now: now) else {
            return
        }
        state = .connected(connected)
        act(on: verdict, connected.generation, now: now, using: &generator, &actions)
    }

    /// This machine has slept for so long. An open connection is asked for a sign of life, and has its time for it; an
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

    /// Asks an open connection for an answer, which comes behind all news that the server has told before.
    package mutating func catchUp(now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]) {
        guard case .connected(var connected) = state else { return }
        let verdict = connected.liveness.woke(now: now)
        state = .connected(connected)
        act(on: verdict, connected.generation, now: now, using: &generator, &actions)
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

    /// Somebody else has just reached the server: the next attempt is made now. Believed once a second, so that nobody
    /// can drive us.
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

    /// Another participant receives nothing from us, and we receive its messages: ours may get lost, to the server too.
    /// Believed once a second.
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
