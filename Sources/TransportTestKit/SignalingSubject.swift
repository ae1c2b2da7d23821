internal import Glibc
public import TransportPluginAPI

/// A signaling transport under test, and the server for its tests.
public struct SignalingSubject<Transport: SignalingTransport>: Sendable {
    /// Makes a transport. Called for each clause.
    public var makeTransport: @Sendable () throws -> Transport
    /// The capabilities that the plugin's descriptor declares. Clauses of undeclared capabilities are left out.
    public var capabilities: Capabilities
    /// Starts the server's side, for a transport that speaks no WebSocket over TCP. Clauses about frames are then left
    /// out.
    public var startServer: (@Sendable (SignalingServerBehaviour) async throws -> any SignalingTestServer)?
    /// Puts something in front of the kit's server, which listens on this port of 127.0.0.1, such as a TLS terminator.
    /// Called for each server.
    public var front: @Sendable (UInt16) async throws -> SignalingFront
    /// The number of bytes that each connection may leave behind in this process. Raise it only where the front runs in
    /// this process and keeps memory of its own.
    public var bytesPerConnection = 32
    /// Makes an endpoint where an attempt to connect gets no answer, not even a refusal, for as long as the clause
    /// runs. Called for each clause that needs one; `stop` is called when the clause ends. For a transport over TCP,
    /// use ``SignalingFront/silentTCP()``. Nil when connecting never waits; the clauses about waiting are then left
    /// out. With the kit's own server there is always one.
    public var silentEndpoint: (@Sendable () async throws -> SignalingFront)?
    /// Whether a transport with its own server resolves the endpoint's host as a name. Those that speak WebSocket
    /// always do.
    public var resolvesNames = false
    /// Whether the headers and subprotocols of an endpoint reach the other side, for a transport with its own server. A
    /// transport that does not carry them must refuse them.
    public var carriesHeaders = false
    /// Starts a server that sends these messages to each connection, unchecked, and then echoes; for a transport with
    /// its own server. The messages include texts that are not UTF-8 and messages over the client's maximum. Nil:
    /// clauses about such messages are left out.
    public var startUncheckedServer: (@Sendable ([SignalingMessage]) async throws -> any SignalingTestServer)?

    /// Creates a subject; see its properties.
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

    /// Creates a subject with the capabilities of a plugin.
    public init(_ plugin: SignalingPlugin, makeTransport: @escaping @Sendable () throws -> Transport) {
        self.init(capabilities: plugin.descriptor.capabilities, makeTransport: makeTransport)
    }
}

/// The endpoint that clients connect to instead of the kit's server.
public struct SignalingFront: Sendable {
    /// The endpoint.
    public let endpoint: SignalingEndpoint
    /// Called when the clause ends.
    public let stop: @Sendable () -> Void

    /// Creates a front at this endpoint.
    public init(_ endpoint: SignalingEndpoint, stop: @escaping @Sendable () -> Void = {}) {
        self.endpoint = endpoint
        self.stop = stop
    }
}

extension SignalingFront {
    /// Returns a port of 127.0.0.1 that answers nothing, not even TCP's SYN: the ``SignalingSubject/silentEndpoint`` of
    /// transports over TCP.
    public static func silentTCP() throws -> SignalingFront {
        let blackHole = try BlackHole()
        return SignalingFront(try SignalingEndpoint(url: "ws://127.0.0.1:\(blackHole.port)/")) {
            // Keeps the port until the clause ends.
            withExtendedLifetime(blackHole) {}
        }
    }
}

/// The behaviour of a test server towards each connection that it accepts.
///
/// Over TCP, the SO_RCVBUF of its sockets should be small (64 KiB, set on the listening socket), and so should the
/// amount that it reads ahead: the server's side must stop accepting bytes soon while nobody reads.
public enum SignalingServerBehaviour: Sendable {
    /// Sends every message back.
    case echo
    /// Sends the numbers from 0, as text, then echoes.
    case numbers(Int)
    /// Waits for one message, sends it back, and closes with this code and reason.
    case close(SignalingClose)
    /// Waits for one message, and ends without a close frame.
    case reset
    /// Takes nothing but what its buffers hold until `resume()` is called, then echoes.
    case stall

    /// Behaves so on a connection to a client, until the client ends it. For servers that can use a transport's own
    /// connections.
    ///
    /// - Parameters:
    ///   - connection: The connection to the client.
    ///   - gate: Ends with `resume()`.
    public func perform(on connection: some SignalingConnection, until gate: AsyncStream<Void>) async throws {
        switch self {
        case .echo: break
        case .numbers(let count):
            for number in 0..<count { try await connection.send(.text(Payload(String(number)))) }
        case .close(let close):
            if let message = try await connection.receive() { try await connection.send(message) }
            return await connection.close(close, within: .seconds(1))
        case .reset:
            _ = try await connection.receive()
            return connection.abort()
        case .stall: for await _ in gate {}
        }
        while let message = try await connection.receive() { try await connection.send(message) }
    }
}

/// The server's side of a clause.
public protocol SignalingTestServer: Sendable {
    /// The endpoint that clients connect to.
    var endpoint: SignalingEndpoint { get }
    /// Ends the stall.
    func resume()
    /// Ends everything. When it returns, connecting is refused; open connections may end a little later. Idempotent.
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
            case .close(let close):
                if let message = try connection.readMessage() { try connection.send(message) }
                try connection.send(.close(close.code, close.reason))
            case .reset:
                _ = try connection.readMessage()
                return connection.reset()
            case .stall: connection.gate.wait()
            }
            try connection.echo(reporting: false)
        }
    }

    /// Starts a server that sends these messages to each connection as they are, and then echoes.
    func startUnchecked(_ messages: [SignalingMessage]) async throws -> any SignalingTestServer {
        if let startUncheckedServer { return try await startUncheckedServer(messages) }
        return try await start { connection in
            try connection.open()
            for message in messages {
                try connection.send(
                    WebSocketFrame(opcode: message.opcode, payload: message.payload.withUnsafeBytes { Array($0) }))
            }
            try connection.echo(reporting: false)
        }
    }

    /// Returns the subject's silent endpoint, or the kit's own black hole in place of the subject's front.
    func makeSilentEndpoint() async throws -> SignalingFront {
        if let silentEndpoint { return try await silentEndpoint() }
        let blackHole = try BlackHole()
        let front = try await front(blackHole.port)
        front.stop()
        var endpoint = front.endpoint
        if endpoint.proxy != nil {
            endpoint.proxy = SignalingEndpoint.Proxy(host: "127.0.0.1", port: blackHole.port)
        } else {
            endpoint.host = "127.0.0.1"
            endpoint.port = blackHole.port
        }
        return SignalingFront(endpoint) { withExtendedLifetime(blackHole) {} }
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
        try await withConnection(to: try await start(behaviour), configure, body)
    }

    /// Runs `body` with one open connection to this server, and stops the server.
    func withConnection(
        to server: any SignalingTestServer, _ configure: @Sendable (inout SignalingEndpoint) -> Void = { _ in },
        _ body: @Sendable (Transport.Connection, any SignalingTestServer) async throws -> Void
    ) async throws {
        defer { server.stop() }
        let transport = try makeTransport()
        var endpoint = server.endpoint
        configure(&endpoint)
        do {
            try await body(try await transport.connect(to: endpoint), server)
        } catch {
            try? await shutDown(transport)
            throw error
        }
        try await shutDown(transport)
    }

    /// Runs `client` with one open connection to a server that has answered the handshake and runs the script.
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

    /// Runs `client` with a server whose script performs the handshake too.
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
            try? await shutDown(transport)
            throw error
        }
        try await shutDown(transport)
    }
}

extension SignalingConnection {
    /// Returns the next message, which must be a text.
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
