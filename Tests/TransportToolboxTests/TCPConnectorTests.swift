import Glibc
import Testing
import TransportTestKit
import TransportValues

@testable import TransportToolbox

@Suite(.timeLimit(.minutes(1))) struct TCPConnectorTests {
    private func peerPort(_ descriptor: Int32) -> UInt16 {
        var address = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        _ = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getpeername(descriptor, $0, &length) }
        }
        return UInt16(bigEndian: address.sin_port)
    }

    /// An address that does not answer costs its head start; one that refuses costs nothing.
    @Test func theFirstThatAnswersIsTaken() async throws {
        let silent = try BlackHole()
        let listener = try LoopbackListener()
        defer { close(listener.descriptor) }
        let loop = try TransportLoop(name: "connector")
        let start = Timestamp.now()
        let outcome = await withCheckedContinuation { continuation in
            loop.execute {
                let list = [silent.port, 1, listener.port].compactMap { SocketAddress("127.0.0.1", port: $0) }
                TCPConnector(loop: loop, addresses: list, url: "test") { continuation.resume(returning: $0) }.start()
            }
        }
        let elapsed = Timestamp.now() - start
        let descriptor = try outcome.get()
        #expect(peerPort(descriptor) == listener.port)
        #expect(TCPConnector.localAddress(of: descriptor) == "127.0.0.1")
        #expect(elapsed >= TCPConnector.headStart - .milliseconds(20), "\(elapsed)")
        #expect(elapsed < .seconds(2), "\(elapsed)")
        close(descriptor)
        await loop.shutdown()
    }

    private func failure(
        port: UInt16, addresses: [String] = ["127.0.0.1"], within limit: Duration = .seconds(30),
        _ meanwhile: (TransportLoop, Task<Int32, any Error>) async -> Void = { _, _ in }
    ) async throws -> TransportError {
        let loop = try TransportLoop(name: "connector")
        let task = Task {
            try await loop.connect(to: addresses, port: port, url: "test", deadline: .now() + limit)
        }
        await meanwhile(loop, task)
        let result = await task.result
        await loop.shutdown()
        guard case .failure(let error) = result else { throw TransportError(.invalidState, "it connected") }
        return try #require(error as? TransportError)
    }

    @Test func aClosedPortIsRefused() async throws {
        let error = try await failure(port: 1, addresses: ["127.0.0.1", "::1"])
        #expect(error.code == .refused && error.isRetryable)
    }

    @Test func silenceEndsAtTheDeadline() async throws {
        let silent = try BlackHole()
        let error = try await failure(port: silent.port, within: .milliseconds(300))
        #expect(error.code == .timedOut && error.isRetryable)
    }

    /// At every moment of the attempt; the loop's end leaves nobody waiting.
    @Test func anAttemptEndsWithItsTaskAndWithItsLoop() async throws {
        let silent = try BlackHole()
        for round in 0..<40 {
            let cancelled = try await failure(port: silent.port) { _, task in
                for _ in 0..<round { await Task.yield() }
                task.cancel()
            }
            #expect(cancelled.code == .cancelled)
            let closed = try await failure(port: silent.port) { loop, _ in
                for _ in 0..<round { await Task.yield() }
                await loop.shutdown()
            }
            #expect(closed.code == .closed)
        }
    }

    @Test func familiesTakeTurns() {
        let texts = ["::1", "::2", "127.0.0.1", "::3", "127.0.0.2"]
        let addresses = texts.compactMap { SocketAddress($0, port: 1) }
        #expect(SocketAddress.interleaved(addresses).map(\.text) == ["::1", "127.0.0.1", "::2", "127.0.0.2", "::3"])
        #expect(SocketAddress("localhost", port: 1) == nil)
    }
}
