import Glibc
import Metrics
import MetricsTestKit
import RoomProtocol
import Testing
import TransportValues

@testable import RoomServer

@Suite("Metrics", .timeLimit(.minutes(1)))
struct MetricsTests {
    private static let rooms = (0..<24).map { "room \($0)" }

    @Test func theMetricsOfAllThreadsAreCountedTogether() async throws {
        try await withServer {
            $0.servesMetrics = true
        } _: { server in
            for (ann, bob) in try await TestClient.pairs(server, in: Self.rooms) {
                try await bob.sayNumbered(ann.signal("hello"))
                #expect(try await ann.nextSignal().reason == "hello")
            }
            let metrics = try await TestClient.metrics(of: server)
            #expect(metrics.value("room_server_rooms") == 24)
            #expect(metrics.value("room_server_participants") == 48)
            #expect(metrics.value("room_server_connections", ["state": "joined"]) == 48)
            #expect(metrics.value("room_server_connections", ["state": "hello"]) == 0)
            #expect(metrics.value("room_server_connections", ["state": "waiting"]) == 0)
            #expect(metrics.value("room_server_joins_total", ["kind": "first"]) == 48)
            #expect(metrics.value("room_server_joins_total", ["kind": "resume"]) == 0)
            #expect(metrics.value("room_server_http_responses_total", ["code": "101"]) == 48)
            #expect(metrics.value("room_server_signals_total") == 24)
            // Hello of both, and the signal.
            #expect(metrics.value("room_server_messages_received_total") == 72)
            #expect(metrics.value("room_server_handshake_seconds_count") == 48)
            #expect(metrics.value("room_server_join_seconds_count") == 48)
            #expect(try #require(metrics.value("room_server_join_seconds_sum")) > 0)
            #expect(metrics.value("room_server_tls_handshake_seconds_count") == 0)
            #expect(try #require(metrics.value("room_server_stream_bytes")) > 0)
            #expect(metrics.samples("room_server_loop_cpu_seconds_total").count == 3)
            #expect(metrics.value("room_server_build_info", ["version": RoomServer.version]) == 1)
            #expect(metrics.samples("room_server_refusals_total").allSatisfy { $0.value == 0 })
            let bytes = try #require(metrics.value("room_server_received_bytes_total"))
            #expect(bytes > Double(48 * TestClient.handshake.utf8.count))
            #expect(try #require(metrics.value("room_server_sent_bytes_total")) > 48 * 100)
        }
    }

    @Test func returnsAndRefusalsAreCountedByKind() async throws {
        try await withServer {
            $0.servesMetrics = true
            $0.allowedOrigins = ["https://example.org"]
        } _: { server in
            let ann = try await TestClient.join(server, "ann", .host)
            let bob = try await TestClient.join(server, "bob")
            try await bob.abort()
            let again = try await TestClient.comeBack(server, "bob", from: bob)
            #expect(again.joined?.isResumed == true)
            // In order: a guest whose room exists by then, one that waits, and one that is refused.
            let waiting = try await TestClient.open(server)
            var hello = Hello(room: RoomName("later"), role: .guest, name: "cat")
            hello.waitsForRoom = true
            try await waiting.say(.hello(hello))
            guard case .waiting = try await waiting.next() else { throw TestFailure(message: "does not wait") }
            let refused = try await TestClient.open(server)
            try await refused.say(.hello(Hello(room: RoomName("nowhere"), role: .guest, name: "dog")))
            guard case .error = try await refused.next() else { throw TestFailure(message: "not refused") }
            let page = try await TestClient.dial(server)
            try await page.send(raw: TestClient.handshake.dropLast(1) + "Origin: https://evil.example\r\n\r\n")
            #expect(try #require(await page.head()).hasPrefix("HTTP/1.1 403 "))
            let metrics = try await TestClient.metrics(of: server)
            #expect(metrics.value("room_server_joins_total", ["kind": "resume"]) == 1)
            #expect(metrics.value("room_server_joins_total", ["kind": "first"]) == 2)
            #expect(metrics.value("room_server_connections", ["state": "waiting"]) == 1)
            #expect(metrics.value("room_server_connections", ["state": "joined"]) == 2)
            #expect(metrics.value("room_server_refusals_total", ["code": "room_not_found"]) == 1)
            #expect(metrics.value("room_server_http_responses_total", ["code": "403"]) == 1)
            try await ann.abort()
        }
    }

    @Test func aRebuiltRoomCountsRejoins() async throws {
        let key = [UInt8](repeating: 7, count: 32)
        var old: TestClient?
        try await withServer {
            $0.sessionKey = .bytes(key)
        } _: { server in
            old = try await TestClient.join(server, "ann", .host)
        }
        let ann = try #require(old)
        try await withServer {
            $0.sessionKey = .bytes(key)
            $0.servesMetrics = true
        } _: { server in
            _ = try await TestClient.comeBack(server, "ann", from: ann)
            let metrics = try await TestClient.metrics(of: server)
            #expect(metrics.value("room_server_joins_total", ["kind": "rejoin"]) == 1)
            #expect(metrics.value("room_server_joins_total", ["kind": "first"]) == 0)
        }
    }

    @Test func theProcessIsDescribed() async throws {
        try await withServer {
            $0.servesMetrics = true
        } _: { server in
            let metrics = try await TestClient.metrics(of: server)
            let start = try #require(metrics.value("process_start_time_seconds"))
            let now = Double(time(nil))
            #expect(start > now - 86_400 && start <= now + 1, "\(start)")
            #expect(try #require(metrics.value("process_resident_memory_bytes")) > 1_000_000)
            let open = try #require(metrics.value("process_open_fds"))
            #expect(try open > 3 && open <= #require(metrics.value("process_max_fds")))
            #expect(try #require(metrics.value("process_cpu_seconds_total")) > 0)
        }
    }

    @Test func metricsAreServedOnlyWhereThatIsConfigured() async throws {
        try await withServer {
            $0.servesPage = true
        } _: { server in
            let answer = try await TestClient.get(server, "/metrics")
            #expect(answer.head.hasPrefix("HTTP/1.1 404 "))
        }
    }

    @Test func theFormatIsNegotiated() async throws {
        try await withServer {
            $0.servesMetrics = true
        } _: { server in
            let plain = try await TestClient.get(server, "/metrics?x", "Accept: text/plain\r\n")
            #expect(plain.head.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8"))
            let open = try await TestClient.get(
                server, "/metrics", "Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.4\r\n")
            #expect(open.head.contains("\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8"))
            #expect(open.body.hasSuffix("\n# EOF\n"))
            #expect(open.body.contains("# TYPE room_server_signals counter\nroom_server_signals_total 0\n"))
            let head = try await TestClient.get(server, "/metrics", method: "HEAD")
            #expect(head.head.hasPrefix("HTTP/1.1 200 ") && head.body.isEmpty)
        }
    }

    @Test func valuesOfLabelsAreEscaped() throws {
        let value = "a \"quoted\" \\ value\nwith a line"
        let family = MetricFamily(
            "x", .gauge, "Help with \\ and\na line.",
            [.init(labels: [.init(name: "l", value: value)], value: .number(.infinity))])
        let text = MetricsText.text([family], .prometheus)
        #expect(text.split(separator: "\n").count == 3)
        #expect(try Exposition(text.replacing("+Inf", with: "1")).samples("x").map(\.labels) == [["l": value]])
    }

    @Test func durationsAreCountedUpToTheLimitsOfTheirBuckets() {
        let counts = DurationCounts("x", [0.001, 1])
        for milliseconds in [0, 1, 2, 1000, 1001] { counts.add(.milliseconds(milliseconds)) }
        #expect(counts.value.buckets == [2, 2, 1] && abs(counts.value.seconds - 2.004) < 1e-9)
    }

    /// Programs with a metrics system of their own get the same.
    @Test func swiftMetricsGetsWhatWasAdded() throws {
        let system = TestMetrics()
        var publisher = MetricsPublisher(factory: system)
        let report = ServerReport(loops: 2, RoomServerConfiguration.Limits())
        for loop in report.loops {
            loop.received()
            loop.sockets.set(5)
        }
        publisher.publish(report.families())
        report.loops[1].received()
        publisher.publish(report.families())
        let counter = try system.expectCounter("room_server_messages_received")
        #expect(counter.values == [2, 1])
        #expect(try system.expectGauge("room_server_connections", [("state", "http")]).lastValue == 10)
    }
}
