import Foundation
import Hashing
import NIOCore
import RoomProtocol
import Testing
import WebSocketWire

@testable import RoomServer

@Suite("Webhooks", .timeLimit(.minutes(1)))
struct WebhookTests {
    private static let secrets = [Array("the old secret, 24 bytes".utf8), Array("the new secret, 24 bytes".utf8)]

    private func withHook(
        _ receiver: TestReceiver, isolation: isolated (any Actor)? = #isolation,
        _ body: (RoomServer) async throws -> Void
    ) async throws {
        try await withServer {
            $0.threads = 2
            $0.webhooks.urls = [receiver.url]
            $0.webhooks.secrets = Self.secrets
            $0.webhooks.limits.firstDelay = .milliseconds(20)
        } _: {
            try await body($0)
        }
    }

    private func json(_ request: TestReceiver.Request) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(request.body)) as? [String: Any])
    }

    private func type(_ request: TestReceiver.Request) throws -> String {
        try #require(try json(request)["type"] as? String)
    }

    private func take(_ count: Int, _ receiver: TestReceiver) async -> [TestReceiver.Request] {
        var requests: [TestReceiver.Request] = []
        for await request in receiver.requests {
            requests.append(request)
            if requests.count == count { break }
        }
        return requests
    }

    @Test func theLifeOfARoomIsPostedInOrderAndSignedWithEverySecret() async throws {
        let receiver = try await TestReceiver()
        try await withHook(receiver) { server in
            let ann = try await TestClient.join(server, "ann", .host)
            let bob = try await TestClient.join(server, "bob")
            try await bob.sayNumbered(.leave)
            try await ann.sayNumbered(.closeRoom(reason: "over"))
            let requests = await take(7, receiver)
            #expect(
                try requests.map(type) == [
                    "room.opened", "participant.joined", "host.changed", "participant.joined", "participant.left",
                    "participant.left", "room.closed",
                ])
            #expect(Set(requests.map(\.id)).count == 7)
            for request in requests {
                #expect(request.head.method == "POST" && request.head.target == "/hook?secret=1")
                #expect(try json(request)["id"] as? String == request.id)
                let time = try #require(request.head.fields.value("webhook-timestamp"))
                let signed = Array("\(request.id).\(time).".utf8) + request.body
                let expected = Self.secrets.map { "v1," + Base64.encode(Crypto.hmac(.sha256, key: $0, signed)) }
                #expect(request.head.fields.value("webhook-signature") == expected.joined(separator: " "))
            }
            let last = try #require(try json(requests[6])["data"] as? [String: Any])
            #expect(last["by"] as? String == "host" && last["reason"] as? String == "over")
        }
    }

    /// Standard Webhooks 1.0, the example of its libraries.
    @Test func aSignatureIsThatOfTheSpecification() throws {
        let file = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString).path
        try Data("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\nanother secret as it is\r\n".utf8).write(
            to: URL(filePath: file))
        defer { unlink(file) }
        #expect(chmod(file, 0o600) == 0)
        let secrets = try WebhookSecret.all(file, CapturedLog().logger)
        #expect(secrets.count == 2 && secrets[1] == Array("another secret as it is".utf8))
        #expect(
            WebhookSecret.signatures(
                [secrets[0]], id: "msg_p5jXN8AQM9LWM0D4loKWxJek", time: 1_614_265_330,
                body: Array(#"{"test": 2432232314}"#.utf8)) == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
    }

    @Test func whatFailsIsSentAgainUnderTheSameIdBeforeWhatFollows() async throws {
        let receiver = try await TestReceiver(reply: { _, earlier in
            switch earlier {
            case 0: .status(500)
            case 1: .hangUp
            case 2: .status(302, headers: "Location: http://127.0.0.1:9/\r\n")
            case 3: .status(503, headers: "Retry-After: 0\r\n")
            default: .status(204)
            }
        })
        try await withHook(receiver) { server in
            let ann = try await TestClient.join(server, "ann", .host)
            let requests = await take(7, receiver)
            #expect(Set(requests[0...4].map(\.id)).count == 1 && Set(requests[0...4].map(\.text)).count == 1)
            #expect(
                try requests[4...].map(type) == ["room.opened", "participant.joined", "host.changed"])
            withExtendedLifetime(ann) {}
        }
    }

    @Test func aReceiverThatIsGoneGetsNoMore() async throws {
        let receiver = try await TestReceiver(reply: { _, _ in .status(410) })
        try await withServer {
            $0.webhooks.urls = [receiver.url]
            $0.webhooks.secrets = Self.secrets
            $0.admin = .init()
            $0.admin?.port = 0
            $0.admin?.token = Array("0123456789abcdef".utf8)
        } _: { server in
            let admin = try AdminClient(.init(#require(await server.adminURL)), token: "0123456789abcdef")
            let ann = try await TestClient.join(server, "ann", .host)
            #expect(await take(1, receiver).count == 1)
            var hook: [String: Any] = [:]
            repeat {
                let info = try #require(
                    try JSONSerialization.jsonObject(with: Data(try await admin.request("GET", ["info"]).body))
                        as? [String: Any])
                hook = try #require((info["webhooks"] as? [[String: Any]])?.first)
            } while hook["disabled"] as? Bool == false
            #expect(hook["waiting"] as? Int == 0)
            // A query may hold a secret.
            #expect(hook["url"] as? String == "http://127.0.0.1:\(receiver.port)/hook")
            withExtendedLifetime(ann) {}
        }
    }

    @Test func aServerThatEndsGracefullyDeliversWhatWaits() async throws {
        let receiver = try await TestReceiver()
        var configuration = RoomServerConfiguration()
        configuration.webhooks.urls = [receiver.url]
        configuration.webhooks.secrets = Self.secrets
        let server = RoomServer(configuration: configuration, logger: CapturedLog().logger)
        async let run: Void = server.run()
        let ann = try await TestClient.join(server, "ann", .host)
        server.shutdown()
        try await run
        #expect(await take(3, receiver).count == 3)
        withExtendedLifetime(ann) {}
    }

    @Test func httpsIsVerified() async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString).path
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let logger = CapturedLog().logger
        let certificate = try SelfSignedCertificate.persistent(
            for: ["localhost", "127.0.0.1"], in: ["XDG_STATE_HOME": folder], logger)
        let context = try TLSContext(.init(certificate), TicketKeys(secrets: [Self.secrets[0]]))
        let receiver = try await TestReceiver(tls: { channel in
            try channel.pipeline.syncOperations.addHandler(try context.makeHandler())
        })
        func post(host: String, authorities: String?) async throws -> Int {
            let tls = try TLSClientContext(authoritiesFile: authorities)
            let request = HTTPRequest(
                method: "POST", target: "/", destination: .tcp(host: "127.0.0.1", port: receiver.port),
                tls: (tls, host), body: Array("{}".utf8))
            return try await HTTPExchange.perform(
                request, wantsBody: false, within: .seconds(10), on: receiver.eventLoop
            ).get().head.status
        }
        #expect(try await post(host: "localhost", authorities: folder + "/room/tls.pem") == 200)
        #expect(try await post(host: "127.0.0.1", authorities: folder + "/room/tls.pem") == 200)
        for (host, authorities) in [("example.org", folder + "/room/tls.pem"), ("localhost", nil)] {
            let error = await #expect(throws: RoomServerError.self) {
                try await post(host: host, authorities: authorities)
            }
            #expect(error?.message.contains("certificate is not valid") == true)
        }
    }

    @Test(arguments: [
        ("http://example.org", "http://example.org/"), ("https://Example.org:443/a?b", "https://Example.org/a?b"),
        ("http://[::1]:8080", "http://[::1]:8080/"), ("HTTP://127.0.0.1:1?x=1", "http://127.0.0.1:1/?x=1"),
        ("ftp://example.org", nil), ("http://", nil), ("http://a:b@c/", nil), ("http://a/#b", nil),
        ("http://a:0/", nil),
        ("http://a:65536/", nil), ("http://::1/", nil), ("http://a b/", nil), ("http://[::1", nil),
    ])
    func urlsAreReadOrRefused(_ text: String, _ result: String?) {
        #expect((try? HTTPURL(text))?.description == result)
    }
}
