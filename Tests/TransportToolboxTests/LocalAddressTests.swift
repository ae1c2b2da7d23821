import Testing

@testable import TransportToolbox
@testable import TransportValues

@Suite struct LocalAddressTests {
    private func address(
        _ interface: String, _ text: String, prefix: Int? = nil, temporary: Bool = false, deprecated: Bool = false,
        tentative: Bool = false
    ) throws -> LocalAddress {
        var address = try #require(LocalAddress(text, interface: interface, prefixLength: prefix))
        (address.isTemporary, address.isDeprecated, address.isTentative) = (temporary, deprecated, tentative)
        return address
    }

    private func ranked(_ all: [LocalAddress], _ preferred: String...) -> [String] {
        LocalAddress.ranked(all, preferring: preferred).map(\.address)
    }

    @Test func theDefaultRoutesInterfaceComesFirstAndContainersLast() throws {
        let all = try [
            address("lo", "127.0.0.1"), address("lo", "10.77.0.1", prefix: 32), address("docker0", "172.17.0.1"),
            address("eth0", "192.0.2.7", prefix: 24), address("br-12ab", "172.18.0.1"), address("wg0", "10.8.0.2"),
            address("wlan0", "198.51.100.7", prefix: 24), address("wlan0", "2001:db8::7"),
        ]
        #expect(
            ranked(all, "198.51.100.7", "2001:db8::7") == [
                "198.51.100.7", "2001:db8::7", "192.0.2.7", "10.8.0.2", "10.77.0.1", "172.17.0.1", "172.18.0.1",
            ])
    }

    /// One interface has many addresses of services; the other interface is still included.
    @Test func everyInterfaceComesBeforeTheSecondAddressOfAny() throws {
        var all = try (1...40).map { try address("eth0", "10.77.1.\($0)", prefix: 32) }
        all += try (1...40).map { try address("eth1", "10.78.1.\($0)", prefix: 24) }
        all += try [address("eth0", "10.1.1.1", prefix: 24), address("wlan0", "192.168.1.2", prefix: 24)]
        #expect(ranked(all).prefix(4) == ["10.78.1.1", "10.1.1.1", "192.168.1.2", "10.77.1.1"])
    }

    @Test func ofIPv6AddressesTemporaryOnesGoFirstAndDeprecatedOnesLast() throws {
        let all = try [
            address("eth0", "2001:db8::1", deprecated: true), address("eth0", "fd00::5"),
            address("eth0", "2001:db8::2"),
            address("eth0", "2001:db8::3", temporary: true), address("eth0", "2001:db8::4", tentative: true),
            address("eth0", "192.0.2.7"), address("wlan0", "192.0.2.8"),
        ]
        #expect(
            ranked(all) == [
                "192.0.2.7", "192.0.2.8", "2001:db8::3", "2001:db8::2", "fd00::5", "2001:db8::1",
            ])
    }

    @Test func linkLocalIPv4IsOfferedFromInterfacesThatHaveNoOther() throws {
        let cable = try [address("eth0", "169.254.10.1", prefix: 16), address("eth0", "fe80::1")]
        #expect(ranked(cable) == ["169.254.10.1"])
        #expect(ranked(cable + [try address("wlan0", "192.0.2.7")]) == ["192.0.2.7", "169.254.10.1"])
        #expect(ranked(cable + [try address("eth0", "192.0.2.7")]) == ["192.0.2.7"])
        #expect(ranked(cable + [try address("wlan0", "2001:db8::7")]) == ["2001:db8::7", "169.254.10.1"])
        let bridge = try address("virbr0", "169.254.3.1", prefix: 16)
        #expect(ranked(cable + [bridge]) == ["169.254.10.1"] && ranked([bridge]) == ["169.254.3.1"])
    }

    @Test func linkLocalIPv6IsOfferedWhereThereIsNothingElse() throws {
        let link = try [address("lo", "127.0.0.1"), address("lo", "::1"), address("eth0", "fe80::1%eth0")]
        #expect(ranked(link) == ["fe80::1"])
        let docker = try [address("docker0", "172.17.0.1"), address("docker0", "fe80::2")]
        #expect(ranked(link + docker) == ["172.17.0.1", "fe80::1"])
        #expect(ranked(link + docker + [try address("wlan0", "192.0.2.7")]) == ["192.0.2.7", "172.17.0.1"])
        #expect(ranked(Array(link.prefix(2))).isEmpty)
    }

    @Test(arguments: ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "::ffff:192.0.2.1"])
    func multicastAndUnspecifiedAddressesAreLeftOut(_ text: String) throws {
        #expect(ranked([try address("eth0", text)]).isEmpty)
    }

    @Test func theTableOfIPv6AddressesTellsTheirStates() throws {
        let table = """
            00000000000000000000000000000001 01 80 10 80       lo
            20010db8000000000000000000000007 02 40 00 01     eth0
            20010db8000000000000000000000008 02 40 00 60     eth0
            20010db8000000000000000000000009 02 40 00 44     eth0
            fe80000000000000000000000000000a 0b 40 20 c8    wlan0

            """
        let found = LocalAddress.ipv6Addresses(ofTable: table)
        #expect(found.map(\.address) == ["::1", "2001:db8::7", "2001:db8::8", "2001:db8::9", "fe80::a"])
        #expect(found.map(\.interface) == ["lo", "eth0", "eth0", "eth0", "wlan0"])
        #expect(found.map(\.interfaceIndex) == [1, 2, 2, 2, 11])
        #expect(found.map(\.prefixLength) == [128, 64, 64, 64, 64])
        #expect(found.map(\.isTemporary) == [false, true, false, false, false])
        #expect(found.map(\.isDeprecated) == [false, false, true, false, false])
        #expect(found.map(\.isTentative) == [false, false, true, false, true])
    }

    @Test(arguments: ["", "\n", "fe80 02 40 20 80 eth0", "zz 1 2 3 4 5", "00000000000000000000000000000001 01 80 10"])
    func aTableOfAnotherFormHoldsNoAddresses(_ text: String) {
        #expect(LocalAddress.ipv6Addresses(ofTable: text).isEmpty)
    }

    @Test(arguments: ["", "localhost", "1.2.3", "fe80::1::", String(repeating: "1", count: 100)])
    func namesAreNoAddresses(_ text: String) { #expect(LocalAddress(text, interface: "eth0") == nil) }

    @Test func thisMachineHasALoopbackAddress() {
        let loopback = LocalAddress.all().first { $0.address == "127.0.0.1" }
        #expect(loopback?.isLoopback == true && loopback?.prefixLength == 8 && loopback?.interfaceIndex != 0)
    }
}
