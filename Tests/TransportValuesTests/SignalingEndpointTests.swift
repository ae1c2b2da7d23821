import Testing

@testable import TransportValues

@Suite struct SignalingEndpointTests {
    private func refusal(_ url: String) -> String? {
        do throws(TransportError) {
            _ = try SignalingEndpoint(url: url)
            return nil
        } catch { return error.code == .invalidArgument ? error.message : "not .invalidArgument: \(error)" }
    }

    @Test func nothingThatIsShownHasTheQueryHeadersOrCredentials() throws {
        var endpoint = try SignalingEndpoint(url: "wss://example.org/rooms?access_token=SECRET&SECRET")
        endpoint.headers = [("Authorization", "SECRET")]
        endpoint.proxy = try .init(url: "http://SECRET:SECRET@proxy.example:3128")
        var dumped = ""
        dump(endpoint, to: &dumped)
        for text in [
            endpoint.url, "\(endpoint)", String(reflecting: endpoint), "\([endpoint])", dumped, "\(endpoint.proxy!)",
        ] {
            #expect(!text.contains("SECRET"), "\(text)")
        }
        #expect(endpoint.url == "wss://example.org:443/rooms?…")
        #expect(endpoint.path == "/rooms?access_token=SECRET&SECRET", "it is sent all the same")
    }

    @Test(arguments: [
        "ws://user:SECRET@example.org/", "wss://SECRET@example.org/?SECRET", "http://example.org/?token=SECRET",
        "ws://exa mple.org/?token=SECRET", "ws://[::1/?SECRET", "user:SECRET@example.org", "ws://h/#SECRET",
        "ws://a@b:SECRET@c:x/",
    ])
    func invalidURLsAreRefusedWithoutTheirSecrets(_ url: String) throws {
        let message = try #require(refusal(url))
        #expect(!message.contains("SECRET"), "\(message)")
    }

    @Test func queryAndHeadersTellEndpointsApart() throws {
        let one = try SignalingEndpoint(url: "ws://h/?a")
        #expect(try one != SignalingEndpoint(url: "ws://h/?b"))
        #expect(try one == SignalingEndpoint(url: "WS://h:80/?a"))
    }

    @Test(arguments: [
        // RFC 6874 §2, and as people write it.
        ("ws://[fe80::1%25eth0]:8080/", "fe80::1%eth0", 8080, "[fe80::1]:8080"),
        ("ws://[fe80::1%eth0]:8080/", "fe80::1%eth0", 8080, "[fe80::1]:8080"),
        ("ws://[fe80::1%25eth0%2E5]/", "fe80::1%eth0.5", 80, "[fe80::1]"),
        ("wss://[::ffff:127.0.0.1]", "::ffff:127.0.0.1", 443, "[::ffff:127.0.0.1]"),
        ("WSS://Example.Org.:/a", "Example.Org.", 443, "Example.Org."),
        ("ws://example.org?x=1", "example.org", 80, "example.org"),
        ("ws://under_score.example:80", "under_score.example", 80, "under_score.example"),
        ("ws://h/a%20b;c=1/@x:!$&'()*+,?d=/~_-.%7B", "h", 80, "h"),
    ])
    func hostsAreReadInEveryWayThatRFCsAllow(_ url: String, _ host: String, _ port: UInt16, _ header: String) throws {
        let endpoint = try SignalingEndpoint(url: url)
        #expect(endpoint.host == host && endpoint.port == port && endpoint.hostHeader == header)
        #expect(endpoint.path.hasPrefix("/"))
    }

    @Test func aZoneIsShownAsInAURLAndKeptOutOfNames() throws {
        var endpoint = try SignalingEndpoint(url: "wss://[fe80::1%eth0]/")
        #expect(endpoint.url == "wss://[fe80::1%25eth0]:443/")
        #expect(endpoint.certificateName == "fe80::1")
        endpoint.host = "example.org."
        #expect(endpoint.certificateName == "example.org")
        endpoint.tls.serverName = "other.example"
        #expect(endpoint.certificateName == "other.example")
    }

    @Test(arguments: [
        ("https://h/", "must be wss"), ("http://h/", "must be ws;"), ("ftp://h/", "neither ws nor wss"),
        ("h:80", "scheme"),
        ("ws:///", "host is missing"), ("ws://:80/", "host is missing"), ("ws://::1:8080/", "in brackets"),
        ("ws://[::1]80/", "port"), ("ws://h:0/", "port"), ("ws://h:65536/", "port"), ("ws://h:+1/", "port"),
        ("ws://[fe80::1%]/", "zone"), ("ws://[fe80::1%25a/b]/", "closed"), ("ws://[v1.x]/", "no IPv6 address"),
        ("ws://bücher.example/", "xn--"), ("ws://a%20b/", "character %"), ("ws://h/#f", "fragment"),
        ("ws://h/\u{7}", "control"), (" ws://h/", "begins or ends with a blank"), ("ws://h/\n", "control"),
        ("ws://h/a b", "path has a blank: write %20"), ("ws://h/?q={1}", "path has the character {: write %7B"),
        ("ws://h/\"x\"", "the character \": write %22"), ("ws://h/100%", "write %25"), ("ws://h/%2g", "write %25"),
        ("ws://h/a\\b", "write %5C"), ("ws://h/[x]", "write %5B"), ("ws://a b/", "host has a blank"),
        ("ws://{host}/", "host has the character {"), ("ws://\"h\"/", "host has the character \""),
    ])
    func theFaultOfAURLIsNamed(_ url: String, _ why: String) throws {
        let message = try #require(refusal(url))
        #expect(message.contains(why), "\(message)")
    }

    @Test func proxiesAreReadWithUserAndPassword() throws {
        let proxy = try SignalingEndpoint.Proxy(url: "http://us%40er:p%3Aw@[::1]:3128/")
        #expect(proxy == .init(host: "::1", port: 3128, user: "us@er", password: "p:w"))
        #expect("\(proxy)" == "[::1]:3128")
        #expect(try SignalingEndpoint.Proxy(url: "proxy:8080") == .init(host: "proxy", port: 8080))
        #expect(try SignalingEndpoint.Proxy(url: "HTTP://proxy") == .init(host: "proxy", port: 80))
    }

    @Test(arguments: [
        ("socks5h://u:SECRET@h:1080", "SOCKS"), ("https://u:SECRET@h", "TLS"), ("http://u:SECRET@h/x", "path"),
        ("", "host"),
        ("http://u:SECRET%zz@h/", "percent"), ("ftp://h", "scheme"),
    ])
    func invalidProxiesAreRefusedWithoutTheirPassword(_ url: String, _ why: String) throws {
        do throws(TransportError) {
            _ = try SignalingEndpoint.Proxy(url: url)
            Issue.record("it was taken")
        } catch { #expect(error.message.contains(why) && !error.message.contains("SECRET"), "\(error)") }
    }
}
