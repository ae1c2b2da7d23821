import Testing
import TransportValues

@testable import TransportToolbox

@Suite struct SignalingDialerTests {
    @Test func manyAddressesAreCutWithoutLosingAFamily() {
        let six = (1...40).map { "fd00::\($0)" }
        let four = (1...40).map { "10.0.0.\($0)" }
        #expect(NameResolver.limited(six + ["10.0.0.1"]) == Array(six.prefix(15)) + ["10.0.0.1"])
        #expect(NameResolver.limited(six + four) == Array(six.prefix(8)) + four.prefix(8))
        #expect(NameResolver.limited(four) == Array(four.prefix(16)))
        #expect(NameResolver.limited(Array(six.prefix(8)) + four.prefix(2)) == Array(six.prefix(8)) + four.prefix(2))
        #expect(NameResolver.limited([]) == [])
    }

    @Test func aProxyIsAskedWithoutAZoneAndWithItsCredentials() throws {
        var endpoint = try SignalingEndpoint(url: "wss://[fe80::1%25eth0]/?SECRET")
        endpoint.headers = [("Authorization", "SECRET")]
        for (user, password, credentials) in [
            ("Aladdin", "open sesame", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), ("a", "b", "YTpi"), ("a", "", "YTo="),
            ("ü", "b", "w7w6Yg=="),
        ] {
            endpoint.proxy = .init(host: "p", port: 1, user: user, password: password)
            #expect(
                String(decoding: ProxyTunnel.request(for: endpoint), as: UTF8.self)
                    == "CONNECT [fe80::1]:443 HTTP/1.1\r\nHost: [fe80::1]:443\r\n"
                    + "Proxy-Authorization: Basic \(credentials)\r\n\r\n")
        }
    }

    @Test(arguments: ["a b", "a\r\nEvil: 1", "", "a/b"])
    func aProxyWhoseHostIsNoneIsRefused(_ host: String) async throws {
        let dialer = try SignalingDialer()
        var endpoint = try SignalingEndpoint(url: "ws://127.0.0.1:1/")
        endpoint.proxy = .init(host: host, port: 1)
        do throws(TransportError) {
            _ = try await dialer.connect(to: endpoint, deadline: .now() + .seconds(5))
            Issue.record("it connected")
        } catch { #expect(error.code == .invalidArgument) }
        await dialer.shutdown()
    }

    @Test func aDialerThatIsShutDownMakesNoConnection() async throws {
        let dialer = try SignalingDialer()
        await dialer.shutdown()
        do throws(TransportError) {
            _ = try await dialer.connect(
                to: try SignalingEndpoint(url: "ws://127.0.0.1:1/"), deadline: .now() + .seconds(5))
            Issue.record("it connected")
        } catch { #expect(error.code == .closed) }
    }
}
