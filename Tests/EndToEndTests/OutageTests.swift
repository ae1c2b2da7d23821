import CommandLineIO
import Foundation
import Testing
import WebSocketWire

@testable import TransportTestKit

/// Losses of the path to the server that TCP does not report, and a server that sends nonsense.
@Suite(.serialized, .timeLimit(.minutes(2)), .needsPeers) struct OutageTests {
    @Test func messagesToAHalfOpenSocketArriveAfterTheResume() async throws {
        try await withProcesses { processes in
            let (_, url, port) = try await processes.server()
            let proxy = try TestProxy(to: port)
            defer { proxy.stop() }
            let (alice, bob) = try await processes.pair(at: proxy.url, guestAt: url)
            proxy.cut()
            // Both request a new path: alice's offer or answer, and its candidates, get lost unnoticed.
            for peer in [alice, bob] { peer.send(["do": "restart"]) }
            alice.send(["do": "send", "text": "the old path still carries"])
            try await bob.wait("a message") { RoomProcess.texts($0).count == 1 }
            #expect(RoomProcess.count(alice.lines, "joined") == 1, "not noticed yet")
            try await alice.wait("the resume") { lines in
                lines.contains { $0["event"] as? String == "joined" && $0["resumed"] as? Double == 1 }
            }
            for peer in [alice, bob] {
                try await peer.wait("the new path") { lines in
                    lines.contains { $0["event"] as? String == "incident" && $0["peer"] != nil }
                }
            }
            #expect(!bob.lines.contains { $0["state"] as? String == "left" }, "a resume is not a leave")
        }
    }

    @Test func aServerThatIsUnreachableForTenSecondsIsFoundAgainAtOnce() async throws {
        try await withProcesses { processes in
            let (_, _, port) = try await processes.server()
            let proxy = try TestProxy(to: port)
            defer { proxy.stop() }
            let (alice, bob) = try await processes.pair(at: proxy.url)
            proxy.cut(newToo: true)
            // The outage itself.
            try await Task.sleep(for: .seconds(10))
            for number in 1...5 { alice.send(["do": "send", "text": "\(number)"]) }
            try await bob.wait("messages without a server") { RoomProcess.texts($0).count == 5 }
            let joins = [alice, bob].map { RoomProcess.count($0.lines, "joined") }
            proxy.restore()
            for (peer, count) in zip([alice, bob], joins) {
                try await peer.wait("the way back", within: .seconds(8)) { RoomProcess.count($0, "joined") > count }
            }
            for peer in [alice, bob] {
                #expect(!peer.lines.contains { $0["state"] as? String == "left" }, "nobody was taken for gone")
            }
        }
    }

    @Test(arguments: ["text", "binary", "json", "huge", "frame", "http"])
    func aServerThatBreaksTheProtocolIsAbortedAndTriedAgain(_ kind: String) async throws {
        let server = try ScriptedWebSocketServer { connection in
            connection.report("asked")
            if kind == "http" { return try connection.write(Array("SSH-2.0-OpenSSH_9.2\r\n".utf8)) }
            _ = try connection.open()
            switch kind {
            case "text": try connection.send(text: "hello, I am a chat server")
            case "binary": try connection.send(WebSocketFrame(opcode: .binary, payload: [0, 1, 2, 255]))
            case "json": try connection.send(text: #"{"type":"joined","self":17,"epoch":"never"}"#)
            case "huge":
                try connection.send(WebSocketFrame(opcode: .text, payload: Array(repeating: 32, count: 2 << 20)))
            default: try connection.write([0xC1, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF])
            }
            try connection.drain()
        }
        defer { server.stop() }
        try await withProcesses { processes in
            let guest = processes.add(try .peer("guest", "ws://127.0.0.1:\(server.port)/"))
            // It retries behind a backoff, and reports the reason.
            for _ in 1...3 { try await server.events.expect("asked") }
            try await guest.wait("a cause") { lines in
                lines.contains { $0["event"] as? String == "signaling" && $0["cause"] is String }
            }
            guest.child.signal(SIGTERM)
            #expect(await guest.exitStatus() == 0)
            #expect(guest.lines.last?["event"] as? String == "left")
        }
    }
}
