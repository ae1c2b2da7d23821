import RoomCore
import RoomProtocol
import Testing
import TransportPluginAPI
import TransportTestKit

@testable import RoomConnection

/// A shell over connections that accept nothing: each call waits until the connection is aborted.
@Suite struct SignalingShellTests {
    private enum Call: Equatable { case send, close, abort }

    private final class Connection: SignalingConnection {
        let calls = Journal<Call>()
        let closeReason: SignalingClose? = nil
        private let incoming = MessageBuffer(limit: 1)
        private let outgoing = MessageBuffer(limit: 1)

        func send(_ message: SignalingMessage) async throws(TransportError) {
            calls.append(.send)
            _ = try await outgoing.next()
        }
        func receive() async throws(TransportError) -> SignalingMessage? { try await incoming.next() }
        func close(_ reason: SignalingClose, within deadline: Duration) async {
            calls.append(.close)
            _ = try? await outgoing.next()
        }
        func abort() {
            calls.append(.abort)
            incoming.finish(TransportError(.closed, "aborted"))
            outgoing.finish(TransportError(.closed, "aborted"))
        }
    }

    private struct Transport: SignalingTransport {
        let connection = Connection()
        func connect(to endpoint: SignalingEndpoint) async throws(TransportError) -> Connection { connection }
        func shutdown() async {}
    }

    /// Runs `body` with a shell whose connection 1 is open; afterwards all its tasks must end.
    private func withConnection(
        _ limits: SignalingShell<Transport>.Limits,
        _ body: (SignalingShell<Transport>, Connection, TransportLoop, Journal<RoomMachine.Event>) async throws ->
            Void
    ) async throws {
        let loop = try TransportLoop(name: "signaling-tests")
        let transport = Transport()
        let shell = SignalingShell(transport: transport, loop: loop, limits: limits)
        let reports = Journal<RoomMachine.Event>()
        let endpoint = try SignalingEndpoint(url: "ws://localhost:1/")
        let runner = await loop.run {
            shell.report = { reports.append($0) }
            shell.open(1, endpoint)
            return Task(executorPreference: loop.taskExecutor) { await shell.run() }
        }
        do {
            try await reports.wait("the connection") { $0.contains(.transportConnected(1)) }
            try await body(shell, transport.connection, loop, reports)
        } catch {
            Issue.record(error)
            transport.connection.abort()
        }
        await loop.run { shell.finish() }
        await runner.value
        await loop.shutdown()
    }

    @Test func aConnectionThatTakesNoAnswersIsTakenForDead() async throws {
        try await withConnection(.init(outbox: 10_000)) { shell, connection, loop, reports in
            await loop.run { shell.send(Envelope(.pong(id: 0)), 1) }
            try await connection.calls.wait("a send that hangs") { $0.contains(.send) }
            let answers = await loop.run {
                var answers: UInt64 = 0
                while answers < 10_000, !reports.entries.contains(where: Self.isClosed) {
                    answers += 1
                    shell.send(Envelope(.pong(id: answers)), 1)
                }
                return answers
            }
            #expect((50...200).contains(answers), "\(answers) answers were kept")
            #expect(connection.calls.entries == [.send, .abort])
            let failure = reports.entries.compactMap { event in
                if case .transportClosed(1, let failure?) = event { failure } else { nil }
            }
            #expect(
                failure.map(\.description) == [
                    "the connection takes no messages: over 10000 bytes wait to be sent"
                ])
            await loop.run { shell.send(Envelope(.pong(id: 0)), 1) }
            #expect(reports.entries.count { Self.isClosed($0) } == 1)
        }
    }

    private static func isClosed(_ event: RoomMachine.Event) -> Bool {
        if case .transportClosed = event { true } else { false }
    }

    @Test func aCloseThatHangsIsAborted() async throws {
        try await withConnection(.init(closePatience: .milliseconds(20))) { shell, connection, loop, reports in
            await loop.run { shell.close(1, .normal) }
            try await connection.calls.wait("the abort") { $0 == [.close, .abort] }
            #expect(!reports.entries.contains(where: Self.isClosed), "nothing more is told of it")
        }
    }

    @Test func aCloseBehindAMessageThatHangsIsAborted() async throws {
        try await withConnection(.init(closePatience: .milliseconds(20))) { shell, connection, loop, reports in
            await loop.run {
                shell.send(Envelope(.leave), 1)
                shell.close(1, .normal)
            }
            try await connection.calls.wait("the abort") { $0 == [.send, .abort] }
            #expect(!reports.entries.contains(where: Self.isClosed), "nothing more is told of it")
        }
    }
}
