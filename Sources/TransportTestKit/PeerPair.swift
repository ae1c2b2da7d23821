internal import TransportPluginAPI

/// One side of a pair: a connection on its loop, with a log of its events.
struct PeerSide<Connection: PeerConnection>: Sendable {
    let connection: Connection
    let loop: TransportLoop
    let log: PeerLog

    /// Runs `body` with the connection, on its loop.
    func on<Result: Sendable>(
        _ body: @escaping @Sendable (Connection) throws(TransportError) -> Result
    ) async throws(TransportError) -> Result {
        let connection = connection
        return try await loop.runThrowing { () throws(TransportError) in try body(connection) }
    }

    func send(_ payload: Payload, isText: Bool = false, on channel: ChannelID) async throws(TransportError) {
        try await on { connection throws(TransportError) in
            try payload.withUnsafeBytes { bytes throws(TransportError) in
                try connection.send(bytes, isText: isText, on: channel)
            }
        }
    }

    /// Sends like `send`. Returns false when there is no room.
    func trySend(_ payload: Payload, on channel: ChannelID) async throws -> Bool {
        do throws(TransportError) {
            try await send(payload, on: channel)
            return true
        } catch {
            guard error.code == .wouldBlock else { throw error }
            return false
        }
    }

    /// Sends like `send`, waiting for room.
    func sendWhenWritable(_ payload: Payload, on channel: ChannelID) async throws {
        var seen = log.now.writable.count
        while try await !trySend(payload, on: channel) {
            let last = seen
            try await eventually("channelWritable after wouldBlock") { log.now.writable.count > last }
            seen = log.now.writable.count
        }
    }

    /// Turns the delivery of a channel's messages on or off.
    func setReceiving(_ isReceiving: Bool, on channel: ChannelID) async throws(TransportError) {
        try await on { connection throws(TransportError) in connection.setReceiving(isReceiving, on: channel) }
    }

    func bufferedAmount(of channel: ChannelID) async throws(TransportError) -> Int {
        try await on { connection throws(TransportError) in connection.bufferedAmount(of: channel) }
    }

    func openChannel(_ label: String, _ change: @Sendable (inout ChannelParameters) -> Void = { _ in }) async throws
        -> ChannelID
    {
        var parameters = ChannelParameters(label: label)
        change(&parameters)
        let id = try await on { [parameters] connection throws(TransportError) in try connection.openChannel(parameters)
        }
        try await eventually("channel '\(label)' opening") { log.now.opened.contains { $0.id == id } }
        return id
    }

    /// Returns the channel with this label that the other side opened.
    func remoteChannel(_ label: String) async throws -> ChannelID {
        try await eventually("the other side's channel '\(label)'") { channel(label) != nil }
        return channel(label) ?? ChannelID(rawValue: -1)
    }

    private func channel(_ label: String) -> ChannelID? { log.now.opened.first { $0.parameters.label == label }?.id }

    func waitForConnected() async throws {
        try await eventually(within: .seconds(20), "the state connected") { log.now.states.last == .connected }
    }

    func close() async { await loop.run { [connection] in connection.close() } }
}

/// Two connections whose descriptions and candidates are passed to each other.
struct PeerPair<Transport: PeerTransport>: Sendable {
    let offerer: PeerSide<Transport.Connection>
    let answerer: PeerSide<Transport.Connection>
    let errors: Locked<[TransportError]>
    /// Everything that one side signals to the other passes through one of these.
    let fromOfferer: Valve
    let fromAnswerer: Valve
    /// The subject's `setPath` for this pair; nil when it has none.
    let setPath: (@Sendable (_ isUp: Bool) async -> Void)?
    /// Breaks the reference cycle of the two sides' logs.
    let unlink: @Sendable () -> Void
}

/// Passes descriptions and candidates on, or keeps them until it is opened again.
final class Valve: Sendable {
    /// The kept ones. Nil: the valve is open.
    private let kept = Locked<[@Sendable () -> Void]?>(nil)

    /// The number of descriptions and candidates that wait.
    var count: Int { kept.withLock { $0?.count ?? 0 } }

    func shut() { kept.withLock { $0 = $0 ?? [] } }

    func open() {
        let actions = kept.withLock { kept in
            defer { kept = nil }
            return kept ?? []
        }
        for action in actions { action() }
    }

    func pass(_ action: @escaping @Sendable () -> Void) {
        let isShut = kept.withLock { kept in
            kept?.append(action)
            return kept != nil
        }
        if !isShut { action() }
    }
}
