/// An IPv4 or IPv6 address.
///
/// An IPv4 address in IPv6 form (`::ffff:0:0/96`, and `64:ff9b::/96` of NAT64) is the IPv4 address: one client has one
/// address, however it has come. Zones are dropped.
package struct NetworkAddress: Sendable, Hashable {
    /// 32 bits of an IPv4 address, 128 of an IPv6 one.
    package let bits: UInt128
    package let isIPv4: Bool

    package init(ipv4 bits: UInt32) {
        self.bits = UInt128(bits)
        isIPv4 = true
    }

    package init(ipv6 bits: UInt128) {
        // RFC 4291 §2.5.5.2, RFC 6052 §2.1.
        isIPv4 = bits >> 32 == 0xFFFF || bits >> 32 == 0x0064_FF9B << 64
        self.bits = isIPv4 ? bits & 0xFFFF_FFFF : bits
    }

    /// Creates an address of 4 or 16 bytes in network order; nil for any other number.
    package init?(_ bytes: some Collection<UInt8>) {
        let bits = bytes.prefix(16).reduce(0 as UInt128) { $0 << 8 | UInt128($1) }
        switch bytes.count {
        case 4: self.init(ipv4: UInt32(truncatingIfNeeded: bits))
        case 16: self.init(ipv6: bits)
        default: return nil
        }
    }

    /// Reads an address as people write it (RFC 4291 §2.2), in decimal without leading zeros, or in hexadecimal. Nil
    /// for anything else.
    package init?(_ text: some StringProtocol) {
        self.init(text: Array(text.utf8.prefix(64)))
    }

    init?(text: [UInt8]) {
        if let bits = Self.ipv4(text[...]) {
            self.init(ipv4: bits)
        } else if let bits = Self.ipv6(text.prefix { $0 != UInt8(ascii: "%") }) {
            self.init(ipv6: bits)
        } else {
            return nil
        }
    }

    private static func ipv4(_ text: ArraySlice<UInt8>) -> UInt32? {
        let fields = text.split(separator: UInt8(ascii: "."), maxSplits: 4, omittingEmptySubsequences: false)
        guard fields.count == 4 else { return nil }
        var bits: UInt32 = 0
        for field in fields {
            guard (1...3).contains(field.count), field.count == 1 || field.first != UInt8(ascii: "0"),
                field.allSatisfy({ (0x30...0x39).contains($0) })
            else { return nil }
            let value = field.reduce(0 as UInt32) { $0 * 10 + UInt32($1 - 0x30) }
            guard value <= 255 else { return nil }
            bits = bits << 8 | value
        }
        return bits
    }

    private static func ipv6(_ text: ArraySlice<UInt8>) -> UInt128? {
        let colon = UInt8(ascii: ":")
        var rest = text
        var groups: [UInt16] = []
        /// The number of groups before `::`.
        var gap: Int?
        if rest.starts(with: [colon, colon]) {
            gap = 0
            rest = rest.dropFirst(2)
        }
        while !rest.isEmpty {
            guard groups.count < 8 else { return nil }
            let group = rest.prefix { $0 != colon }
            rest = rest[group.endIndex...]
            if rest.isEmpty, let last = ipv4(group) {
                groups += [UInt16(last >> 16), UInt16(last & 0xFFFF)]
                break
            }
            guard (1...4).contains(group.count), let value = hexadecimal(group) else { return nil }
            groups.append(value)
            guard !rest.isEmpty else { break }
            rest = rest.dropFirst()
            if rest.first == colon {
                guard gap == nil else { return nil }
                gap = groups.count
                rest = rest.dropFirst()
            } else if rest.isEmpty {
                return nil
            }
        }
        if let gap {
            guard groups.count < 8 else { return nil }
            groups.insert(contentsOf: repeatElement(0, count: 8 - groups.count), at: gap)
        }
        guard groups.count == 8 else { return nil }
        return groups.reduce(0) { $0 << 16 | UInt128($1) }
    }

    private static func hexadecimal(_ digits: ArraySlice<UInt8>) -> UInt16? {
        var value: UInt16 = 0
        for digit in digits {
            let number: UInt8
            switch digit {
            case 0x30...0x39: number = digit - 0x30
            case 0x41...0x46: number = digit - 0x37
            case 0x61...0x66: number = digit - 0x57
            default: return nil
            }
            value = value << 4 | UInt16(number)
        }
        return value
    }
}

extension NetworkAddress: CustomStringConvertible {
    package var description: String {
        if isIPv4 {
            return stride(from: 24, through: 0, by: -8).map { "\(bits >> UInt128($0) & 0xFF)" }.joined(separator: ".")
        }
        return stride(from: 112, through: 0, by: -16).map { String(bits >> UInt128($0) & 0xFFFF, radix: 16) }
            .joined(separator: ":")
    }
}

/// The addresses that begin with the same bits, as in `10.0.0.0/8` (RFC 4632 §3.1).
package struct AddressRange: Sendable, Hashable {
    private let first: NetworkAddress
    private let length: Int

    /// Reads an address with a length, or one address. Nil for anything else.
    package init?(_ text: some StringProtocol) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = NetworkAddress(parts[0]), !parts[0].contains("%") else { return nil }
        first = address
        let whole = address.isIPv4 ? 32 : 128
        guard parts.count == 2 else {
            length = whole
            return
        }
        guard (1...3).contains(parts[1].utf8.count), parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            let given = Int(parts[1])
        else { return nil }
        // An IPv4 range may be written in IPv6 form.
        length = address.isIPv4 && parts[0].utf8.contains(UInt8(ascii: ":")) ? given - 96 : given
        guard (0...whole).contains(length) else { return nil }
    }

    package func contains(_ address: NetworkAddress) -> Bool {
        guard address.isIPv4 == first.isIPv4 else { return false }
        let rest = UInt128((first.isIPv4 ? 32 : 128) - length)
        return address.bits >> rest == first.bits >> rest
    }
}
