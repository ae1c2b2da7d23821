import Glibc
import Testing
import TransportPluginAPI

@testable import SignalingFoundation
@testable import TransportToolbox

@Suite struct FoundationConnections {
    private func withConnection(
        _ configure: (inout SignalingEndpoint) -> Void, _ script: @escaping @Sendable (RawConnection) -> Void,
        _ body: (WebSocketConnection) async throws -> Void
    ) async throws {
        let server = try RawServer(script)
        defer { server.stop() }
        let transport = try FoundationSignaling()
        var endpoint = try server.endpoint
        configure(&endpoint)
        do { try await body(try await transport.connect(to: endpoint)) } catch {
            await transport.shutdown()
            throw error
        }
        await transport.shutdown()
    }

    private func driver(of connection: WebSocketConnection) throws -> FoundationDriver {
        try #require(connection.driver as? FoundationDriver)
    }

    /// A message that is half on the wire goes out completely before the answer to a close: a close frame inside of it
    /// would be data.
    @Test func theAnswerToACloseFollowsTheFrameThatWasHalfSent() async throws {
        let (lines, feed) = AsyncStream.makeStream(of: String.self)
        try await withConnection({
            $0.maximumMessageSize = 32 << 20
            $0.bufferLimit = 32 << 20
        }) { server in
            server.open()
            // The client is in the midst of its message: more than the system's buffers hold.
            _ = server.read(1)
            server.write([0x88, 2, 0x03, 0xE9])
            _ = server.read(13)
            var count = 24 << 20
            while count > 0, server.read(min(count, 1 << 16)) != nil { count -= min(count, 1 << 16) }
            let frame = server.readFrame()
            feed.yield("\(frame?.opcode ?? 0) \(frame?.payload ?? [])")
            feed.yield(server.read(1) == nil ? "end" : "more")
            feed.finish()
        } _: { connection in
            try await connection.send(.binary(Payload([UInt8](repeating: 1, count: 24 << 20))))
            let end = try await connection.receive()
            #expect(end == nil)
            #expect(connection.closeReason?.code == 1001)
            var seen: [String] = []
            for await line in lines { seen.append(line) }
            #expect(seen == ["8 [3, 233]", "end"])
        }
    }

    /// Answers that nobody reads are not gathered without bound, and the last ping is answered (RFC 6455 §5.5.3).
    @Test func pingsThatCannotBeAnsweredTakeNoMemory() async throws {
        let pings = 20_000
        let (counts, feed) = AsyncStream.makeStream(of: Int.self)
        try await withConnection({ $0.bufferLimit = 32 << 20 }) { server in
            server.open()
            for number in 0..<pings {
                let payload = [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: 123)
                server.write([0x89, 125, UInt8(number >> 8), UInt8(number & 0xFF)] + payload)
            }
            server.write([0x81, 4] + Array("read".utf8))
            var pongs = 0
            while let frame = server.readFrame() {
                guard frame.opcode == 10 else { continue }
                pongs += 1
                if Int(frame.payload[0]) << 8 | Int(frame.payload[1]) == pings - 1 { break }
            }
            feed.yield(pongs)
            feed.finish()
            server.drain()
        } _: { connection in
            // More than the system holds: the server reads nothing before all pings are sent.
            let megabyte = Payload([UInt8](repeating: 1, count: 1 << 20))
            for _ in 0..<24 { try await connection.send(.binary(megabyte)) }
            let message = try await connection.receive()
            #expect(message == .text(Payload("read")))
            #expect(try driver(of: connection).claim.withLock { $0.urgent.count } < 9000)
            for await pongs in counts { #expect(pongs < pings) }
        }
    }

    /// A reset that arrives while nobody receives is noticed by senders, uses no processor, and loses nothing that came
    /// before.
    @Test func aResetIsNoticedWithoutAPendingReceive() async throws {
        // One segment: a reset drops what the server's system has not sent.
        let count = 20
        try await withConnection({ $0.bufferLimit = 4096 }) { server in
            server.open()
            let frame = [0x82, 126, 4, 0] + [UInt8](repeating: 5, count: 1024)
            server.write((0..<count).flatMap { _ in frame })
            _ = server.readFrame()
            resetOnClose(server.descriptor)
        } _: { connection in
            // Paused: the rest lies in the socket's buffer.
            try await connection.send(.text(Payload("go")))
            var error: TransportError?
            while error == nil {
                do throws(TransportError) { try await connection.send(.text(Payload("more"))) } catch let caught {
                    error = caught
                }
                await Task.yield()
            }
            #expect(error?.code == .closed)
            let loop = try driver(of: connection).loop
            let before = await loop.run { processorTime() }
            try await Task.sleep(for: .milliseconds(200))
            let used = await loop.run { processorTime() } - before
            #expect(used < 0.05, "the loop spins")
            var received = 0
            do {
                while let message = try await connection.receive() { received += message.payload.count == 1024 ? 1 : 0 }
                Issue.record("a reset is no close handshake")
            } catch let caught as TransportError {
                #expect(caught.code == .closed)
            }
            #expect(received == count)
        }
    }

    /// With senders that write directly and senders that leave it to the loop, nothing is lost and nothing stalls.
    @Test func manySendersAtATimeLoseNothing() async throws {
        let senders = 8
        let each = 1500
        try await withConnection({ _ in }) { server in
            server.open()
            while let frame = server.readFrame(), frame.opcode == 2 {
                server.write([0x82, UInt8(frame.payload.count)] + frame.payload)
            }
        } _: { connection in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for sender in 0..<senders {
                    group.addTask {
                        for number in 0..<each {
                            let payload = [UInt8(sender), UInt8(number >> 8), UInt8(number & 0xFF)]
                            try await connection.send(.binary(Payload(payload)))
                            if number % 7 == 0 { await Task.yield() }
                        }
                    }
                }
                group.addTask {
                    var next = [Int](repeating: 0, count: senders)
                    for _ in 0..<(senders * each) {
                        guard let payload = try await connection.receive()?.payload else { break }
                        let bytes = payload.withUnsafeBytes { Array($0) }
                        #expect(Int(bytes[1]) << 8 | Int(bytes[2]) == next[Int(bytes[0])])
                        next[Int(bytes[0])] += 1
                    }
                    #expect(next == [Int](repeating: each, count: senders))
                }
                try await group.waitForAll()
            }
        }
    }

    /// One request, one answer, thousands of times: the sender's own write and the loop's must not wait for each other.
    @Test(arguments: [false, true]) func roundTripsDoNotStall(onLoop: Bool) async throws {
        try await withConnection({ _ in }) { server in
            server.open()
            while let frame = server.readFrame(), frame.opcode == 1 {
                server.write([0x81, UInt8(frame.payload.count)] + frame.payload)
            }
        } _: { connection in
            #expect(connection.localAddress == "127.0.0.1")
            try await withTaskExecutorPreference(onLoop ? try driver(of: connection).group.taskExecutor : nil) {
                for number in 0..<5000 {
                    let message = SignalingMessage.text(Payload("\(number)"))
                    try await connection.send(message)
                    let back = try await connection.receive()
                    #expect(back == message)
                }
            }
        }
    }

    @Test func aTransportThatIsDroppedEndsWithoutShutdown() async throws {
        weak var dropped: FoundationSignaling?
        do {
            let transport = try FoundationSignaling()
            dropped = transport
            _ = try? await transport.connect(to: try SignalingEndpoint(url: "ws://127.0.0.1:1/"))
        }
        #expect(dropped == nil)
    }

    #if !OpenSSL
        @Test func wssNamesTheBackendsThatCan() async throws {
            let transport = try FoundationSignaling()
            let endpoint = try SignalingEndpoint(url: "wss://127.0.0.1:1/")
            do throws(TransportError) {
                _ = try await transport.connect(to: endpoint)
                Issue.record("wss without TLS")
            } catch {
                #expect(error.code == .notSupported)
                #expect(error.message.contains("libwebsockets"))
            }
            await transport.shutdown()
        }
    #endif
}

/// Of the calling thread, in seconds.
private func processorTime() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}
