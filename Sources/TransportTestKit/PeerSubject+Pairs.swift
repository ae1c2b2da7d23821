internal import TransportPluginAPI

extension PeerSubject {
    /// Runs `body` with two connections, not yet negotiated.
    func withPair(
        keepsMessages: Bool = true,
        _ configure: @Sendable (inout PeerConnectionConfiguration) -> Void = { _ in },
        _ body: @Sendable (PeerPair<Transport>) async throws -> Void
    ) async throws {
        let (left, right) = try await makeTransports()
        do {
            try await withPair(left, right, keepsMessages: keepsMessages, configure, body)
        } catch {
            await end(left, right)
            throw error
        }
        await end(left, right)
    }

    /// Runs `body` with two connections of transports that stay open afterwards.
    func withPair(
        _ left: Transport, _ right: Transport, keepsMessages: Bool = true,
        _ configure: @Sendable (inout PeerConnectionConfiguration) -> Void = { _ in },
        _ body: @Sendable (PeerPair<Transport>) async throws -> Void
    ) async throws {
        var configuration = configuration
        configure(&configuration)
        let pair = try await makePair(left, right, configuration, keepsMessages)
        defer { pair.unlink() }
        try await body(pair)
        let errors = pair.errors.withLock { $0 }
        try expect(errors.isEmpty, "passing descriptions and candidates to the other side threw \(errors)")
        await pair.offerer.close()
        await pair.answerer.close()
        for side in [pair.offerer, pair.answerer] {
            try await eventually("the event closed") { side.log.now.hasClosed }
            await side.loop.run {}
            try expect(side.log.now.eventsAfterClose == 0, "closed must be the last event")
        }
    }

    func end(_ left: Transport, _ right: Transport) async {
        await left.shutdown()
        await right.shutdown()
        await tearDown(left, right)
    }

    /// Runs `body` with two connections that are connected.
    func withConnected(
        keepsMessages: Bool = true,
        _ configure: @Sendable (inout PeerConnectionConfiguration) -> Void = { _ in },
        _ body: @Sendable (PeerPair<Transport>) async throws -> Void
    ) async throws {
        try await withPair(keepsMessages: keepsMessages, configure) { pair in
            try await pair.offerer.on { connection throws(TransportError) in try connection.offer() }
            try await pair.offerer.waitForConnected()
            try await pair.answerer.waitForConnected()
            try await body(pair)
        }
    }

    /// Runs `body` with two connections and a channel of the offerer.
    ///
    /// - Parameter highWaterMark: The `sendHighWaterMark` of both, in bytes. Nil: the subject's.
    func withChannel(
        keepsMessages: Bool = true, highWaterMark: Int? = nil,
        _ body: @Sendable (_ pair: PeerPair<Transport>, _ channel: ChannelID) async throws -> Void
    ) async throws {
        try await withConnected(keepsMessages: keepsMessages) {
            if let highWaterMark { $0.sendHighWaterMark = highWaterMark }
        } _: { pair in
            try await body(pair, try await pair.offerer.openChannel("a"))
        }
    }

    /// Runs `body` with a channel of the offerer whose messages the answerer does not read.
    func withUnreadChannel(
        keepsMessages: Bool = true, highWaterMark: Int,
        _ body: @Sendable (_ pair: PeerPair<Transport>, _ channel: ChannelID, _ remote: ChannelID) async throws -> Void
    ) async throws {
        try await withChannel(keepsMessages: keepsMessages, highWaterMark: highWaterMark) { pair, channel in
            let remote = try await pair.answerer.remoteChannel("a")
            try await pair.answerer.setReceiving(false, on: remote)
            try await body(pair, channel, remote)
        }
    }

    private func makePair(
        _ left: Transport, _ right: Transport, _ configuration: PeerConnectionConfiguration, _ keepsMessages: Bool
    ) async throws -> PeerPair<Transport> {
        let errors = Locked<[TransportError]>([])
        let offererBox = Locked<PeerSide<Transport.Connection>?>(nil)
        let answererBox = Locked<PeerSide<Transport.Connection>?>(nil)
        let fromOfferer = Valve()
        let fromAnswerer = Valve()
        @Sendable func pass(_ event: PeerConnectionEvent, to connection: Transport.Connection) {
            do throws(TransportError) {
                switch event {
                case .localDescription(let description): try connection.setRemoteDescription(description)
                case .localCandidate(let candidate): try connection.addRemoteCandidate(candidate)
                case .endOfLocalCandidates(let fragment):
                    try connection.addRemoteCandidate(PeerCandidate(text: "", usernameFragment: fragment))
                default: break
                }
            } catch {
                // A description or candidate may arrive after the other side has closed.
                if error.code != .closed { errors.withLock { $0.append(error) } }
            }
        }
        func makeSide(
            _ transport: Transport, _ valve: Valve, to other: Locked<PeerSide<Transport.Connection>?>
        ) async throws -> PeerSide<Transport.Connection> {
            let log = PeerLog(keepsMessages: keepsMessages) { event in
                guard event.isForTheOtherSide else { return }
                valve.pass {
                    guard let other = other.withLock({ $0 }) else { return }
                    other.loop.execute { [connection = other.connection] in pass(event, to: connection) }
                }
            }
            let loop = transport.loop
            let connection = try await loop.runThrowing { () throws(TransportError) in
                try transport.makeConnection(configuration, handler: log)
            }
            return PeerSide(connection: connection, loop: loop, log: log)
        }
        let offerer = try await makeSide(left, fromOfferer, to: answererBox)
        let answerer = try await makeSide(right, fromAnswerer, to: offererBox)
        offererBox.withLock { $0 = offerer }
        answererBox.withLock { $0 = answerer }
        let setPath = setPath.map { setPath in { @Sendable isUp in await setPath(isUp, left, right) } }
        return PeerPair(
            offerer: offerer, answerer: answerer, errors: errors, fromOfferer: fromOfferer, fromAnswerer: fromAnswerer,
            setPath: setPath
        ) {
            offererBox.withLock { $0 = nil }
            answererBox.withLock { $0 = nil }
        }
    }
}

extension PeerConnectionEvent {
    fileprivate var isForTheOtherSide: Bool {
        switch self {
        case .localDescription, .localCandidate, .endOfLocalCandidates: true
        default: false
        }
    }
}
