import Testing

@testable import TransportValues

@Suite struct ProxyEnvironmentTests {
    private func proxy(_ url: String, _ environment: [String: String]) throws -> String? {
        try SignalingEndpoint(url: url).proxy(inEnvironment: environment).map { "\($0)" }
    }

    @Test func eachSchemeHasItsVariables() throws {
        let all = [
            "http_proxy": "plain:1", "HTTP_PROXY": "evil:1", "https_proxy": "secure:2", "HTTPS_PROXY": "upper:3",
            "all_proxy": "all:4", "ALL_PROXY": "ALL:5",
        ]
        #expect(try proxy("ws://h/", all) == "plain:1")
        #expect(try proxy("wss://h/", all) == "secure:2")
        #expect(try proxy("wss://h/", all.filter { $0.key != "https_proxy" }) == "upper:3")
        #expect(try proxy("wss://h/", ["https_proxy": "", "all_proxy": "all:4"]) == "all:4")
        #expect(try proxy("ws://h/", ["ALL_PROXY": "ALL:5"]) == "ALL:5")
        #expect(try proxy("ws://h/", ["HTTP_PROXY": "evil:1"]) == nil, "a web server's client may have set it")
        #expect(try proxy("ws://h/", [:]) == nil)
    }

    @Test(arguments: [
        "localhost", "LOCALHOST", "a.localhost", "localhost.", "127.0.0.1", "127.9.9.9", "[::1]", "[::ffff:127.0.0.1]",
        "[::1%25lo]",
    ])
    func thisMachineIsAlwaysDirect(_ host: String) throws {
        #expect(try proxy("ws://\(host):8080/", ["http_proxy": "socks5://no/good"]) == nil)
    }

    @Test(arguments: [
        ("*", "h.example"), ("example", "h.example"), (".example", "h.example"), ("*.example", "H.Example."),
        ("h.example", "h.example"), ("other, h.example", "h.example"), ("other h.example", "h.example"),
        ("h.example:8080", "h.example"), (".example.:8080", "h.example"), ("10.1.2.3", "10.1.2.3"),
        ("10.0.0.0/8", "10.1.2.3"), ("0.0.0.0/0", "10.1.2.3"), ("10.1.2.2/31", "10.1.2.3"), ("fd00::/8", "[fd00::1]"),
        ("fd00::1", "[fd00:0::1]"), ("[fd00::1]:8080", "[fd00::1]"), ("[fd00::1]", "[fd00::1]"),
        ("fe80::/10", "[fe80::1%25eth0]"), ("10.0.0.0/8", "[::ffff:10.1.2.3]"), ("10.1.2.3:8080", "10.1.2.3"),
    ])
    func hostsThatNoProxyNamesAreReachedDirectly(_ list: String, _ host: String) throws {
        let environment = ["http_proxy": "p:1"]
        #expect(try proxy("ws://\(host):8080/", environment.merging(["no_proxy": list]) { $1 }) == nil)
        #expect(try proxy("ws://\(host):8080/", environment.merging(["NO_PROXY": list]) { $1 }) == nil)
    }

    @Test(arguments: [
        ("xample", "h.example"), ("h.example:80", "h.example"), ("10.0.0.0/33", "10.1.2.3"), ("10.0.0.0/", "10.1.2.3"),
        ("10.1.2.4/31", "10.1.2.2"), ("::/0", "10.1.2.3"), ("/", "10.1.2.3"), (",, ,", "h.example"), (".", "h.example"),
        ("[", "h.example"), ("h.example:", "h.example"), ("10.0.0.0/-1", "10.1.2.3"), ("10.0.0.0/8/8", "10.1.2.3"),
    ])
    func hostsThatNoProxyDoesNotNameUseTheProxy(_ list: String, _ host: String) throws {
        #expect(try proxy("ws://\(host):8080/", ["http_proxy": "p:1", "no_proxy": list]) == "p:1")
    }

    @Test func aVariableThatCannotBeUsedIsNamed() throws {
        do throws(TransportError) {
            _ = try SignalingEndpoint(url: "wss://h/")
                .proxy(inEnvironment: ["all_proxy": "socks5://u:SECRET@h:1080"])
            Issue.record("it was taken")
        } catch {
            #expect(error.message.contains("all_proxy") && error.message.contains("SOCKS"))
            #expect(!error.message.contains("SECRET"))
        }
    }
}
