import Foundation
import RoomProtocol
import Testing
import WebSocketWire

@testable import RoomServer

@Suite("The admin token and webhooks that are replaced while the server runs", .timeLimit(.minutes(1)))
struct ReloadControlTests {
    private static let secret = Array("a secret of some 24 bytes".utf8)

    @Test func aNewAdminTokenReplacesTheOldOne() async throws {
        var configuration = RoomServerConfiguration()
        configuration.admin = .init()
        configuration.admin?.port = 0
        configuration.admin?.token = Array("the-token-of-last-year".utf8)
        try await withServer({ $0 = configuration }) { server in
            let address = try AdminClient.Address(#require(await server.adminURL))
            func status(_ token: String) async throws -> Int {
                try await AdminClient(address, token: token).request("GET", ["info"]).status
            }
            // Over one connection, too.
            configuration.admin?.token = Array("the-token-of-this-year".utf8)
            try await server.reload(configuration)
            #expect(try await status("the-token-of-last-year") == 401)
            #expect(try await status("the-token-of-this-year") == 200)
            // A mistake changes nothing.
            configuration.admin?.token = Array("short".utf8)
            await #expect(throws: RoomServerError.self) { try await server.reload(configuration) }
            #expect(try await status("the-token-of-this-year") == 200)
        }
    }

    private func type(_ request: TestReceiver.Request?) throws -> String? {
        let object = try JSONSerialization.jsonObject(with: Data(#require(request).body)) as? [String: Any]
        return object?["type"] as? String
    }

    @Test func webhooksComeAndGoAndTheirNumbersAreMetrics() async throws {
        let (first, second) = (try await TestReceiver(), try await TestReceiver())
        var (firsts, seconds) = (first.requests.makeAsyncIterator(), second.requests.makeAsyncIterator())
        var configuration = RoomServerConfiguration()
        configuration.threads = 2
        configuration.servesMetrics = true
        try await withServer({ $0 = configuration }) { server in
            // There was none at the start.
            configuration.webhooks.urls = [first.url]
            configuration.webhooks.secrets = [Self.secret]
            try await server.reload(configuration)
            let ann = try await TestClient.join(server, "ann", .host, room: "a")
            for event in ["room.opened", "participant.joined", "host.changed"] {
                #expect(try type(await firsts.next()) == event)
            }
            // Another one beside it, then that one alone.
            configuration.webhooks.urls = [first.url, second.url]
            try await server.reload(configuration)
            let bob = try await TestClient.join(server, "bob", room: "a")
            #expect(try type(await firsts.next()) == "participant.joined")
            #expect(try type(await seconds.next()) == "participant.joined")
            configuration.webhooks.urls = [second.url]
            configuration.webhooks.secrets = [Array("another secret of 24 bytes".utf8)]
            try await server.reload(configuration)
            let carl = try await TestClient.join(server, "carl", room: "a")
            let signed = try #require(await seconds.next())
            #expect(try type(signed) == "participant.joined")
            let time = Int(signed.head.fields.value("webhook-timestamp") ?? "") ?? 0
            #expect(
                signed.head.fields.value("webhook-signature")
                    == WebhookSecret.signatures(
                        configuration.webhooks.secrets, id: signed.id, time: time, body: signed.body))
            // A mistake changes nothing.
            configuration.webhooks.secrets = []
            await #expect(throws: RoomServerError.self) { try await server.reload(configuration) }
            let dora = try await TestClient.join(server, "dora", room: "a")
            #expect(try type(await seconds.next()) == "participant.joined")
            var metrics = try await TestClient.metrics(of: server)
            // Answers to the last ones may be on their way.
            while metrics.value("room_server_webhooks_delivered_total") != 7 {
                metrics = try await TestClient.metrics(of: server)
            }
            #expect(metrics.value("room_server_webhooks_waiting") == 0)
            #expect(metrics.value("room_server_webhooks", ["state": "ok"]) == 1)
            withExtendedLifetime((ann, bob, carl, dora)) {}
        }
    }

    @Test func failuresDropsAndStatesAreMetrics() async throws {
        let receiver = try await TestReceiver(reply: { _, earlier in .status(earlier < 3 ? 500 : 410) })
        try await withServer {
            $0.threads = 1
            $0.servesMetrics = true
            $0.webhooks.urls = [receiver.url]
            $0.webhooks.secrets = [Self.secret]
            $0.webhooks.limits.firstDelay = .milliseconds(1)
        } _: { server in
            let ann = try await TestClient.join(server, "ann", .host)
            var metrics = try await TestClient.metrics(of: server)
            while metrics.value("room_server_webhooks", ["state": "disabled"]) != 1 {
                metrics = try await TestClient.metrics(of: server)
            }
            #expect(metrics.value("room_server_webhooks", ["state": "failing"]) == 0)
            #expect(metrics.value("room_server_webhooks_failed_total") == 3)
            #expect(metrics.value("room_server_webhooks_dropped_total") == 3)
            #expect(metrics.value("room_server_webhooks_waiting") == 0)
            withExtendedLifetime(ann) {}
        }
    }
}
