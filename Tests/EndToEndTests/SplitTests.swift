import CommandLineIO
import Foundation
import Testing

/// A room whose participants hear different things from different servers, and programs that are restarted.
@Suite(.serialized, .timeLimit(.minutes(2)), .needsPeers) struct SplitTests {
    /// Sends a message to everybody every 50 ms, until it is cancelled.
    private func talk(_ peer: RoomProcess) async -> Int {
        var count = 0
        while !Task.isCancelled {
            count += 1
            peer.send(["do": "send", "text": "\(peer.child.name) \(count)"])
            try? await Task.sleep(for: .milliseconds(50))
        }
        return count
    }

    private func joins(_ peer: RoomProcess) -> [Line] { peer.lines.filter { $0["event"] as? String == "joined" } }

    @Test func membersOfTwoServersAreMergedWhileDataFlows() async throws {
        try await withProcesses { processes in
            let (_, _, first) = try await processes.server()
            let names = ["alice", "bob", "carol", "dave"]
            let proxies = try names.map { _ in try TestProxy(to: first) }
            defer { for proxy in proxies { proxy.stop() } }
            var peers: [RoomProcess] = []
            for (name, proxy) in zip(names, proxies) {
                let peer = processes.add(try .peer(name, proxy.url, host: name == "alice"))
                try await peer.wait(event: "joined")
                peers.append(peer)
            }
            for peer in peers { try await peer.waitUntilConnected(to: 3) }
            let ids = try peers.map { try #require($0.selfID) }
            let talking = peers.map { peer in Task { await talk(peer) } }
            defer { for task in talking { task.cancel() } }

            // Bob and Carol come to a second server, which knows nothing. It waits 2 s for the host, which stays with
            // the first server, and appoints another.
            let (_, _, second) = try await processes.server(more: ["--grace", "2"])
            for proxy in proxies[1...2] { try proxy.move(to: second) }
            for peer in peers[1...2] {
                try await peer.wait("the second server") { RoomProcess.count($0, "joined") == 2 }
                try await peer.wait("its host") { lines in
                    lines.contains { line in
                        line["event"] as? String == "host" && ids[1...2].contains(line["id"] as? String ?? "")
                    }
                }
            }
            #expect(joins(peers[0]).count == 1 && joins(peers[3]).count == 1, "the first server goes on")
            // Alice, whose term is the older one, and Dave follow.
            for index in [0, 3] { try proxies[index].move(to: second) }
            for index in [0, 3] {
                try await peers[index].wait("the second server") { RoomProcess.count($0, "joined") == 2 }
            }
            for (name, peer) in zip(names, peers) {
                let joins = joins(peer)
                #expect(joins.last?["resumed"] as? Double == 0)
                #expect((joins.last?["epoch"] as? Double ?? 0) > (joins.first?["epoch"] as? Double ?? 0), "\(name)")
                #expect(peer.selfID == joins.first?["self"] as? String)
                try await peer.wait("the one host") { lines in
                    let host = lines.last { $0["event"] as? String == "host" }?["id"] as? String
                    return host.map(ids[1...2].contains) ?? false
                }
            }
            let hosts = Set(
                peers.map { peer in peer.lines.last { $0["event"] as? String == "host" }?["id"] as? String })
            #expect(hosts.count == 1, "all have the same host: \(hosts)")

            // A newcomer finds all of them in one room.
            let eve = processes.add(try .peer("eve", "ws://127.0.0.1:\(second)/"))
            try await eve.waitUntilConnected(to: 4)
            for task in talking { task.cancel() }
            var counts: [Int] = []
            for task in talking { counts.append(await task.value) }
            for (name, peer) in zip(names, peers) {
                #expect(!peer.lines.contains { $0["state"] as? String == "left" }, "\(name): nobody was taken for gone")
                for (other, count) in zip(names, counts) where other != name {
                    let expected = (1...count).map { "\(other) \($0)" }
                    try await peer.wait("everything of \(other)") { lines in
                        RoomProcess.texts(lines).count { $0.hasPrefix(other) } >= count
                    }
                    let messages = peer.lines.filter { ($0["text"] as? String)?.hasPrefix(other) ?? false }
                    #expect(messages.compactMap { $0["text"] as? String } == expected, "\(other) to \(name)")
                    let times = messages.compactMap { $0["t"] as? Double }
                    let gap = zip(times.dropFirst(), times).map { $0 - $1 }.max() ?? 0
                    #expect(gap < 1.5, "\(other) to \(name): nothing came for \(gap) s")
                }
            }
        }
    }

    @Test func aHostThatCrashedAndWasStartedAnewIsHostAgainAtOnce() async throws {
        try await withProcesses { processes in
            let (_, url, _) = try await processes.server()
            let (alice, bob) = try await processes.pair(at: url)
            alice.child.signal(SIGKILL)
            _ = await alice.exitStatus()
            let again = try await processes.host(at: url)
            #expect(joins(again).last?["host"] as? Double == 1)
            try await again.waitUntilConnected(to: 1)
            let former = try #require(alice.selfID)
            let id = try #require(again.selfID)
            try await bob.wait("the new alice instead of the old one") { RoomProcess.connected($0) == [id] }
            #expect(former != id)
        }
    }

    @Test func theReplacedDeviceIsToldAndDoesNotReturnWithPolicyReplace() async throws {
        try await withProcesses { processes in
            let (_, url, _) = try await processes.server(more: ["--duplicate-names", "replace"])
            let (_, phone) = try await processes.pair(("host", "bob"), at: url)
            let laptop = processes.add(try .peer("bob", url))
            try await phone.wait(event: "left")
            #expect(phone.lines.contains { $0["code"] as? String == "replaced" })
            #expect(await phone.exitStatus() == 3)
            #expect(RoomProcess.count(phone.lines, "joined") == 1, "it has not fought")
            try await laptop.waitUntilConnected(to: 1)
        }
    }
}
