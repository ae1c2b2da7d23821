import Testing

@testable import WebSocketWire

@Suite("Network addresses")
struct NetworkAddressTests {
    @Test(
        arguments: [
            ("127.0.0.1", "127.0.0.1"), ("::1", "0:0:0:0:0:0:0:1"), ("::", "0:0:0:0:0:0:0:0"),
            ("2001:DB8::8:800:200c:417a", "2001:db8:0:0:8:800:200c:417a"), ("1::", "1:0:0:0:0:0:0:0"),
            ("fe80::1%eth0", "fe80:0:0:0:0:0:0:1"), ("::ffff:192.0.2.7", "192.0.2.7"),
            ("::ffff:c000:207", "192.0.2.7"), ("64:ff9b::192.0.2.7", "192.0.2.7"),
            ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
            ("64:ff9b:1::192.0.2.7", "64:ff9b:1:0:0:0:c000:207"), ("255.255.255.255", "255.255.255.255"),
        ])
    func oneAddressHasOneForm(_ text: String, _ form: String) {
        #expect(NetworkAddress(text)?.description == form)
    }

    @Test(arguments: [
        "", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.4 ", "1..2.3", "+1.2.3.4", "::1::", "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7::8", ":1", "1:", ":::", "12345::", "g::", "::1.2.3", "1.2.3.4::",
        "1:2:3:4:5:6:7:1.2.3.4", "[::1]", "localhost", String(repeating: "1", count: 100),
    ])
    func anythingElseIsNone(_ text: String) { #expect(NetworkAddress(text) == nil) }

    @Test(
        arguments: [
            ("10.0.0.0/8", "10.255.0.1", true), ("10.0.0.0/8", "11.0.0.1", false), ("10.9.8.7/8", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.1", true), ("10.0.0.1", "10.0.0.2", false), ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "::2", false), ("::/0", "2001:db8::1", true), ("::/0", "10.0.0.1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true), ("2001:db8::/32", "2001:db9::", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true), ("::ffff:10.0.0.0/104", "10.1.2.3", true),
        ])
    func aRangeIsWhatBeginsWithTheSameBits(_ range: String, _ address: String, _ isIn: Bool) throws {
        let range = try #require(AddressRange(range))
        #expect(range.contains(try #require(NetworkAddress(address))) == isIn)
    }

    @Test(arguments: [
        "", "/", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8/8", "::/129", "10.0.0.0/+8",
        "::ffff:10.0.0.0/8", "fe80::%eth0/64", "all",
    ])
    func anythingElseIsNoRange(_ text: String) { #expect(AddressRange(text) == nil) }
}

@Suite("Proxies in front")
struct ProxyTests {
    /// The walk from the right over the trusted 10.0.0.0/8 to the first address that is not.
    @Test(
        arguments: [
            ([], "10.0.0.1"), (["203.0.113.9"], "203.0.113.9"), (["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
            (["1.1.1.1, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
            (["1.1.1.1", "203.0.113.9", "10.0.0.2"], "203.0.113.9"),
            (["203.0.113.9:4711"], "203.0.113.9"), (["[2001:db8::7]:4711"], "2001:db8:0:0:0:0:0:7"),
            (["2001:db8::7"], "2001:db8:0:0:0:0:0:7"), (["[2001:db8::7]"], "2001:db8:0:0:0:0:0:7"),
            (["::ffff:203.0.113.9"], "203.0.113.9"), (["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            // What cannot be read stops the walk at the last address before it.
            (["203.0.113.9, unknown, 10.0.0.2"], "10.0.0.2"), (["203.0.113.9,"], "10.0.0.1"), ([""], "10.0.0.1"),
            (["203.0.113.9:", "10.0.0.2"], "10.0.0.2"), (["[203.0.113.9]"], "10.0.0.1"),
            (["203.0.113.9:port"], "10.0.0.1"), (["[2001:db8::7]x"], "10.0.0.1"),
        ] as [([String], String)])
    func theFirstAddressThatIsNotTrustedCounts(_ lines: [String], _ client: String) throws {
        let trusted = try #require(AddressRange("10.0.0.0/8"))
        let peer = try #require(NetworkAddress("10.0.0.1"))
        let found = ForwardedFor.client(of: peer, lines) { trusted.contains($0) }
        #expect(found.description == client)
    }

    @Test func aPeerThatIsNotTrustedIsNotAsked() throws {
        let peer = try #require(NetworkAddress("203.0.113.9"))
        #expect(ForwardedFor.client(of: peer, ["1.1.1.1"]) { _ in false } == peer)
    }

    private static let signature: [UInt8] = [13, 10, 13, 10, 0, 13, 10, 0x51, 0x55, 0x49, 0x54, 10]

    private static func header(_ command: UInt8, _ family: UInt8, _ body: [UInt8]) -> [UInt8] {
        signature + [command, family, UInt8(body.count >> 8), UInt8(body.count & 0xFF)] + body
    }

    private static func read(_ bytes: [UInt8]) throws -> ProxyHeader? {
        try bytes.withUnsafeBytes { bytes throws(ProxyHeader.Malformed) in try ProxyHeader.read(bytes) }
    }

    private static let ipv4: [UInt8] = [203, 0, 113, 9, 10, 0, 0, 1, 0x12, 0x34, 0x01, 0xBB]
    private static let ipv6: [UInt8] =
        [0x20, 1, 0x0D, 0xB8] + [UInt8](repeating: 0, count: 11) + [7] + [UInt8](repeating: 1, count: 20)

    @Test(
        arguments: [
            (header(0x21, 0x11, ipv4), "203.0.113.9"), (header(0x21, 0x21, ipv6), "2001:db8:0:0:0:0:0:7"),
            // An extension follows.
            (header(0x21, 0x11, ipv4 + [4, 0, 1, 0]), "203.0.113.9"),
            (header(0x20, 0x00, []), nil), (header(0x20, 0x11, ipv4), nil), (header(0x20, 0xFF, []), nil),
            (header(0x21, 0x00, [1, 2]), nil), (header(0x21, 0x31, [UInt8](repeating: 0, count: 216)), nil),
        ] as [([UInt8], String?)])
    func aHeaderIsReadToItsEndAndNotFurther(_ bytes: [UInt8], _ client: String?) throws {
        let header = try #require(try Self.read(bytes + Array("GET".utf8)))
        #expect(header.client?.description == client)
        #expect(header.length == bytes.count)
        for count in bytes.indices { #expect(try Self.read(Array(bytes.prefix(count))) == nil) }
    }

    @Test(arguments: [
        Array("GET / HTTP/1.1\r\n".utf8), Array("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n".utf8), [13, 10, 13, 10, 1],
        header(0x11, 0x11, ipv4), header(0x22, 0x11, ipv4), header(0x21, 0x12, ipv4), header(0x21, 0x41, ipv4),
        header(0x21, 0x11, Array(ipv4.dropLast())), header(0x21, 0x21, ipv4), signature + [0x21, 0x11, 0x10, 0x00],
    ])
    func anythingElseIsMalformed(_ bytes: [UInt8]) {
        #expect(throws: ProxyHeader.Malformed.self) { try Self.read(bytes) }
    }
}
