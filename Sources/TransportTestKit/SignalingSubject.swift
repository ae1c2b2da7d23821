internal import Glibc
public import TransportPluginAPI

/// A signaling transport under test, and how its tests find a server.
public struct SignalingSubject<Transport: SignalingTransport>: Sendable {
    /// Makes a transport; called for each clause.
    public var makeTransport: @Sendable () throws -> Transport
    /// What the plugin's descriptor declares. Clauses of undeclared capabilities are left out.
    public var capabilities: Capabilities
    /// The server's side, for a transport that speaks no WebSocket over TCP. Clauses about frames are left out then.
    public var startServer: (@Sendable (SignalingServerBehaviour) async throws -> any SignalingTestServer)?
    /// Puts something in front of the kit's server, which listens on this port of 127.0.0.1: a TLS terminator, for one.
    /// Called for each server.
    public var front: @Sendable (UInt16) async throws -> SignalingFront
    /// Bytes that each connection may leave behind in this process: more than a little only where the front runs in it and
    /// keeps some of its own.
    public var bytesPerConnection = 32

    /// A subject; see its properties.
    public init(
        capabilities: Capabilities,
        makeTransport: @escaping @Sendable () throws -> Transport,
        startServer: (@Sendable (SignalingServerBehaviour) async throws -> any SignalingTestServer)? = nil,
        front: @escaping @Sendable (UInt16) async throws -> SignalingFront = { port in
            SignalingFront(try SignalingEndpoint(url: "ws://127.0.0.1:\(port)/"))
        }
    ) {
        self.capabilities = capabilities
        self.makeTransport = makeTransport
        self.startServer = startServer
        self.front = front
    }
}

/// What clients connect to instead of the kit's server.
public struct SignalingFront: Sendable {
    /// Where clients connect.
    public let endpoint: SignalingEndpoint
    /// Called when the clause is over.
    public let stop: @Sendable () -> Void

    /// A front at this endpoint.
    public init(_ endpoint: SignalingEndpoint, stop: @escaping @Sendable () -> Void = {}) {
        self.endpoint = endpoint
        self.stop = stop
    }
}

/// What a test server does with each connection that it accepts.
public enum SignalingServerBehaviour: Sendable {
    /// Sends every message back.
    case echo
    /// Sends the numbers from 0, as text, then echoes.
    case numbers(Int)
    /// Waits for one message, sends it back, and closes so.
    case closes(SignalingClose)
    /// Waits for one message and ends without a close frame.
    case breaks
    /// Reads nothing before `resume()`, then echoes.
    case stalls
}

/// The server's side of a clause.
public protocol SignalingTestServer: Sendable {
    /// Where clients connect.
    var endpoint: SignalingEndpoint { get }
    /// Ends the stall.
    func resume()
    /// Ends everything. Idempotent.
    func stop()
}

/// The kit's own server behind the subject's front.
struct ScriptedTestServer: SignalingTestServer {
    let server: ScriptedWebSocketServer
    let front: SignalingFront
    var endpoint: SignalingEndpoint { front.endpoint }
    func resume() { server.gate.open() }
    func stop() {
        server.stop()
        front.stop()
    }
}

extension SignalingSubject {
    func start(_ behaviour: SignalingServerBehaviour) async throws -> any SignalingTestServer {
        if let startServer { return try await startServer(behaviour) }
        return try await start(receiveBuffer: 65_536) { connection in
            try connection.open()
            switch behaviour {
            case .echo: break
            case .numbers(let count):
                for number in 0..<count { try connection.send(text: String(number)) }
            case .closes(let close):
                if let message = try connection.readMessage() { try connection.send(message) }
                try connection.send(.close(close.code, close.reason))
            case .breaks:
                _ = try connection.readMessage()
                return connection.reset()
            case .stalls: connection.gate.pass()
            }
            try connection.echo(reporting: false)
        }
    }

    func start(
        receiveBuffer: Int32? = nil, _ script: @escaping ScriptedWebSocketServer.Script
    ) async throws -> ScriptedTestServer {
        let server = try ScriptedWebSocketServer(receiveBuffer: receiveBuffer, script)
        return ScriptedTestServer(server: server, front: try await front(server.port))
    }

    /// Runs `body` with one open connection to a server of this behaviour.
    func withConnection(
        _ behaviour: SignalingServerBehaviour, _ configure: @Sendable (inout SignalingEndpoint) -> Void = { _ in },
        _ body: @Sendable (Transport.Connection, any SignalingTestServer) async throws -> Void
    ) async throws {
        let server = try await start(behaviour)
        defer { server.stop() }
        let transport = try makeTransport()
        var endpoint = server.endpoint
        configure(&endpoint)
        do {
            try await body(try await transport.connect(to: endpoint), server)
        } catch {
            await transport.shutdown()
            throw error
        }
        await transport.shutdown()
    }

    /// Runs `client` with one open connection to a server that has answered the handshake and does what the script says.
    func withWire(
        maximumMessageSize: Int? = nil, _ script: @escaping ScriptedWebSocketServer.Script,
        client: @Sendable (Transport.Connection, ScriptedWebSocketServer) async throws -> Void
    ) async throws {
        try await withServer { connection in
            try connection.open()
            try script(connection)
        } client: { transport, endpoint, server in
            var endpoint = endpoint
            if let maximumMessageSize { endpoint.maximumMessageSize = maximumMessageSize }
            try await client(try await transport.connect(to: endpoint), server)
        }
    }

    /// Runs `client` with a server whose script does the handshake too.
    func withServer(
        _ script: @escaping ScriptedWebSocketServer.Script,
        client: @Sendable (Transport, SignalingEndpoint, ScriptedWebSocketServer) async throws -> Void
    ) async throws {
        let server = try await start(script)
        defer { server.stop() }
        let transport = try makeTransport()
        do {
            try await client(transport, server.endpoint, server.server)
        } catch {
            await transport.shutdown()
            throw error
        }
        await transport.shutdown()
    }
}

extension SignalingConnection {
    /// The next message as text, for clauses that expect one.
    func receiveText() async throws -> String {
        guard let message = try await receive() else {
            throw ConformanceFailure("receive() returned nil, not a message")
        }
        guard case .text(let payload) = message, let text = payload.utf8Text else {
            throw ConformanceFailure("a text message should have come, not \(message)")
        }
        return text
    }

    func send(text: String) async throws { try await send(.text(Payload(text))) }

    func expectEcho(_ message: SignalingMessage) async throws {
        try await send(message)
        let back = try await receive()
        try expect(back == message, "\(message.payload.count) bytes should have come back as they were sent")
    }
}
