/// The field `X-Forwarded-For`, in which each proxy appends the address that it has a request from.
package enum ForwardedFor {
    /// Returns the address of the client whose request came over a connection from `peer`.
    ///
    /// Each element is only as good as the proxy that has written it. So the list is walked from its end: behind a
    /// trusted proxy comes the address that it names, until one is not trusted, or cannot be read.
    ///
    /// - Parameter lines: The values of all fields of that name, in their order.
    package static func client(
        of peer: NetworkAddress, _ lines: [String], isTrusted: (NetworkAddress) -> Bool
    ) -> NetworkAddress {
        var client = peer
        for line in lines.reversed() {
            let elements = line.utf8.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false)
            for element in elements.reversed() {
                guard isTrusted(client), let next = address(in: Array(element)) else { return client }
                client = next
            }
        }
        return client
    }

    /// Reads an address that may be in brackets, and may have a port.
    private static func address(in element: [UInt8]) -> NetworkAddress? {
        var text = element[...].trimmed
        guard text.count <= 64 else { return nil }
        if text.first == UInt8(ascii: "[") {
            guard let end = text.firstIndex(of: UInt8(ascii: "]")), isPort(text[(end + 1)...]) else { return nil }
            text = text[(text.startIndex + 1)..<end]
            guard text.contains(UInt8(ascii: ":")) else { return nil }
        } else if let colon = text.firstIndex(of: UInt8(ascii: ":")), text[..<colon].contains(UInt8(ascii: ".")) {
            guard isPort(text[colon...]) else { return nil }
            text = text[..<colon]
        }
        return NetworkAddress(text: Array(text))
    }

    /// Whether the text is empty or a colon with a port.
    private static func isPort(_ text: ArraySlice<UInt8>) -> Bool {
        text.isEmpty
            || text.first == UInt8(ascii: ":") && (2...6).contains(text.count)
                && text.dropFirst().allSatisfy { (0x30...0x39).contains($0) }
    }
}
