import InProcessTransport
import RoomProtocol
import RoomServerCore
import Testing
import TransportPluginAPI
import TransportTestKit

@testable import RoomConnection

/// The networks of one process and a server: everything that a room needs, without a socket.
final class World: Sendable {
    let signaling = InProcessSignalingNetwork()
    let loop: TransportLoop
    let peers: InProcessPeerNetwork
    private let server: Locked<TestServer>
    let port: UInt16

    private init(_ limits: RoomServerLimits, _ authority: any RoomAuthority) throws {
        loop = try TransportLoop(name: "test-peers")
        peers = InProcessPeerNetwork(loop: loop)
        let first = try TestServer(on: signaling, limits: limits, authority: authority)
        server = Locked(first)
        port = first.port
    }

    static func run(
        limits: RoomServerLimits = RoomServerLimits(), authority: any RoomAuthority = TrustingAuthority(),
        _ body: (World) async throws -> Void
    ) async throws {
        let world = try World(limits, authority)
        do { try await body(world) } catch {
            await world.end()
            throw error
        }
        await world.end()
    }

    func killServer() async { await server.withLock { $0 }.kill() }

    /// Starts a new server at the old one's address, without its state.
    func startServer(limits: RoomServerLimits = RoomServerLimits()) throws {
        let new = try TestServer(on: signaling, port: port, limits: limits)
        server.withLock { $0 = new }
    }

    private func end() async {
        await killServer()
        await loop.shutdown()
    }

    var configuration: RoomConfiguration {
        get throws {
            var configuration = try RoomConfiguration(server: "ws://localhost:\(port)/")
            configuration.signaling = "in-process"
            configuration.peer = "in-process"
            configuration.joinTimeout = .seconds(10)
            return configuration
        }
    }

    func registry(_ faults: SignalingFaultControl) -> TransportRegistry {
        var registry = TransportRegistry()
        let network = signaling
        let descriptor = PluginDescriptor(name: "in-process", summary: "no network, with faults", capabilities: [])
        registry.register(
            SignalingPlugin(descriptor) { _ in
                FaultInjectingSignalingTransport(InProcessSignalingTransport(network: network), control: faults)
            })
        registry.register(InProcessPeerTransport.plugin(network: peers))
        return registry
    }

    /// Runs `body` with a member of the room `lab` whose events and reliable messages are recorded.
    func member(
        _ name: String, host: HostRole = .guest, reads: Bool = true,
        _ change: (inout RoomConfiguration) -> Void = { _ in },
        _ body: (Member) async throws -> Void
    ) async throws {
        var configuration = try configuration
        change(&configuration)
        let faults = SignalingFaultControl()
        try await TransportRuntime.withRunning(configuration, registry: registry(faults)) { runtime in
            let room = try await runtime.connect(toRoom: "lab", as: name, host: host)
            let member = Member(room: room, faults: faults)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { for await event in room.events { member.events.append(event) } }
                if reads { group.addTask { await member.read() } }
                do { try await body(member) } catch {
                    await room.leave(within: .zero)
                    throw error
                }
                await room.leave(within: .seconds(1))
                try await group.waitForAll()
            }
        }
    }

    /// Runs `body` with two members that are connected to each other.
    func pair(
        _ change: (inout RoomConfiguration) -> Void = { _ in }, bobReads: Bool = true,
        _ body: (_ alice: Member, _ bob: Member) async throws -> Void
    ) async throws {
        try await member("alice", host: true, change) { alice in
            try await member("bob", reads: bobReads, change) { bob in
                try await alice.waitUntilConnected()
                try await bob.waitUntilConnected()
                try await body(alice, bob)
            }
        }
    }
}

/// A member of a room.
final class Member: Sendable {
    let room: Room
    let faults: SignalingFaultControl
    let events = Journal<RoomEvent>()
    let messages = Journal<RoomMessage>()

    init(room: Room, faults: SignalingFaultControl) {
        self.room = room
        self.faults = faults
    }

    func read() async { for await message in room.messages() { messages.append(message) } }

    func waitUntilConnected(to count: Int = 1) async throws {
        try await events.wait("connected to \(count)") { Self.connected($0).count == count }
    }

    /// The participants whose last status is `connected`.
    static func connected(_ events: [RoomEvent]) -> Set<ParticipantID> {
        var connected: Set<ParticipantID> = []
        for event in events {
            switch event {
            case .peer(let id, .connected): connected.insert(id)
            case .peer(let id, _): connected.remove(id)
            case .peerLeft(let participant, _): connected.remove(participant.id)
            default: break
            }
        }
        return connected
    }

    static func joins(_ events: [RoomEvent]) -> [RoomMembership] {
        events.compactMap { if case .joined(let membership) = $0 { membership } else { nil } }
    }

    static func left(_ events: [RoomEvent]) -> Int {
        events.count { if case .peerLeft = $0 { true } else { false } }
    }
}
