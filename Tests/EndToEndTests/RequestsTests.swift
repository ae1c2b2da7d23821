import CommandLineIO
import Foundation
import Testing

/// Requests over real sockets, between the processes that the benchmark measures.
@Suite(.serialized, .timeLimit(.minutes(2)), .needsPeers) struct RequestsTests {
    /// Requests that are made while the server is gone and the path is lost are answered when the path is back.
    @Test func requestsWaitForALostPathAndNeedNoServer() async throws {
        try await withMeasuredPair { processes, server, port, alice, bob in
            try await bob.order("answer")
            server.child.stop()
            try await ask(alice, 1)
            try await bob.order("cut")
            async let answers: Void = ask(alice, 2)
            try await alice.wait(event: "recovering")
            #expect(RoomProcess.count(alice.lines, "requests") == 1)
            _ = try await processes.server(port: port)
            bob.send(["do": "restore"])
            try await answers
        }
    }

    /// Makes 500 requests, and waits for their answers.
    private func ask(_ peer: RoomProcess, _ number: Int) async throws {
        var line = JSONLine()
        line.add("do", "requests")
        line.add("count", 500)
        peer.child.send(line)
        try await peer.wait("the answers", within: .seconds(60)) { RoomProcess.count($0, "requests") == number }
    }
}
