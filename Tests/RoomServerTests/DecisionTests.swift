import Foundation
import NIOCore
import NIOEmbedded
import RoomProtocol
import Testing

@testable import RoomServer

@Suite("Decisions are confirmed when they are kept", .timeLimit(.minutes(1)))
struct DecisionTests {
    private static let token = "0123456789abcdef"

    private func withServer(
        in folder: String, threads: Int = 1, isolation: isolated (any Actor)? = #isolation,
        _ body: (RoomServer, AdminClient) async throws -> Void
    ) async throws {
        try await RoomServerTests.withServer {
            $0.threads = threads
            $0.sessionKey = .file(folder + "/session.key")
            $0.departuresFile = folder + "/departures"
            $0.admin = .init()
            $0.admin?.port = 0
            $0.admin?.token = Array(Self.token.utf8)
        } _: { server in
            try await body(
                server, AdminClient(AdminClient.Address(#require(await server.adminURL)), token: Self.token))
        }
    }

    /// The journal at this moment: what a `kill -9` leaves.
    private func holds(_ kind: String, _ room: String, in folder: String) throws -> Bool {
        try String(contentsOfFile: folder + "/departures", encoding: .utf8).split(separator: "\n")
            .contains { $0.contains("\"kind\":\"\(kind)\"") && $0.contains("\"\(room)\"") }
    }

    @Test(arguments: [1, 3])
    func aKickAndTheEndOfARoomAreOnTheDiskWhenTheHostSeesThem(_ threads: Int) async throws {
        try await withFolder { folder in
            try await withServer(in: folder, threads: threads) { server, _ in
                for number in 0..<20 {
                    let room = "room \(number)"
                    let ann = try await TestClient.join(server, "ann", .host, room: room)
                    let bob = try await TestClient.join(server, "bob", room: room)
                    guard case .peerJoined = try await ann.next() else { throw TestFailure(message: "no bob") }
                    try await ann.sayNumbered(.kick(try #require(bob.joined?.participant), reason: ""))
                    guard case .peerLeft(_, _, .kicked) = try await ann.next() else {
                        throw TestFailure(message: "no kick")
                    }
                    #expect(try holds("kicked", room, in: folder) && holds("nameKicked", room, in: folder))
                }
            }
        }
    }

    @Test func anOperatorIsToldWhetherARestartRemembersIt() async throws {
        try await withFolder { folder in
            try await withServer(in: folder) { server, admin in
                for number in 0..<20 {
                    let room = "room \(number)"
                    let ann = try await TestClient.join(server, "ann", .host, room: room)
                    let id = try #require(ann.joined?.participant.rawValue)
                    let kick = try await admin.request("DELETE", ["rooms", room, "participants", id])
                    #expect(String(decoding: kick.body, as: UTF8.self).contains("\"remembered\":true"))
                    #expect(try holds("kicked", room, in: folder))
                    let close = try await admin.request("DELETE", ["rooms", room])
                    #expect(String(decoding: close.body, as: UTF8.self).contains("\"remembered\":true"))
                    #expect(try holds("roomClosed", room, in: folder))
                }
            }
        }
        try await RoomServerTests.withServer {
            $0.admin = .init()
            $0.admin?.port = 0
            $0.admin?.token = Array(Self.token.utf8)
        } _: { server in
            let admin = try AdminClient(.init(#require(await server.adminURL)), token: Self.token)
            let ann = try await TestClient.join(server, "ann", .host)
            let close = try await admin.request("DELETE", ["rooms", "lobby"])
            #expect(String(decoding: close.body, as: UTF8.self).contains("\"remembered\":false"))
            withExtendedLifetime(ann) {}
        }
    }

    /// Calls of `settle`, as places make them.
    private final class Place {
        var settle: (@Sendable (Bool) -> Void)?
    }

    private func decision(places: Int) -> (loop: EmbeddedEventLoop, [Place], outcome: () -> Bool?) {
        let loop = EmbeddedEventLoop()
        let decision = Decision(on: loop)
        let all = (0..<places).map { _ in Place() }
        for place in all { decision.keep { place.settle = $0 } }
        decision.begin()
        let outcome = NIOLoopBoundBox<Bool?>(nil, eventLoop: loop)
        decision.outcome.whenSuccess { outcome.value = $0 }
        return (loop, all, { outcome.value })
    }

    @Test func aDecisionIsKeptWhenEveryPlaceHasIt() {
        let (loop, places, outcome) = decision(places: 2)
        places[1].settle?(true)
        loop.run()
        #expect(outcome() == nil)
        places[0].settle?(true)
        loop.run()
        #expect(outcome() == true)
    }

    @Test func aPlaceThatFailsOrIsSlowDoesNotHoldADecisionBackForLong() {
        let failed = decision(places: 2)
        failed.1[0].settle?(false)
        failed.loop.run()
        #expect(failed.outcome() == false)
        let slow = decision(places: 1)
        slow.loop.advanceTime(by: .milliseconds(999))
        #expect(slow.outcome() == nil)
        slow.loop.advanceTime(by: .milliseconds(1))
        #expect(slow.outcome() == false)
        slow.1[0].settle?(true)
        slow.loop.run()
        let nowhere = decision(places: 0)
        nowhere.loop.run()
        #expect(nowhere.outcome() == false)
    }
}
