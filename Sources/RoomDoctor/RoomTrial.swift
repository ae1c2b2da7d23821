package import RoomConnection
package import TransportPluginAPI

/// Two participants in this process that join their own room, connect to each other, and exchange messages.
package struct RoomTrial: Sendable {
    private let configuration: RoomConfiguration
    private let registry: TransportRegistry
    private let room: String
    private let iceServers = Locked<[ICEServer]>([])

    /// The sizes of the messages in bytes: one packet, a size that every browser accepts, and one of many packets.
    package static let messageSizes = [100, 64 << 10, 1 << 20]
    private static let joinLimit = Duration.seconds(10)
    /// The limit for a pair to connect. A pair that does not come up reports the reason within 10 s.
    private static let connectLimit = Duration.seconds(12)
    private static let messageLimit = Duration.seconds(10)

    /// - Parameters:
    ///   - room: The room's name, as made by ``uniqueRoomName(named:)``.
    ///   - isRelayOnly: Whether only relayed paths are allowed.
    /// - Throws: `.invalidArgument` when the registry does not have the configuration's peer backend.
    package init(
        _ configuration: RoomConfiguration, registry: TransportRegistry, room: String, isRelayOnly: Bool
    ) throws(TransportError) {
        var configuration = configuration
        configuration.joinTimeout = Self.joinLimit
        configuration.icePolicy = isRelayOnly ? .relay : .all
        configuration.maximumMessageSize = max(configuration.maximumMessageSize, Self.messageSizes.max() ?? 0)
        configuration.sendLimit = max(configuration.sendLimit, configuration.maximumMessageSize)
        self.configuration = configuration
        self.room = room
        // The room server's ICE servers are recorded where they are used.
        let plugin = try registry.peerPlugin(named: configuration.peer.name)
        let seen = iceServers
        var watched = registry
        watched.register(
            PeerPlugin(plugin.descriptor) { context throws(TransportError) in
                func watch(_ transport: some PeerTransport) -> any PeerTransport {
                    WatchedTransport(base: transport, iceServers: seen)
                }
                return watch(try plugin.make(context))
            })
        self.registry = watched
    }

    /// Returns the name of a room that nobody else is in.
    package static func uniqueRoomName(named name: String) -> String {
        let letters = Array("abcdefghijkmnpqrstuvwxyz23456789")
        return "\(name)-\(String((0..<8).map { _ in letters.randomElement() ?? "a" }))"
    }

    /// Runs the trial. Ends within a minute, whatever happens.
    package func run() async -> TrialRecord {
        let record = Locked(TrialRecord(room: room, isRelayOnly: configuration.icePolicy == .relay))
        do {
            try await TransportRuntime.withRunning(configuration, registry: registry) { runtime in
                let start = Timestamp.now()
                let first = try await runtime.connect(toRoom: room, as: "doctor-1", host: true)
                let second = try await runtime.connect(toRoom: room, as: "doctor-2")
                record.withLock { $0.joinTime = .now() - start }
                if await connect(first, second, record) { await talk(first, second, record) }
                async let leaving: Void = first.leave(within: .seconds(1))
                await second.leave(within: .seconds(1))
                await leaving
            }
        } catch {
            let failure = error as? RoomError ?? RoomError(.unavailable, "\(error)")
            record.withLock { $0.failure = failure }
        }
        var result = record.withLock { $0 }
        result.iceServers = iceServers.withLock { $0 }
        return result
    }

    /// Returns whether both are connected.
    private func connect(_ first: Room, _ second: Room, _ record: Locked<TrialRecord>) async -> Bool {
        let start = Timestamp.now()
        let isConnected = await finishes(within: Self.connectLimit) {
            await withTaskGroup(of: Void.self) { group in
                for room in [first, second] { group.addTask { await connection(of: room, record) } }
            }
        }
        guard isConnected, record.withLock({ $0.failure == nil }) else { return false }
        record.withLock { $0.connectTime = .now() - start }
        return true
    }

    /// Returns when `room` is connected to the other participant, or has ended.
    private func connection(of room: Room, _ record: Locked<TrialRecord>) async {
        for await event in room.events {
            switch event {
            case .peer(_, .connected(let path)): return record.withLock { $0.path = path ?? $0.path }
            case .stalled(_, let stall): record.withLock { $0.stall = stall }
            case .left(let reason):
                guard let error = reason.error else { return }
                return record.withLock { $0.failure = error }
            default: continue
            }
        }
    }

    private func talk(_ first: Room, _ second: Room, _ record: Locked<TrialRecord>) async {
        for size in Self.messageSizes {
            let payload = Payload((0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ size) })
            let start = Timestamp.now()
            let isThrough = await finishes(within: Self.messageLimit) {
                async let back: Void = send(payload, from: second, to: first)
                await send(payload, from: first, to: second)
                await back
            }
            let exchange = TrialRecord.Exchange(size: size, time: isThrough ? .now() - start : nil)
            record.withLock { $0.exchanges.append(exchange) }
            guard isThrough else { return }
        }
    }

    /// Returns when `payload` has arrived.
    private func send(_ payload: Payload, from sender: Room, to receiver: Room) async {
        async let sending = try? await sender.send(payload)
        for await message in receiver.messages() where message.payload == payload { break }
        _ = await sending
    }
}

/// Returns whether `body` ends by itself within `limit`. Otherwise it is cancelled.
private func finishes(within limit: Duration, _ body: @escaping @Sendable () async -> Void) async -> Bool {
    await withTaskGroup(of: Bool.self) { group in
        group.addTask {
            await body()
            return !Task.isCancelled
        }
        group.addTask {
            try? await Task.sleep(for: limit)
            return false
        }
        defer { group.cancelAll() }
        return await group.next() ?? false
    }
}

/// Records the ICE servers of each connection.
private struct WatchedTransport<Base: PeerTransport>: PeerTransport {
    let base: Base
    let iceServers: Locked<[ICEServer]>
    var loop: TransportLoop { base.loop }

    func makeConnection(
        _ configuration: PeerConnectionConfiguration, handler: any PeerConnectionHandler
    ) throws(TransportError) -> Base.Connection {
        iceServers.withLock { servers in
            for server in configuration.iceServers where !servers.contains(where: { $0.urls == server.urls }) {
                servers.append(server)
            }
        }
        return try base.makeConnection(configuration, handler: handler)
    }

    nonisolated(nonsending) func shutdown() async { await base.shutdown() }
}
