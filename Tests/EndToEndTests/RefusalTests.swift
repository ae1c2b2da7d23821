import CommandLineIO
import Foundation
import Testing

/// The refusals of the command: their text and exit status.
@Suite(.serialized, .timeLimit(.minutes(1)), .needsPeers) struct RefusalTests {
    @Test func anUnknownRoomIsRefusedForGood() async throws {
        try await Stage.play { stage in
            let (_, url, _) = try await stage.server()
            let guest = stage.add(try .peer("guest", url, room: "nowhere"))
            try await guest.wait(event: "left")
            #expect(guest.lines.contains { $0["code"] as? String == "room_not_found" })
            #expect(await guest.exitStatus() == 3)
        }
    }

    @Test func aNameThatIsTakenIsRefusedForGood() async throws {
        try await Stage.play { stage in
            let (_, url, _) = try await stage.server()
            let first = stage.add(try .peer("alice", url, host: true))
            try await first.wait(event: "joined")
            let second = stage.add(try .peer("alice", url))
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
        try await Stage.play { stage in
            let actor = stage.add(try Actor("wrong", ["connect", "stage", "--name", "a", "--json"] + arguments))
            #expect(await actor.exitStatus() == 2)
        }
    }

    @Test func anUnknownKeyOfAConfigurationFileIsAnError() async throws {
        try await Stage.play { stage in
            let file = try stage.file("room.yaml", "server: ws://127.0.0.1:9/\nsignalling: libwebsockets\n")
            let actor = stage.add(
                try Actor("wrong", ["connect", "stage", "--name", "a", "--json", "--config", file]))
            #expect(await actor.exitStatus() == 2)
        }
    }

    @Test func anInterruptLeavesTheRoom() async throws {
        try await Stage.play { stage in
            let (_, url, _) = try await stage.server()
            let alice = stage.add(try .peer("alice", url, host: true))
            try await alice.wait(event: "joined")
            let bob = stage.add(try .peer("bob", url))
            try await bob.waitUntilConnected(to: 1)
            bob.child.signal(SIGINT)
            try await alice.wait("bob's leave") { $0.contains { $0["state"] as? String == "left" } }
            #expect(await bob.exitStatus() == 130)
            #expect(bob.lines.last?["event"] as? String == "left")
        }
    }

    @Test func whoLeavesWhileTheServerIsAwayIsGoneWhenItIsBack() async throws {
        try await Stage.play { stage in
            let (server, url, port) = try await stage.server()
            let alice = stage.add(try .peer("alice", url, host: true))
            try await alice.wait(event: "joined")
            let bob = stage.add(try .peer("bob", url))
            try await bob.waitUntilConnected(to: 1)
            try await alice.waitUntilConnected(to: 1)
            server.child.stop()
            bob.child.signal(SIGINT)
            #expect(await bob.exitStatus() == 130)
            _ = try await stage.server(port: port)
            try await alice.wait("the host's rejoin") { Actor.count($0, "joined") == 2 }
            // Long before its deadline.
            try await alice.wait("bob's leave") { $0.contains { $0["state"] as? String == "left" } }
        }
    }

    @Test func garbageToTheServerDisturbsNobody() async throws {
        try await Stage.play { stage in
            let (_, url, port) = try await stage.server()
            let alice = stage.add(try .peer("alice", url, host: true))
            try await alice.wait(event: "joined")
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
            let bob = stage.add(try .peer("bob", url))
            try await bob.waitUntilConnected(to: 1)
            #expect(Actor.count(alice.lines, "joined") == 1)
        }
    }

    /// Sends bytes and reads until the server ends the connection. Returns false when it does not within five seconds.
    private static func isCut(off bytes: [UInt8], port: Int) throws -> Bool {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let status = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        try #require(status == 0)
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
