internal import Logging
internal import NetworkMonitor
internal import RoomProtocol
public import TransportPluginAPI

/// The running transports: the only source of rooms.
///
/// `withRunning` makes the chosen backends and starts their loops *before* it calls its body, so that connecting before
/// the runtime is ready does not compile. When the body returns or throws, the runtime leaves the rooms that are still
/// connected and releases everything.
///
/// ```swift
/// try await TransportRuntime.withRunning(configuration, registry: registry) { runtime in
///     let room = try await runtime.connect(toRoom: "lobby", as: "alice", host: true)
///     try await room.send("hello")
/// }
/// ```
public final class TransportRuntime: Sendable {
    private struct State {
        var monitor: NetworkMonitor?
        var rooms: [ObjectIdentifier: Room] = [:]
        var isStopping = false
    }

    private let configuration: RoomConfiguration
    private let signaling: any SignalingTransport
    private let peer: any PeerTransport
    private let peerCapabilities: Capabilities
    private let state = Locked(State())

    private init(
        configuration: RoomConfiguration, signaling: any SignalingTransport, peer: any PeerTransport,
        peerCapabilities: Capabilities
    ) {
        self.configuration = configuration
        self.signaling = signaling
        self.peer = peer
        self.peerCapabilities = peerCapabilities
    }

    /// Starts the backends that the configuration names, runs `body`, and stops the backends.
    ///
    /// Throws `RoomError` `.configuration` (unknown backend, bad option) or `.unavailable` (a backend cannot run on
    /// this machine; the message names the package to install) before `body` is called, and whatever `body` throws.
    public nonisolated(nonsending) static func withRunning<Result>(
        _ configuration: RoomConfiguration, registry: TransportRegistry,
        _ body: nonisolated(nonsending) (TransportRuntime) async throws -> Result
    ) async throws -> Result {
        let runtime = try await start(configuration, registry)
        await runtime.watchNetwork()
        do {
            let result = try await body(runtime)
            await runtime.stop()
            return result
        } catch {
            await runtime.stop()
            throw error
        }
    }

    /// Joins a room: the one entry for hosts and guests.
    ///
    /// - Parameters:
    ///   - name: The room's name: 1 to 128 bytes of UTF-8, without control, bidirectional and invisible characters.
    ///   - participant: The name to show to others, unique in the room. The rules for the room's name apply.
    ///   - host: `true` creates the room as its host, `false` joins a room that exists; `.awaited` joins it as soon as
    ///     it exists, and `.ifFirst` creates the room or joins it.
    ///   - metadata: Shown to the others: at most 16 entries, keys of 64 bytes, values of 1024, 4096 in all.
    /// - Returns: The joined room. From here on it recovers from outages without end, until `leave()` or a terminal
    ///   refusal.
    /// - Throws: `RoomError` `.refused` with the server's code (`room_not_found`, `name_taken`, …), `.timedOut` when
    ///   the server could not be reached within the configuration's `joinTimeout` (waiting for the room does not
    ///   count), `.cancelled`, `.left` when the runtime is stopping.
    public nonisolated(nonsending) func connect(
        toRoom name: String, as participant: String, host: HostRole = .guest, metadata: [String: String] = [:]
    ) async throws(RoomError) -> Room {
        let room = try makeRoom(name: name, participant: participant, host: host, metadata: metadata)
        do throws(RoomError) {
            await start(room)
            try await room.join(within: configuration.joinTimeout)
        } catch {
            await room.abandon()
            throw error
        }
        return room
    }

    /// Joins a room like `connect`, but returns at once: watch `room.events` for the join and for refusals. For
    /// programs that show the progress of the first connection.
    public nonisolated(nonsending) func open(
        room name: String, as participant: String, host: HostRole = .guest, metadata: [String: String] = [:]
    ) async throws(RoomError) -> Room {
        let room = try makeRoom(name: name, participant: participant, host: host, metadata: metadata)
        await start(room)
        return room
    }

    private func makeRoom(
        name: String, participant: String, host: HostRole, metadata: [String: String]
    ) throws(RoomError) -> Room {
        let hello = Hello(
            room: RoomName(name), role: host.role, waitsForRoom: host == .awaited, name: participant,
            metadata: metadata,
            capabilities: [
                DeliveryProtocol.capability, ExchangeProtocol.capability, RoomAttributes.capability,
                DeliveryProtocol.messageLimitCapability(configuration.maximumMessageSize),
            ])
        // The registry's existentials are opened here, once per room: everything below is generic or concrete.
        func make<Signaling: SignalingTransport, Peer: PeerTransport>(_ signaling: Signaling, _ peer: Peer) -> Room {
            Room(
                name: name,
                RoomConnectionService(
                    hello: hello, configuration: configuration, signaling: signaling, peer: peer,
                    peerCapabilities: peerCapabilities))
        }
        let room = make(signaling, peer)
        let isStopping = state.withLock { state in
            if !state.isStopping { state.rooms[ObjectIdentifier(room)] = room }
            return state.isStopping
        }
        if isStopping { throw RoomError(.left, "the runtime is stopping: no more rooms can be joined") }
        return room
    }

    /// Notifies the rooms of changes to this machine's network and of sleep, so that they need not wait for silence.
    private nonisolated(nonsending) func watchNetwork() async {
        let loop = peer.loop
        await loop.run { [self] in
            let monitor = NetworkMonitor(on: loop) { [weak self] _ in
                guard let self else { return }
                let rooms = state.withLock { Array($0.rooms.values) }
                // An address that is no reason to look may still carry a connection: a container's bridge, a link-local
                // address.
                let addresses = NetworkSnapshot.usableAddresses()
                for room in rooms { room.networkChanged(addresses: addresses) }
            } onWake: { [weak self] sleep in
                guard let self else { return }
                configuration.logger.debug("this machine has slept", metadata: ["seconds": "\(sleep.inSeconds)"])
                let rooms = state.withLock { Array($0.rooms.values) }
                for room in rooms { room.woke(after: sleep) }
            }
            monitor.start()
            state.withLock { $0.monitor = monitor }
        }
    }

    /// Starts a room, which is forgotten when it has ended: left, refused, or closed.
    private nonisolated(nonsending) func start(_ room: Room) async {
        let id = ObjectIdentifier(room)
        await room.start { [weak self] in self?.state.withLock { _ = $0.rooms.removeValue(forKey: id) } }
    }

    /// The rooms that have not ended.
    var rooms: [Room] { state.withLock { Array($0.rooms.values) } }

    private static func start(
        _ configuration: RoomConfiguration, _ registry: TransportRegistry
    ) async throws(RoomError) -> TransportRuntime {
        try configuration.validate()
        do throws(TransportError) {
            let signalingPlugin = try registry.signalingPlugin(named: configuration.signaling.name)
            let peerPlugin = try registry.peerPlugin(named: configuration.peer.name)
            for (descriptor, backend) in [
                (signalingPlugin.descriptor, configuration.signaling), (peerPlugin.descriptor, configuration.peer),
            ] {
                try descriptor.validate(backend.options)
            }
            let signaling = try signalingPlugin.make(
                PluginContext(options: configuration.signaling.options, logger: configuration.logger))
            do throws(TransportError) {
                let peer = try peerPlugin.make(
                    PluginContext(options: configuration.peer.options, logger: configuration.logger))
                return TransportRuntime(
                    configuration: configuration, signaling: signaling, peer: peer,
                    peerCapabilities: peerPlugin.descriptor.capabilities)
            } catch {
                await signaling.shutdown()
                throw error
            }
        } catch {
            throw RoomError(error.code == .unavailable ? .unavailable : .configuration, error.message)
        }
    }

    private nonisolated(nonsending) func stop() async {
        let rooms = state.withLock { state -> [Room] in
            state.isStopping = true
            defer { state.rooms = [:] }
            return Array(state.rooms.values)
        }
        await withDiscardingTaskGroup { group in
            for room in rooms { group.addTask { await room.leave(within: .seconds(1)) } }
        }
        await peer.loop.run { [self] in state.withLock { $0.monitor }?.stop() }
        await signaling.shutdown()
        await peer.shutdown()
    }
}

extension PluginDescriptor {
    /// Throws when the backend cannot run here, or when it does not know an option.
    fileprivate func validate(_ options: [String: OptionValue]) throws(TransportError) {
        if let reason = unavailability() {
            throw TransportError(.unavailable, "the backend '\(name)' cannot run on this machine: \(reason)")
        }
        let known = self.options.map(\.name)
        if let unknown = options.keys.sorted().first(where: { !known.contains($0) }) {
            let list = known.isEmpty ? "it has none" : "it has \(known.joined(separator: ", "))"
            throw TransportError(
                .invalidArgument, "the backend '\(name)' has no option '\(unknown.prefix(64))': \(list)")
        }
    }
}
