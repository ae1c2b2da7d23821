import CommandLineIO
import Foundation
import Testing
import TransportTestKit

/// The refusals of the command: their text and exit status.
@Suite(.serialized, .timeLimit(.minutes(1)), .needsPeers) struct RefusalTests {
    @Test func anUnknownRoomIsRefusedPermanently() async throws {
        try await withProcesses { processes in
            let (_, url, _) = try await processes.server()
            let guest = processes.add(try .peer("guest", url, room: "nowhere"))
            try await guest.wait(event: "left")
            #expect(guest.lines.contains { $0["code"] as? String == "room_not_found" })
            #expect(await guest.exitStatus() == 3)
        }
    }

    @Test func aTakenNameIsRefusedPermanently() async throws {
        try await withProcesses { processes in
            let (_, url, _) = try await processes.server()
            let first = try await processes.host(at: url)
            let second = processes.add(try .peer("alice", url))
            try await second.wait(event: "left")
            #expect(second.lines.contains { $0["code"] as? String == "name_taken" })
            #expect(await second.exitStatus() == 3)
            #expect(!first.lines.contains { $0["event"] as? String == "error" }, "the first one is undisturbed")
        }
    }

    @Test(arguments: [
        ["--signaling", "pigeon"], ["--peer", "pigeon"], ["--server", "http://example"], ["--ice-policy", "some"],
        ["--nonsense"], ["--config", "/nonexistent/room.yaml"],
    ])
    func aWrongArgumentEndsTheCommandWithStatusTwo(_ arguments: [String]) async throws {
        try await withProcesses { processes in
            let process = processes.add(
                try RoomProcess("wrong", ["connect", "lobby", "--name", "a", "--json"] + arguments))
            #expect(await process.exitStatus() == 2)
        }
    }

    @Test func anUnknownKeyOfAConfigurationFileIsAnError() async throws {
        try await withProcesses { processes in
            let file = try processes.file("room.yaml", "server: ws://127.0.0.1:9/\nsignalling: libwebsockets\n")
            let process = processes.add(
                try RoomProcess("wrong", ["connect", "lobby", "--name", "a", "--json", "--config", file]))
            #expect(await process.exitStatus() == 2)
        }
    }

    @Test func anInterruptLeavesTheRoom() async throws {
        try await withProcesses { processes in
            let (_, url, _) = try await processes.server()
            let (alice, bob) = try await processes.pair(at: url)
            bob.child.signal(SIGINT)
            try await alice.waitForLeave()
            #expect(await bob.exitStatus() == 130)
            #expect(bob.lines.last?["event"] as? String == "left")
        }
    }

    @Test func aLeaveDuringAnOutageOfTheServerIsReportedAfterwards() async throws {
        try await withProcesses { processes in
            let (server, url, port) = try await processes.server()
            let (alice, bob) = try await processes.pair(at: url)
            server.child.stop()
            bob.child.signal(SIGINT)
            #expect(await bob.exitStatus() == 130)
            _ = try await processes.server(port: port)
            try await alice.wait("the host's rejoin") { RoomProcess.count($0, "joined") == 2 }
            // Long before its deadline.
            try await alice.waitForLeave()
        }
    }

    @Test func invalidInputDoesNotDisturbOtherConnections() async throws {
        try await withProcesses { processes in
            let (_, url, port) = try await processes.server()
            let alice = try await processes.host(at: url)
            let handshake =
                "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            // Not HTTP; an unmasked frame; a reserved opcode; a frame that claims to be 2^62 bytes long.
            let garbage: [[UInt8]] = [
                Array("\u{0}\u{1}\u{2} nonsense\r\n\r\n".utf8), Array(handshake.utf8) + [0x81, 0x02, 0x68, 0x69],
                Array(handshake.utf8) + [0x83, 0x80, 0, 0, 0, 0],
                Array(handshake.utf8) + [0x82, 0xFF, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4],
            ]
            for bytes in garbage { #expect(try Self.isCut(off: bytes, port: port), "\(bytes.suffix(16))") }
            let bob = processes.add(try .peer("bob", url))
            try await bob.waitUntilConnected(to: 1)
            #expect(RoomProcess.count(alice.lines, "joined") == 1)
        }
    }

    /// Sends bytes and reads until the server ends the connection. Returns false when it does not within five seconds.
    private static func isCut(off bytes: [UInt8], port: Int) throws -> Bool {
        let descriptor = LoopbackListener.socket()
        defer { close(descriptor) }
        try #require(LoopbackListener.connect(descriptor, to: UInt16(port)) == 0)
        var patience = timeval(tv_sec: 5, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        _ = bytes.withUnsafeBytes { send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            if count == 0 || (count < 0 && errno == ECONNRESET) { return true }
            if count < 0 { return false }
        }
    }
}
