import RoomProtocol
import RoomServerCore
import TransportValues
import WebSocketWire

/// A machine with virtual time and clients that remember what they were sent.
final class ServerHarness {
    struct Client {
        var connection: ConnectionID
        var inbox: [Envelope<ServerMessage>] = []
        /// Nil: open. A close code, or 0 for an abort.
        var closed: UInt16?
        var joined: Joined?
        var nextSequence: SequenceNumber = 1
        /// The highest number that came.
        var received: SequenceNumber = 0
    }

    var machine: RoomServerMachine
    var now = Timestamp(nanoseconds: 1_000_000_000)
    var clients: [String: Client] = [:]
    private var owners: [ConnectionID: String] = [:]
    private var lastConnection: UInt64 = 0
    let authority: TrustingAuthority
    private var limits: RoomServerLimits
    private let addresses: (any AddressAuthority)?
    var answersPings = true
    /// The marks that the machine has made.
    private(set) var marks: [Mark] = []

    struct Generator: RandomNumberGenerator, Sendable {
        var state: UInt64
        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state ^ state >> 29
        }
    }

    init(
        seed: UInt64 = 1, authority: TrustingAuthority = TrustingAuthority(),
        addresses: (any AddressAuthority)? = nil,
        _ configure: (inout RoomServerLimits) -> Void = { _ in }
    ) {
        var limits = RoomServerLimits()
        limits.grace = .seconds(30)
        configure(&limits)
        self.authority = authority
        self.limits = limits
        self.addresses = addresses
        machine = RoomServerMachine(
            limits: limits, authority: authority, random: Generator(state: seed), addresses: addresses)
        machine.makesMarks = true
    }

    /// A server with a room in which ann is the host; all have taken their messages.
    static func lobby(
        guests: [String] = ["bob"], authority: TrustingAuthority = TrustingAuthority(),
        _ configure: (inout RoomServerLimits) -> Void = { _ in }
    ) -> ServerHarness {
        let server = ServerHarness(authority: authority, configure)
        server.join("ann", .host)
        for guest in guests { server.join(guest) }
        server.forgetAll()
        return server
    }

    /// The server is killed and started again with nothing but its key, and its marks if it remembers them. Every
    /// connection ends.
    func restartServer(
        seed: UInt64 = 99, remembers: Bool = false, _ configure: (inout RoomServerLimits) -> Void = { _ in }
    ) {
        configure(&limits)
        machine = RoomServerMachine(
            limits: limits, authority: authority, random: Generator(state: seed), addresses: addresses)
        machine.makesMarks = true
        if remembers { machine.restore(marks, at: now) }
        for name in clients.keys where clients[name]?.closed == nil { clients[name]?.closed = 0 }
    }

    // MARK: Doing

    func open(_ name: String, from address: NetworkAddress? = nil) {
        lastConnection += 1
        let id = ConnectionID(lastConnection)
        owners[id] = name
        var client = Client(connection: id)
        client.joined = clients[name]?.joined
        client.nextSequence = clients[name]?.nextSequence ?? 1
        client.received = clients[name]?.received ?? 0
        clients[name] = client
        perform(machine.connected(id, from: address, at: now))
    }

    func say(
        _ message: ClientMessage, bytes: Int = 0, as name: String, sequence: SequenceNumber? = nil,
        ack: SequenceNumber? = nil
    ) {
        guard let client = clients[name], client.closed == nil else { return }
        let envelope = Envelope(sequence: sequence, ack: ack, message)
        perform(machine.received(envelope, bytes: bytes, from: client.connection, at: now))
    }

    /// A frame that is no message.
    func frame(from name: String) {
        guard let client = clients[name], client.closed == nil else { return }
        perform(machine.receivedFrame(from: client.connection, at: now))
    }

    /// Says a numbered message under the next number.
    func sayNumbered(_ message: ClientMessage, as name: String) {
        let sequence = clients[name]?.nextSequence ?? 1
        clients[name]?.nextSequence = sequence + 1
        say(message, as: name, sequence: sequence)
    }

    func join(
        _ name: String, _ role: Hello.Role = .guest, waits: Bool = false, room: String = "lobby",
        metadata: [String: String] = [:], token: String? = nil, from address: NetworkAddress? = nil
    ) {
        open(name, from: address)
        let hello = Hello(
            room: RoomName(room), role: role, waitsForRoom: waits, name: name, metadata: metadata, token: token,
            capabilities: [RoomAttributes.capability])
        say(.hello(hello), as: name)
    }

    func comeBack(
        _ name: String, role: Hello.Role = .guest, token: String? = nil, received: SequenceNumber? = nil,
        mustRejoin: Bool = false, attempt: UInt64 = 0, room: String = "lobby", from address: NetworkAddress? = nil
    ) {
        let token = token ?? clients[name]?.joined?.sessionToken ?? "none"
        let received = received ?? clients[name]?.received ?? 0
        open(name, from: address)
        var hello = Hello(
            room: RoomName(room), role: role, name: name, capabilities: [RoomAttributes.capability])
        hello.resume = Resume(sessionToken: token, received: received, mustRejoin: mustRejoin, attempt: attempt)
        say(.hello(hello), as: name)
    }

    func kick(_ name: String, by host: String) {
        let participant = joined(name)?.participant ?? ParticipantID("nobody")
        sayNumbered(.kick(participant, reason: ""), as: host)
    }

    /// The connection breaks, and the server notices.
    func drop(_ name: String) {
        guard let client = clients[name] else { return }
        clients[name]?.closed = 0
        perform(machine.disconnected(client.connection, at: now))
    }

    func pass(_ duration: Duration) {
        let end = now + duration
        while let next = machine.nextDeadline, next <= end {
            now = max(now, next)
            perform(machine.timePassed(to: now))
        }
        now = end
    }

    func perform(_ actions: [ServerAction]) {
        for action in actions {
            switch action {
            case .send(let envelope, let id):
                guard let name = owners[id], clients[name]?.connection == id, clients[name]?.closed == nil else {
                    continue
                }
                if case .ping(let ping) = envelope.message, answersPings {
                    perform(machine.received(Envelope(.pong(id: ping)), from: id, at: now))
                    continue
                }
                clients[name]?.inbox.append(envelope)
                if case .joined(let joined) = envelope.message {
                    clients[name]?.joined = joined
                    if !joined.isResumed {
                        clients[name]?.nextSequence = 1
                        clients[name]?.received = 0
                    }
                }
                if case .hostChanged(_, _, let token) = envelope.message { clients[name]?.joined?.sessionToken = token }
                if let sequence = envelope.sequence {
                    if let last = clients[name]?.received, last < sequence { clients[name]?.received = sequence }
                }
            case .close(let id, let code):
                if let name = owners[id], clients[name]?.connection == id { clients[name]?.closed = code.rawValue }
            case .abort(let id):
                if let name = owners[id], clients[name]?.connection == id { clients[name]?.closed = 0 }
            case .mark(let mark): marks.append(mark)
            }
        }
    }

    // MARK: Looking

    /// The messages since the last call.
    func take(_ name: String) -> [ServerMessage] {
        defer { clients[name]?.inbox = [] }
        return clients[name]?.inbox.map(\.message) ?? []
    }

    func forgetAll() { for name in clients.keys { clients[name]?.inbox = [] } }

    func joined(_ name: String) -> Joined? { clients[name]?.joined }

    func lastError(_ name: String) -> ProtocolError? {
        for message in take(name).reversed() { if case .error(let error) = message { return error } }
        return nil
    }

    func token(_ name: String) -> String { clients[name]?.joined?.sessionToken ?? "none" }

    var names: [String] { machine.participants(of: RoomName("lobby")).map(\.name) }
    var host: String? { machine.participants(of: RoomName("lobby")).first(where: \.isHost)?.name }

    func signal(to name: String, negotiation: NegotiationID = 1) -> ClientMessage {
        let joined = clients[name]?.joined
        return .signal(
            Signal(
                peer: joined?.participant ?? ParticipantID("nobody"), session: joined?.session ?? SessionID("none"),
                connection: PeerConnectionID("c"), negotiation: negotiation, body: .restartRequest(reason: "test")))
    }
}

extension ServerMessage {
    var signalNegotiation: NegotiationID? {
        if case .signal(let signal) = self { signal.negotiation } else { nil }
    }
    var hostTerm: HostTerm? { if case .hostChanged(_, let term, _) = self { term } else { nil } }
    var left: LeaveReason? { if case .peerLeft(_, _, let reason) = self { reason } else { nil } }
    var arrived: Participant? { if case .peerJoined(let participant) = self { participant } else { nil } }
    var changed: Participant? { if case .peerChanged(let participant) = self { participant } else { nil } }
}
