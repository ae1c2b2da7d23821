internal import Glibc
internal import TransportPluginAPI
internal import WebSocketWire

/// A tiny WebSocket server on 127.0.0.1 that does exactly as a script says, right or wrong.
///
/// One thread accepts, one thread per connection runs the script with blocking reads and writes, each with a deadline.
// SAFETY: mutable state is behind `state`; descriptors are closed by the thread that uses them.
final class ScriptedWebSocketServer: @unchecked Sendable {
    typealias Script = @Sendable (ScriptedConnection) throws -> Void

    private struct State {
        var isStopped = false
        var running: [ObjectIdentifier: ScriptedConnection] = [:]
        var threads = 0
    }
    private let state = Locked(State())
    private let listener: LoopbackListener
    var port: UInt16 { listener.port }
    private let script: Script
    let events = ServerEvents()
    let gate = Gate()

    /// - Parameter receiveBuffer: bytes of the sockets' SO_RCVBUF; small, so that back-pressure shows early.
    init(receiveBuffer: Int32? = nil, _ script: @escaping Script) throws {
        self.script = script
        listener = try LoopbackListener(backlog: 256, receiveBuffer: receiveBuffer)
        _ = DetachedThread.start { self.listener.acceptAll(self.serve) }
    }

    /// Ends all scripts. Idempotent.
    func stop() {
        let running = state.withLock { state in
            guard !state.isStopped else { return [ScriptedConnection]() }
            state.isStopped = true
            return Array(state.running.values)
        }
        listener.stop()
        for connection in running { connection.interrupt() }
        gate.open()
        events.finish()
    }

    private func serve(_ descriptor: Int32) {
        let connection = ScriptedConnection(descriptor, events: events, gate: gate)
        let isStopped = state.withLock { state in
            if !state.isStopped { state.running[ObjectIdentifier(connection)] = connection }
            return state.isStopped
        }
        guard !isStopped else { return connection.close() }
        _ = DetachedThread.start {
            do { try self.script(connection) } catch { connection.report("failed: \(error)") }
            _ = self.state.withLock { $0.running.removeValue(forKey: ObjectIdentifier(connection)) }
            connection.close()
        }
    }
}

/// The reports of scripts to the clause, in order.
final class ServerEvents: Sendable {
    private let buffer = MessageBuffer(limit: 64 << 20)

    func report(_ event: String) { _ = buffer.appendNow(.text(Payload(event))) }
    func finish() { buffer.finish() }

    func next(within limit: Duration = .seconds(10)) async throws -> String {
        try await TransportTestKit.within(limit, "the server's next report") { [buffer] in
            guard let event = try await buffer.next() else { throw ConformanceFailure("the server ended") }
            return event.payload.utf8Text ?? ""
        }
    }

    func expect(_ expected: String) async throws {
        let event = try await next()
        try TransportTestKit.expect(event == expected, "the server should have reported '\(expected)', not '\(event)'")
    }
}

/// A gate that blocks threads until it is opened, and stays open.
final class Gate: @unchecked Sendable {
    // SAFETY: `isOpen` is touched only with `mutex` held.
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var isOpen = false

    init() {
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(condition, nil)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    func open() {
        pthread_mutex_lock(mutex)
        isOpen = true
        pthread_cond_broadcast(condition)
        pthread_mutex_unlock(mutex)
    }

    /// Blocks the thread.
    func wait() {
        pthread_mutex_lock(mutex)
        while !isOpen { pthread_cond_wait(condition, mutex) }
        pthread_mutex_unlock(mutex)
    }
}

/// The server's end of one connection. Everything blocks the script's thread, for 20 s at most.
// SAFETY: used by the script's thread only, `interrupt` and `report` excepted, which touch nothing mutable but `state`.
final class ScriptedConnection: @unchecked Sendable {
    private let state: Locked<Int32>
    private let descriptor: Int32
    private let events: ServerEvents
    let gate: Gate
    private var input: [UInt8] = []
    private var consumed = 0
    private var parser = ScriptedConnection.parser()

    init(_ descriptor: Int32, events: ServerEvents, gate: Gate) {
        self.descriptor = descriptor
        self.events = events
        self.gate = gate
        state = Locked(descriptor)
        var limit = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        var on: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, 4)
    }

    private static func parser() -> FrameParser { FrameParser(framesFrom: .client, maximumMessageSize: 1 << 30) }

    func report(_ event: String) { events.report(event) }

    // MARK: Handshake

    func readRequest() throws -> RequestHead {
        // Path and headers may have more together than a server need take.
        var buffer = HTTPHeadBuffer<RequestHead>(limit: 65_536)
        while true {
            let head = try input.withUnsafeBytes { bytes in
                var rest = UnsafeRawBufferPointer(rebasing: bytes[consumed...])
                defer { consumed = bytes.count - rest.count }
                do throws(HTTPHeadFailure) { return try buffer.take(&rest) } catch {
                    throw ConformanceFailure("the client's request is malformed")
                }
            }
            if let head {
                guard head.method == "GET" else { throw ConformanceFailure("the client's request is no GET") }
                return head
            }
            input = []
            consumed = 0
            guard try fill() else { throw ConformanceFailure("no request came") }
        }
    }

    /// Answers 101, with `accept` instead of the right proof when it is given.
    func open(_ request: RequestHead, accept: String? = nil, headers: [String] = []) throws {
        guard let proof = accept ?? request.accept else { throw ConformanceFailure("the client sent no key") }
        let lines =
            ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
            + ["Sec-WebSocket-Accept: \(proof)"] + headers
        try write(Array((lines.joined(separator: "\r\n") + "\r\n\r\n").utf8))
    }

    @discardableResult
    func open() throws -> RequestHead {
        let request = try readRequest()
        try open(request)
        return request
    }

    func answer(status: String, headers: [String] = []) throws {
        let lines = ["HTTP/1.1 \(status)"] + headers + ["Content-Length: 0", "Connection: close", "", ""]
        try write(Array(lines.joined(separator: "\r\n").utf8))
        finishWriting()
        try drain()
    }

    // MARK: Frames

    func send(_ frames: WebSocketFrame...) throws { try write(frames.flatMap(\.bytes)) }

    func send(text: String) throws { try send(WebSocketFrame(opcode: .text, payload: Array(text.utf8))) }

    /// Returns the next whole message or control frame, or nil when the client ended the TCP connection, also by a
    /// reset.
    func readMessage() throws -> WebSocketFrame? {
        while true {
            if let message = try takeMessage() { return message }
            input = []
            consumed = 0
            guard try fill() else { return nil }
        }
    }

    private func takeMessage() throws -> WebSocketFrame? {
        try input.withUnsafeBytes { bytes in
            var rest = UnsafeRawBufferPointer(rebasing: bytes[consumed...])
            defer { consumed = bytes.count - rest.count }
            while true {
                let event: FrameParser.Event?
                do throws(FrameViolation) { event = try parser.next(&rest) } catch {
                    throw ConformanceFailure("the client sent \(error) (RFC 6455 §5)")
                }
                switch event {
                case nil: return nil
                case .fragment: continue
                case .message(let message):
                    return WebSocketFrame(opcode: message.isText ? .text : .binary, payload: message.array())
                case .ping(let payload): return WebSocketFrame(opcode: .ping, payload: payload)
                case .pong(let payload): return WebSocketFrame(opcode: .pong, payload: payload)
                case .close(let reason):
                    // Whatever a client sends after its close frame is to be seen as well.
                    parser = Self.parser()
                    return WebSocketFrame(opcode: .close, payload: reason.payload)
                }
            }
        }
    }

    /// Sends messages back, answers pings and the close frame, and returns when the connection ends. Unless `reporting`
    /// is false, reports the close frame as `close <code> <reason>`, and the end as `end`.
    func echo(reporting: Bool = true) throws {
        while let message = try readMessage() {
            switch message.opcode {
            case .ping: try send(WebSocketFrame(opcode: .pong, payload: message.payload))
            case .pong: break
            case .close:
                if reporting { report("close \(message.closeCode ?? 1005) \(message.closeReason)") }
                try? send(message)
                finishWriting()
            default: try send(message)
            }
        }
        if reporting { report("end") }
    }

    /// Reads and discards until the client ends the connection.
    func drain() throws {
        input = []
        consumed = 0
        while try fill() {
            input = []
        }
    }

    // MARK: The socket

    func write(_ bytes: [UInt8]) throws {
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                Glibc.send(
                    descriptor, buffer.baseAddress! + written, bytes.count - written, Int32(MSG_NOSIGNAL))
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw ConformanceFailure("writing to the client failed: errno \(errno)") }
            written += count
        }
    }

    /// Sends FIN.
    func finishWriting() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// Sends RST.
    func reset() {
        var linger = Glibc.linger(l_onoff: 1, l_linger: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<Glibc.linger>.size))
        close()
    }

    func close() {
        let descriptor = state.withLock { state in
            defer { state = -1 }
            return state
        }
        if descriptor >= 0 { Glibc.close(descriptor) }
    }

    /// Makes blocking calls return. Called from another thread.
    func interrupt() {
        state.withLock { descriptor in
            if descriptor >= 0 { _ = shutdown(descriptor, Int32(SHUT_RDWR)) }
        }
    }

    private func fill() throws -> Bool {
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = recv(descriptor, &chunk, chunk.count, 0)
            if count > 0 {
                input += chunk[..<count]
                return true
            }
            if count == 0 || errno == ECONNRESET || errno == EPIPE || errno == EBADF { return false }
            if errno != EINTR { throw ConformanceFailure("reading from the client failed: errno \(errno)") }
        }
    }
}

extension RequestHead {
    /// The first value of the header (in lower case).
    func header(_ name: String) -> String? { fields.values(name).first }

    /// The proof that the server has read the key (RFC 6455 §4.2.2).
    var accept: String? { header("sec-websocket-key").map(HandshakeKey.accept) }
}
