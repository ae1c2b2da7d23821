import RoomDoctor
import Testing

@Suite struct JudgementTests {
    private func address(_ interface: String, _ address: String, loopback: Bool = false) -> MachineAddress {
        MachineAddress(interface: interface, address: address, isLoopback: loopback)
    }

    @Test func anAddressOfARealInterfaceIsEnough() {
        let finding = Judgement.interfaces([
            address("lo", "127.0.0.1", loopback: true), address("docker0", "172.17.0.1"), address("eth0", "192.0.2.7"),
        ])
        #expect(finding.status == .ok && finding.message.contains("192.0.2.7 (eth0)"))
        #expect(!finding.message.contains("docker0"))
    }

    @Test(arguments: ["docker0", "veth12ab", "virbr0", "vnet3"])
    func anInterfaceThatLibniceIgnoresIsAProblemWhenThereIsNoOther(_ name: String) {
        let finding = Judgement.interfaces([address("lo", "127.0.0.1", loopback: true), address(name, "172.17.0.1")])
        #expect(finding.status == .problem && finding.message.contains(name) && finding.cure != nil)
    }

    @Test func linkLocalAddressesAloneAreAProblem() {
        let finding = Judgement.interfaces([address("eth0", "fe80::1%eth0"), address("eth0", "169.254.3.4")])
        #expect(finding.status == .problem)
    }

    @Test func smallBuffersAreAWarningWithTheCommandThatHelps() {
        #expect(Judgement.receiveBuffers(maximum: 4 << 20).status == .ok)
        let small = Judgement.receiveBuffers(maximum: 212_992)
        #expect(
            small.status == .warning && small.cure == "sysctl -w net.core.rmem_max=4194304 net.core.wmem_max=4194304")
        #expect(Judgement.receiveBuffers(maximum: nil).status == .warning)
    }

    @Test func descriptorLimits() {
        #expect(Judgement.descriptors(limit: 32).status == .problem)
        #expect(Judgement.descriptors(limit: 256).status == .warning)
        #expect(Judgement.descriptors(limit: 1024).status == .ok)
    }

    @Test func aWrongClockIsAProblemFromAMinuteOn() {
        #expect(Judgement.clock(ahead: -2).status == .ok)
        #expect(Judgement.clock(ahead: 30).status == .warning)
        let late = Judgement.clock(ahead: -600)
        #expect(late.status == .problem && late.message.contains("600 s behind"))
        #expect(Judgement.steadiness(drift: 0.001, elapsed: 0.3).status == .ok)
        #expect(Judgement.steadiness(drift: -1.5, elapsed: 0.3).status == .warning)
    }

    @Test func healthAndTurn() {
        #expect(Judgement.health(status: 200, url: "u").status == .ok)
        #expect(Judgement.health(status: 503, url: "u").status == .problem)
        #expect(Judgement.health(status: 404, url: "u").status == .warning)
        #expect(Judgement.turn(hasRelay: true, server: "turn:x", isComplete: true).status == .ok)
        #expect(Judgement.turn(hasRelay: false, server: "turn:x", isComplete: false).status == .problem)
    }

    @Test func aServersTimeIsRead() {
        let head = HTTPHead.parse("HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n")
        #expect(head.status == 200 && head.date == 784_111_777)
        let none = HTTPHead.parse("SSH-2.0-x\r\nDate: yesterday\r\n")
        #expect(none.status == nil && none.date == nil)
    }
}

@Suite struct STUNTests {
    private let binding = STUNBinding(
        transaction: [0xB7, 0xE7, 0xA7, 0x01, 0xBC, 0x34, 0xD6, 0x86, 0xFA, 0x87, 0xDF, 0xAE])

    /// RFC 5769 §2.2, without what follows the address.
    @Test func theAddressOfASuccessResponseIsRead() {
        let header: [UInt8] = [1, 1, 0, 12, 0x21, 0x12, 0xA4, 0x42]
        let response =
            header + binding.request.dropFirst(8) + [0, 0x20, 0, 8, 0, 1, 0xA1, 0x47, 0xE1, 0x12, 0xA6, 0x43]
        #expect(binding.mappedAddress(in: response) == "192.0.2.1:32853")
        for count in 0..<response.count { #expect(binding.mappedAddress(in: Array(response.prefix(count))) == nil) }
        var other = response
        other[10] ^= 1
        #expect(binding.mappedAddress(in: other) == nil, "an answer to another request")
    }
}
