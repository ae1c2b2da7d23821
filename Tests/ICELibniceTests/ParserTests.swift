import Testing
import TransportPluginAPI

@testable import ICELibnice

@Suite struct ParserTests {
    @Test func candidatesOfBrowsersAreParsed() throws {
        let line = try CandidateLine(
            "candidate:842163049 1 udp 1677729535 192.0.2.5 46154 typ srflx raddr 10.0.0.17 rport 46154 "
                + "generation 0 ufrag EEtu network-id 1 network-cost 10"
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
        "candidate:1 1 UDP 1 %eth0 5 typ host",
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

    private func address(_ interface: String, _ text: String) throws -> LocalAddress {
        try #require(LocalAddress(text, interface: interface))
    }

    @Test func loopbackIsOfferedOnlyWhereThereIsNothingElse() throws {
        func offered(_ options: LibniceProvider.Options, _ all: [LocalAddress]) -> [String] {
            options.localAddresses(of: all, preferring: []).map(\.address)
        }
        let loopback = [try address("lo", "127.0.0.1"), try address("lo", "::1")]
        let outside = [
            try address("eth0", "192.0.2.2"), try address("eth0", "fe80::1"), try address("eth0", "fd00::2"),
        ]
        var options = LibniceProvider.Options()
        #expect(offered(options, loopback) == ["127.0.0.1", "::1"])
        #expect(offered(options, loopback + outside) == ["192.0.2.2", "fd00::2"])
        options.loopback = .never
        #expect(offered(options, loopback).isEmpty)
        options.loopback = .always
        #expect(offered(options, loopback + outside).count == 4)
        options.loopback = .alone
        options.acceptsAddress = { interface, _ in interface != "eth0" }
        #expect(offered(options, loopback + outside).count == 2)
    }

    @Test func theBestSixteenAddressesAreOffered() throws {
        var all = try (1...40).map { try address("br-\($0)", "172.18.\($0).1") }
        all += [try address("eth0", "192.0.2.2")]
        let offered = LibniceProvider.Options().localAddresses(of: all, preferring: ["192.0.2.2"])
        #expect(offered.count == 16 && offered.first?.address == "192.0.2.2")
    }

    /// libnice would end the process.
    @Test func addressesFarBehindInLibnicesListAreNotOffered() throws {
        let system = (1...100).map { "10.77.1.\($0)" } + ["192.0.2.2"]
        let all =
            try [address("eth1", "192.0.2.2"), address("docker0", "172.17.0.1")]
            + system.map { try address("eth0", $0) }
        let offered = LibniceProvider.Options().localAddresses(
            of: all, preferring: [], safe: SafeAddresses(ofSystem: system))
        #expect(offered.map(\.address) == (1...16).map { "10.77.1.\($0)" })
    }
}

@Suite struct CandidatePacingTests {
    private func line(_ kind: String, _ number: Int) throws -> CandidateLine {
        try CandidateLine("candidate:\(number) 1 UDP \(number) 192.0.2.1 \(number) typ \(kind)")
    }

    private func take(_ pacing: inout CandidatePacing, _ line: CandidateLine) {
        #expect(pacing.append(line, takesLoopback: false) == true)
    }

    private func drain(_ pacing: inout CandidatePacing, at milliseconds: Int, isConnected: Bool = false) -> [Int] {
        var numbers: [Int] = []
        let now = Timestamp.zero + .milliseconds(milliseconds)
        while let line = pacing.next(at: now, isConnected: isConnected) { numbers.append(line.priority) }
        return numbers
    }

    @Test func withFewAddressesNoCandidateWaits() throws {
        var pacing = CandidatePacing(interval: .milliseconds(5))
        pacing.localCount = 2
        for number in 1...12 { take(&pacing, try line("host", number)) }
        #expect(drain(&pacing, at: 0) == Array(1...12) && pacing.pause(at: .zero) == nil)
    }

    @Test func withManyAddressesKindsTakeTurnsAsFastAsPairsAreChecked() throws {
        var pacing = CandidatePacing(interval: .milliseconds(5))
        pacing.localCount = 16
        for number in 1...5 { take(&pacing, try line("host", number)) }
        take(&pacing, try line("srflx", 6))
        take(&pacing, try line("relay", 7))
        pacing.end()
        #expect(drain(&pacing, at: 0) == [1, 6])
        #expect(pacing.pause(at: .zero) == .milliseconds(10) && !pacing.takeEnd())
        #expect(drain(&pacing, at: 11) == [7])
        #expect(drain(&pacing, at: 91).count == 1)
        #expect(drain(&pacing, at: 92, isConnected: true).count == 3)
        #expect(pacing.takeEnd() && !pacing.takeEnd())
    }

    @Test func stunAnswersAreReadAndNonsenseIsNot() throws {
        func answer(_ bytes: [UInt8]) -> (transaction: UInt64, address: IPEndpoint?)? {
            bytes.withUnsafeBytes { STUNBinding.answer($0) }
        }
        var whole = STUNBinding.request(0x0102_0304_0506_0708)
        #expect(whole.count == 20 && answer(whole) == nil, "a request is no answer")
        whole[0] = 1
        whole[1] = 1
        #expect(try #require(answer(whole)).address == nil)
        // XOR-MAPPED-ADDRESS of 192.0.2.1:1, behind an attribute of odd length.
        whole += [0x80, 0x22, 0, 1, 0x61, 0, 0, 0]
        whole += [0, 0x20, 0, 8, 0, 1, 0x21, 0x13, 192 ^ 0x21, 0x12, 2 ^ 0xA4, 1 ^ 0x42]
        whole[3] = 20
        let read = try #require(answer(whole))
        #expect(read.transaction == 0x0102_0304_0506_0708)
        #expect(read.address?.host.description == "192.0.2.1" && read.address?.port == 1)
        for length in 0..<whole.count { _ = answer(Array(whole.prefix(length))) }
        for index in whole.indices {
            for value in [0, 1, 0x7F, 0xFF] as [UInt8] {
                var broken = whole
                broken[index] = value
                _ = answer(broken)
            }
        }
    }

    @Test func theFirstAnswerOfASocketCountsAndSilentServersEndInTime() throws {
        var requests = STUNRequests()
        var next: UInt64 = 0
        func server(_ last: Int) throws -> IPEndpoint {
            IPEndpoint(try #require(IPAddress("192.0.2.\(last)")), port: 3478)
        }
        func transaction() -> UInt64 {
            next += 1
            return next
        }
        requests.begin(families: [false, false, true], names: 1)
        #expect(requests.add(try server(1), transaction: transaction).map(\.socket) == [0, 1])
        #expect(requests.add(try server(1), transaction: transaction).isEmpty)
        #expect(requests.add(try server(2), transaction: transaction).count == 2)
        requests.began()
        #expect(requests.answered(3) == 0 && requests.answered(1) == nil && requests.answered(99) == nil)
        #expect(requests.repeated()?.requests.map(\.transaction) == [2, 4])
        #expect(requests.answered(2) == 1)
        // A name that may have an IPv6 address.
        #expect(!requests.isOver)
        requests.lookedUp()
        #expect(requests.isOver)

        requests = STUNRequests()
        requests.begin(families: [false], names: 0)
        _ = requests.add(try server(1), transaction: transaction)
        requests.began()
        var time = Duration.zero
        while let (_, pause) = requests.repeated() { time += pause }
        #expect(requests.isOver && time < .seconds(5))
    }
}
