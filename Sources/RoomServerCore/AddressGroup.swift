package import WebSocketWire

/// Addresses that are counted together.
package struct AddressGroup: Sendable, Hashable {
    enum Kind: UInt8, Sendable {
        /// An IPv4 address, or 64 bits of IPv6: one client may have all of them.
        case address
        /// 48 bits of IPv6; of IPv4, 16 bits.
        case network
        /// Everything.
        case rest
        /// The addresses from which one join token is used.
        case token
    }

    private let bits: UInt64
    private let isIPv4: Bool
    let kind: Kind

    static let rest = AddressGroup(bits: 0, isIPv4: false, kind: .rest)

    private init(bits: UInt64, isIPv4: Bool, kind: Kind) {
        self.bits = bits
        self.isIPv4 = isIPv4
        self.kind = kind
    }

    /// Creates the group of the addresses that belong to the same client.
    package init(_ address: NetworkAddress) {
        let isIPv4 = address.isIPv4
        self.init(bits: UInt64(isIPv4 ? address.bits : address.bits >> 64), isIPv4: isIPv4, kind: .address)
    }

    /// Creates the group of the addresses from which a join token is used.
    init(token: String) {
        self.init(bits: UInt64(truncatingIfNeeded: token.hashValue), isIPv4: false, kind: .token)
    }

    /// Creates the group of the addresses in the same network.
    init(networkOf address: NetworkAddress) {
        let isIPv4 = address.isIPv4
        self.init(bits: UInt64(isIPv4 ? address.bits >> 16 : address.bits >> 80), isIPv4: isIPv4, kind: .network)
    }
}
