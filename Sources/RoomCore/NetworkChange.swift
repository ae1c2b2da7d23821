/// The state after a change of this machine's network.
package struct NetworkChange: Sendable, Hashable {
    /// The numeric addresses that packets can leave from now; nil when not known.
    package var addresses: Set<String>?
    /// The address that the open signaling connection leaves from.
    package var signalingAddress: String?

    package init(addresses: Set<String>? = nil, signalingAddress: String? = nil) {
        self.addresses = addresses
        self.signalingAddress = signalingAddress
    }

    /// Whether what leaves from `address` goes nowhere any more.
    package func hasLost(_ address: String?) -> Bool {
        guard let addresses, let address else { return false }
        return !addresses.contains(address) && !address.hasPrefix("127.") && address != "::1"
    }
}
