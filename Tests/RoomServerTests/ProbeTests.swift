import Logging
import NIOCore
import RoomProtocol
import Testing
import TransportValues

@testable import RoomServer

@Suite("Probes", .timeLimit(.minutes(1)))
struct ProbeTests {
    @Test func aServerIsAliveAndReady() async throws {
        try await withServer {
            $0.servesPage = true
        } _: { server in
            let alive = try await TestClient.get(server, "/livez")
            #expect(alive.head.hasPrefix("HTTP/1.1 200 ") && alive.body == "alive\n")
            let ready = try await TestClient.get(server, "/readyz")
            #expect(ready.head.hasPrefix("HTTP/1.1 200 ") && ready.body == "ready\n")
            #expect(ready.head.contains("\r\nCache-Control: no-store"))
            #expect(try await TestClient.get(server, "/readyz", method: "HEAD").body.isEmpty)
        }
    }

    @Test func aFullServerIsAliveAndNotReady() async throws {
        try await withServer {
            $0.limits.connections = 1
        } _: { server in
            let ann = try await TestClient.join(server, "ann", .host)
            let ready = try await TestClient.get(server, "/readyz")
            #expect(ready.head.hasPrefix("HTTP/1.1 503 ") && ready.body == "full: 1 of 1 connections\n")
            #expect(try await TestClient.get(server, "/livez").head.hasPrefix("HTTP/1.1 200 "))
            try await ann.abort()
        }
    }

    /// Those who have a room here need it, and the load would only move to other servers.
    @Test func manyRoomsAndHandshakesAreToldAndDoNotMakeItUnready() async throws {
        try await withServer {
            $0.limits.rooms = 1
            $0.limits.handshakes = 1
        } _: { server in
            let ann = try await TestClient.join(server, "ann", .host)
            let silent = try await TestClient.open(server)
            let ready = try await TestClient.get(server, "/readyz")
            #expect(ready.head.hasPrefix("HTTP/1.1 200 "))
            #expect(ready.body == "ready\nbusy: 1 of 1 handshakes\nno more rooms: 1 of 1\n")
            for client in [ann, silent] { try await client.abort() }
        }
    }

    @Test func aServerThatDrainsIsAliveAndNotReady() async throws {
        let (server, running, ann) = try await closingServer()
        let report = try #require(await server.report)
        #expect(report.readiness().status.hasPrefix("200 "))
        server.shutdown()
        guard case .goingAway = try await ann.next() else { throw TestFailure(message: "not told") }
        #expect(report.readiness().status.hasPrefix("503 "))
        #expect(String(decoding: report.readiness().body, as: UTF8.self) == "draining\n")
        #expect(report.liveness().status.hasPrefix("200 "))
        try await ann.channel.close()
        try await running.value
    }

    @Test func theStateOfOtherPartsIsTextOnly() {
        let report = ServerReport(loops: 1, RoomServerConfiguration.Limits())
        report.add(.init(state: { "the store is away" }))
        #expect(String(decoding: report.readiness().body, as: UTF8.self) == "ready\nthe store is away\n")
        #expect(report.readiness().status.hasPrefix("200 "))
        #expect(String(decoding: report.liveness().body, as: UTF8.self) == "alive\n")
    }

    @Test func aStuckLoopIsNotAlive() {
        let report = ServerReport(loops: 2, RoomServerConfiguration.Limits())
        let start = Timestamp(nanoseconds: 1)
        #expect(report.liveness(at: start).status.hasPrefix("200 "))
        for loop in report.loops { loop.pulse.beat(at: start, due: start) }
        report.loops[0].pulse.beat(at: start + .seconds(8), due: start + .seconds(8))
        #expect(report.liveness(at: start + .milliseconds(9999)).status.hasPrefix("200 "))
        let answer = report.liveness(at: start + .seconds(10))
        #expect(answer.status.hasPrefix("503 "))
        #expect(String(decoding: answer.body, as: UTF8.self) == "stuck for 10 s: event loop 1\n")
    }

    @Test func theLongestDelayIsRememberedForAWhileAndAPresentOneIsSeen() {
        let pulse = LoopPulse()
        var now = Timestamp(nanoseconds: 1)
        func beat(late: Duration = .zero) {
            now = now + LoopPulse.interval + late
            pulse.beat(at: now, due: now - late)
        }
        beat()
        #expect(pulse.lag(at: now) == .zero)
        #expect(pulse.lag(at: now + .seconds(3) + LoopPulse.interval) == .seconds(3))
        beat(late: .seconds(2))
        for _ in 0..<100 { beat() }
        #expect(pulse.lag(at: now) == .seconds(2))
        for _ in 0..<200 { beat() }
        #expect(pulse.lag(at: now) == .zero)
    }

    @Test func eventLoopsHaveAPulse() async throws {
        try await withServer { server in
            let report = try #require(await server.report)
            #expect(report.loops.count == 3)
            for loop in report.loops {
                // The first one comes with the start.
                #expect(!loop.pulse.isAlive(at: .now() + .seconds(3600)))
                #expect(loop.pulse.isAlive(at: .now()))
            }
        }
    }
}
