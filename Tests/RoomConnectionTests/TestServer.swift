import InProcessTransport
import RoomProtocol
import RoomServerCore
import TransportPluginAPI

/// The room server's machine behind in-process connections, on a loop of its own.
///
/// SAFETY of `@unchecked Sendable`: all state is touched only on the loop; tasks that serve connections prefer it.
final class TestServer: @unchecked Sendable {
    private enum Outgoing: Sendable {
        case message(Envelope<ServerMessage>)
        case close(SignalingClose)
        case abort
    }

    let port: UInt16
    private let loop: TransportLoop
    private let listener: InProcessSignalingListener
    private var machine: RoomServerMachine
    private var connections: [ConnectionID: AsyncStream<Outgoing>.Continuation] = [:]
    private var lastConnection: UInt64 = 0
    private var timer: LoopTimer?
    private var runner: Task<Void, Never>?
    private var hasStopped = false

    init(
        on network: InProcessSignalingNetwork, port: UInt16? = nil, limits: RoomServerLimits = RoomServerLimits(),
        authority: any RoomAuthority = TrustingAuthority()
    ) throws {
        loop = try TransportLoop(name: "test-server")
        listener = try network.listen(port: port)
        self.port = listener.port
        machine = RoomServerMachine(
            limits: limits, authority: authority, random: SystemRandomNumberGenerator())
        runner = Task(executorPreference: loop.taskExecutor) { [self] in await serveAll() }
    }

    /// Ends like a process that is killed: connections break, and all state is lost.
    func kill() async {
        listener.close()
        await loop.run { [self] in
            hasStopped = true
            timer?.cancel()
            for connection in connections.values {
                connection.yield(.abort)
                connection.finish()
            }
            connections = [:]
        }
        await runner?.value
        await loop.shutdown()
    }

    private func serveAll() async {
        await withDiscardingTaskGroup { group in
            for await connection in listener { group.addTask { await self.serve(connection) } }
        }
    }

    private func serve(_ connection: InProcessSignalingConnection) async {
        guard !hasStopped else { return connection.abort() }
        lastConnection += 1
        let id = ConnectionID(lastConnection)
        let (outgoing, feed) = AsyncStream.makeStream(of: Outgoing.self)
        connections[id] = feed
        step { $0.connected(id, at: .now()) }
        await withDiscardingTaskGroup { group in
            group.addTask { await Self.write(outgoing, to: connection) }
            while let message = try? await connection.receive() {
                let bytes = message.payload.withUnsafeBytes { Array($0) }
                do throws(ProtocolError) {
                    let envelope = try RoomProtocolCodec.decodeClientMessage(bytes)
                    step { $0.received(envelope, from: id, at: .now()) }
                } catch {
                    step { $0.receivedInvalid(error, from: id, at: .now()) }
                }
            }
            feed.finish()
            if connections.removeValue(forKey: id) != nil { step { $0.disconnected(id, at: .now()) } }
        }
    }

    private static func write(_ outgoing: AsyncStream<Outgoing>, to connection: InProcessSignalingConnection) async {
        for await item in outgoing {
            switch item {
            case .message(let envelope):
                try? await connection.send(.text(Payload(RoomProtocolCodec.encode(envelope))))
            case .close(let reason): await connection.close(reason, within: .seconds(1))
            case .abort: connection.abort()
            }
        }
    }

    private func step(_ transition: (inout RoomServerMachine) -> [ServerAction]) {
        loop.preconditionIsCurrent()
        guard !hasStopped else { return }
        for action in transition(&machine) {
            switch action {
            case .send(let envelope, let id): connections[id]?.yield(.message(envelope))
            case .close(let id, let code):
                let feed = connections.removeValue(forKey: id)
                feed?.yield(.close(SignalingClose(code: code.rawValue)))
                feed?.finish()
            case .abort(let id):
                let feed = connections.removeValue(forKey: id)
                feed?.yield(.abort)
                feed?.finish()
            case .mark: break
            }
        }
        timer?.cancel()
        timer = machine.nextDeadline.map { deadline in
            loop.schedule(at: deadline) { [weak self] in self?.step { $0.timePassed(to: .now()) } }
        }
    }
}
