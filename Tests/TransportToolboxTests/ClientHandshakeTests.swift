import Testing
import TransportToolbox
import TransportValues
import WebSocketWire

@Suite struct ClientHandshakeTests {
    @Test func theUsualPortIsNoPartOfTheHost() throws {
        func request(_ url: String) throws -> String {
            String(decoding: ClientHandshake(try SignalingEndpoint(url: url)).request, as: UTF8.self)
        }
        for url in ["ws://h/", "ws://h:80/", "wss://h:443/"] {
            #expect(try request(url).contains("\r\nHost: h\r\n"))
        }
        #expect(try request("wss://[::1]:80/").contains("\r\nHost: [::1]:80\r\n"))
    }

    @Test func everyHandshakeHasAnotherKey() throws {
        let endpoint = try SignalingEndpoint(url: "ws://h/")
        #expect(ClientHandshake(endpoint).request != ClientHandshake(endpoint).request)
    }

    @Test func anotherStatusIsARefusal() throws {
        let endpoint = try SignalingEndpoint(url: "ws://h/")
        func error(_ lines: String) throws -> TransportError? {
            ClientHandshake(endpoint).error(in: try #require(ResponseHead(lines.utf8)), from: endpoint)
        }
        let busy = try error("HTTP/1.1 503 x\r\nRetry-After: 7")
        #expect(busy?.code == .refused && busy?.status == 503 && busy?.retryAfter == .seconds(7))
        #expect(busy?.isRetryable == true)
        let forbidden = try error("HTTP/1.1 403 x\r\nRetry-After: soon")
        #expect(forbidden?.status == 403 && forbidden?.retryAfter == nil && forbidden?.isRetryable == false)
        let wrong = try error("HTTP/1.1 101 x\r\nUpgrade: h2c")
        #expect(wrong?.code == .handshakeFailed && wrong?.message.contains("did not upgrade") == true)
    }
}
