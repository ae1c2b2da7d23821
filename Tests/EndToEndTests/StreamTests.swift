import CommandLineIO
import Foundation
import Testing

/// Streams over real sockets, between the processes that the benchmark measures.
@Suite(.serialized, .timeLimit(.minutes(2)), .needsPeers) struct StreamTests {
    /// Every byte arrives once, though the server is killed and the path is lost in the middle.
    @Test func aStreamGoesOnOverAKilledServerAndALostPath() async throws {
        try await withMeasuredPair { processes, server, port, alice, bob in
            try await bob.order("receiveStream")
            var stream = JSONLine()
            stream.add("do", "stream")
            stream.add("seconds", 8.0)
            stream.add("count", 0)
            alice.child.send(stream)
            try await bob.order("begun")
            server.child.stop()
            bob.send(["do": "cut"])
            try await alice.wait(event: "recovering")
            let (_, _, _) = try await processes.server(port: port)
            bob.send(["do": "restore"])
            try await alice.wait("the end of the stream", within: .seconds(60)) {
                RoomProcess.count($0, "streamed") == 1
            }
            bob.send(["do": "received"])
            try await bob.wait(event: "received")
            let sent = try #require(alice.lines.last { $0["event"] as? String == "streamed" }?["bytes"] as? Double)
            let received = try #require(bob.lines.last { $0["event"] as? String == "received" }?["bytes"] as? Double)
            #expect(sent == received && sent > 1_000_000)
        }
    }
}
