import Testing
import TransportPluginAPI

@testable import ICELibnice

@Suite struct ParserTests {
    @Test func whatBrowsersSendIsRead() throws {
        let line = try CandidateLine(
            "candidate:842163049 1 udp 1677729535 192.0.2.5 46154 typ srflx raddr 10.0.0.17 rport 46154 generation 0 ufrag EEtu network-id 1 network-cost 10"
        )
        #expect(line.foundation == "842163049")
        #expect(line.transport == "UDP")
        #expect(line.priority == 1_677_729_535)
        #expect(line.address == "192.0.2.5")
        #expect(line.port == 46154)
        #expect(line.kind == "srflx")
        #expect(line.relatedAddress == "10.0.0.17")
        #expect(line.relatedPort == 46154)
        #expect(line.isUsable)
        #expect(
            line.description
                == "candidate:842163049 1 UDP 1677729535 192.0.2.5 46154 typ srflx raddr 10.0.0.17 rport 46154")
        #expect(try CandidateLine("a=" + line.description + "\r\n") == line)
        let tcp = try CandidateLine("candidate:1 1 TCP 1019216383 2001:db8::1 9 typ host tcptype active")
        #expect(tcp.isUsable && tcp.tcpType == "active")
    }

    @Test(arguments: [
        "", "a=", "candidate", "candidate:", "candidate: 1 UDP 1 127.0.0.1 5 typ host", "x",
        "candidate:1 0 UDP 1 127.0.0.1 5 typ host", "candidate:1 257 UDP 1 127.0.0.1 5 typ host",
        "candidate:1 -1 UDP 1 127.0.0.1 5 typ host", "candidate:1 1 UDP 0 127.0.0.1 5 typ host",
        "candidate:1 1 UDP 2147483648 127.0.0.1 5 typ host", "candidate:1 1 UDP 99999999999999 127.0.0.1 5 typ host",
        "candidate:1 1 UDP 1 127.0.0.1 65536 typ host", "candidate:1 1 UDP 1 127.0.0.1 +5 typ host",
        "candidate:1 1 UDP 1 127.0.0.1 5 host", "candidate:1 1 UDP 1 127.0.0.1 5 typ",
        "candidate:1 1 UDP 1 127.0.0.1 5 typ host raddr", "candidate:1 1 UDP 1 127.0.0.1 5 typ host rport 99999",
        "candidate:\u{E9} 1 UDP 1 127.0.0.1 5 typ host", "candidate:1 1 UDP 1 127.0.0.1 5 typ host\u{0}",
        "candidate:1 1 UDP 1 127.0.0.1 5 typ host\r\na=evil", "candidate:1\u{301} 1 UDP 1 127.0.0.1 5 typ host",
        "candidate:123456789012345678901234567890123 1 UDP 1 127.0.0.1 5 typ host",
    ])
    func malformedCandidatesAreRefused(line: String) {
        #expect(code { () throws(TransportError) in _ = try CandidateLine(line) } == .protocolViolation)
    }

    @Test func randomMutationsNeverTrap() {
        var generator = SystemRandomNumberGenerator()
        let seed = Array("candidate:1 1 UDP 2130706431 127.0.0.1 5000 typ host raddr ::1 rport 5 tcptype passive".utf8)
        for _ in 0..<20_000 {
            var bytes = seed
            for _ in 0..<Int.random(in: 1...6, using: &generator) {
                let index = Int.random(in: 0..<bytes.count, using: &generator)
                switch Int.random(in: 0..<3, using: &generator) {
                case 0: bytes[index] = UInt8.random(in: 0...255, using: &generator)
                case 1: bytes.remove(at: index)
                default: bytes.insert(contentsOf: bytes[..<index].suffix(7), at: index)
                }
            }
            let text = String(decoding: bytes, as: UTF8.self)
            if let line = try? CandidateLine(text) { _ = (line.isUsable, line.description) }
            _ = try? ICEServerURL(text)
        }
    }

    @Test func loopbackIsOfferedOnlyWhereThereIsNothingElse() throws {
        func address(_ interface: String, _ text: String) throws -> LocalAddress {
            LocalAddress(interface: interface, address: try #require(IPAddress(text)))
        }
        let loopback = [try address("lo", "127.0.0.1"), try address("lo", "::1")]
        let outside = [
            try address("eth0", "192.0.2.2"), try address("eth0", "fe80::1"), try address("eth0", "fd00::2"),
        ]
        var options = LibniceProvider.Options()
        #expect(options.localAddresses(of: loopback).map(\.description) == ["127.0.0.1", "::1"])
        #expect(options.localAddresses(of: loopback + outside).map(\.description) == ["192.0.2.2", "fd00::2"])
        options.loopback = .never
        #expect(options.localAddresses(of: loopback).isEmpty)
        options.loopback = .always
        #expect(options.localAddresses(of: loopback + outside).count == 4)
        options.loopback = .alone
        options.acceptsAddress = { interface, _ in interface != "eth0" }
        #expect(options.localAddresses(of: loopback + outside).count == 2)
    }
}
