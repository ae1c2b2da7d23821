import CommandLineIO
import Foundation
import Testing

/// Processes of `room` over real sockets: libwebsockets to the server, WebRTC between the peers.
@Suite(.serialized, .timeLimit(.minutes(2)), .needsPeers) struct RoomTests {
    @Test func twoMeetAndTalkOnAllChannels() async throws {
        try await withProcesses { processes in
            let (_, url, _) = try await processes.server()
            let (alice, bob) = try await processes.pair(at: url)
            alice.send(["do": "send", "text": "to all"])
            alice.send(["do": "send", "text": "to bob", "to": try #require(bob.selfID)])
            alice.send(["do": "send", "data": "/wCA"])
            alice.send(["do": "send", "text": "unordered", "channel": "unordered"])
            alice.send(["do": "send", "text": "lossy", "channel": "lossy"])
            try await bob.wait("all messages") { lines in
                RoomProcess.texts(lines) == ["to all", "to bob", "/wCA"]
                    && RoomProcess.texts(lines, channel: "unordered") == ["unordered"]
                    && RoomProcess.texts(lines, channel: "lossy") == ["lossy"]
            }
            try await alice.wait("five accepted commands") { RoomProcess.count($0, "sent") == 5 }
            alice.send(["do": "leave"])
            try await alice.wait(event: "left")
            try await bob.waitForLeave()
            #expect(await alice.exitStatus() == 0)
        }
    }

    @Test func theFirstReturningGuestRebuildsTheRoomOfAKilledServer() async throws {
        try await withProcesses { processes in
            let (server, url, port) = try await processes.server()
            let (host, guest) = try await processes.pair(("host", "guest"), at: url)
            let ids = (try #require(host.selfID), try #require(guest.selfID))

            server.child.stop()
            for number in 1...20 { guest.send(["do": "send", "text": "\(number)"]) }
            try await host.wait("messages without a server") { RoomProcess.texts($0).count == 20 }
            host.child.signal(SIGSTOP)
            let (_, _, _) = try await processes.server(port: port)
            try await guest.wait("the guest's rejoin") { RoomProcess.count($0, "joined") == 2 }
            for number in 21...30 { guest.send(["do": "send", "text": "\(number)"]) }
            host.child.signal(SIGCONT)
            try await host.wait("the host's rejoin") { RoomProcess.count($0, "joined") == 2 }
            for number in 31...40 { guest.send(["do": "send", "text": "\(number)"]) }
            try await host.wait("every message once, in order") { lines in
                RoomProcess.texts(lines) == (1...40).map(String.init)
            }
            #expect(host.selfID == ids.0 && guest.selfID == ids.1, "participants keep their ids")
            let last = try #require(host.lines.last { $0["event"] as? String == "joined" })
            #expect(last["host"] as? Double == 1, "the host is the host again")
        }
    }

    @Test func eightPeersAllTalkAndEveryMessageComesOnce() async throws {
        try await withProcesses { processes in
            let (_, url, _) = try await processes.server()
            let names = (1...8).map { "p\($0)" }
            let host = processes.add(try .peer(names[0], url, host: true))
            try await host.wait(event: "joined")
            let peers = try [host] + names.dropFirst().map { processes.add(try .peer($0, url)) }
            for peer in peers { try await peer.waitUntilConnected(to: 7) }
            for (name, peer) in zip(names, peers) {
                for number in 1...20 { peer.send(["do": "send", "text": "\(name)-\(number)"]) }
            }
            for (name, peer) in zip(names, peers) {
                let expected = Set(names.filter { $0 != name }.flatMap { other in (1...20).map { "\(other)-\($0)" } })
                try await peer.wait("140 messages") { RoomProcess.texts($0).count >= expected.count }
                let texts = RoomProcess.texts(peer.lines)
                #expect(texts.count == expected.count && Set(texts) == expected)
            }
        }
    }

    @Test func aCutPathHealsAndLosesNothing() async throws {
        try await withProcesses { processes in
            let (_, url, _) = try await processes.server()
            let (alice, bob) = try await processes.pair(at: url)
            alice.send(["do": "send", "text": "1"])
            try await bob.wait("the first message") { RoomProcess.texts($0) == ["1"] }
            for peer in [alice, bob] { peer.send(["do": "fault", "path": "cut"]) }
            for number in 2...30 { alice.send(["do": "send", "text": "\(number)"]) }
            try await alice.wait("the cut to be noticed") { RoomProcess.connected($0).isEmpty }
            for peer in [alice, bob] { peer.send(["do": "fault", "path": "restore"]) }
            try await bob.wait("every message once, in order") { RoomProcess.texts($0) == (1...30).map(String.init) }
            try await alice.wait("the recovery's trace") { lines in
                lines.contains { line in
                    line["event"] as? String == "incident" && (line["steps"] as? [any Sendable])?.isEmpty == false
                }
            }
        }
    }

    @Test func aServerThatHangsIsNoticedAndThePeersGoOn() async throws {
        try await withProcesses { processes in
            let (server, url, _) = try await processes.server()
            let (alice, bob) = try await processes.pair(at: url)
            server.child.signal(SIGSTOP)
            // Half-open: pings every 5 s, 4 s to answer.
            try await alice.wait("the dead server to be noticed", within: .seconds(15)) { lines in
                lines.last { $0["event"] as? String == "signaling" }?["status"] as? String != "connected"
            }
            alice.send(["do": "send", "text": "still here"])
            try await bob.wait("a message without a server") { RoomProcess.texts($0) == ["still here"] }
            server.child.signal(SIGCONT)
            try await alice.wait("the way back") { lines in
                lines.last { $0["event"] as? String == "signaling" }?["status"] as? String == "connected"
            }
            #expect(!alice.lines.contains { $0["state"] as? String == "left" }, "nobody was taken for gone")
        }
    }

    @Test func aSuspendedReceiverCostsTheSenderBoundedMemory() async throws {
        try await withProcesses { processes in
            let (_, url, _) = try await processes.server()
            let (sender, receiver) = try await processes.pair(("sender", "receiver"), at: url)
            receiver.child.signal(SIGSTOP)
            let id = try #require(receiver.selfID)
            let chunk = String(repeating: "x", count: 100_000)
            let count = 300
            let sending = Task.detached {
                for number in 1...count { sender.send(["do": "send", "to": id, "text": "\(number) \(chunk)"]) }
            }
            // 30 MB are on their way into a buffer of 8 MiB: the sender waits.
            try await sender.wait("the buffer to fill") { RoomProcess.count($0, "sent") >= 60 }
            let memory = try residentMemory(of: sender.child.identifier)
            #expect(memory < 150 << 20, "\(memory >> 20) MiB")
            receiver.child.signal(SIGCONT)
            try await receiver.wait("every message, in order", within: .seconds(60)) {
                RoomProcess.texts($0).count == count
            }
            await sending.value
            let numbers = RoomProcess.texts(receiver.lines).compactMap {
                $0.split(separator: " ").first.flatMap { Int($0) }
            }
            #expect(numbers == Array(1...count))
        }
    }

    private func residentMemory(of process: Int32) throws -> Int {
        let status = try String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8)
        let line = try #require(status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") })
        return try #require(Int(line.split(separator: " ")[1])) * 1024
    }
}
