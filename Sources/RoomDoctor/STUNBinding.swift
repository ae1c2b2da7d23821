/// A Binding transaction (RFC 8489 §5, §14.2): what a server sees of our address.
package struct STUNBinding: Sendable {
    private static let cookie: [UInt8] = [0x21, 0x12, 0xA4, 0x42]
    let transaction: [UInt8]

    /// `transaction`: 12 random bytes.
    package init(transaction: [UInt8]) { self.transaction = transaction }

    package var request: [UInt8] { [0, 1, 0, 0] + Self.cookie + transaction }

    /// The address that a success response tells; nil for anything else, whatever was sent.
    package func mappedAddress(in response: [UInt8]) -> String? {
        guard response.count >= 20, response[0] == 1, response[1] == 1, Array(response[4..<8]) == Self.cookie,
            Array(response[8..<20]) == transaction
        else { return nil }
        let length = Int(response[2]) << 8 | Int(response[3])
        var attributes = response[20..<min(response.count, 20 + length)]
        while attributes.count >= 4 {
            let start = attributes.startIndex
            let type = Int(attributes[start]) << 8 | Int(attributes[start + 1])
            let count = Int(attributes[start + 2]) << 8 | Int(attributes[start + 3])
            let value = Array(attributes.dropFirst(4).prefix(count))
            guard value.count == count else { return nil }
            if type == 0x0020, let address = xorMapped(value) { return address }
            attributes = attributes.dropFirst(4 + (count + 3) & ~3)
        }
        return nil
    }

    private func xorMapped(_ value: [UInt8]) -> String? {
        guard value.count >= 8 else { return nil }
        let port = (Int(value[2]) << 8 | Int(value[3])) ^ 0x2112
        let mask = Self.cookie + transaction
        let bytes = zip(value.dropFirst(4), mask).map { $0 ^ $1 }
        switch (value[1], bytes.count) {
        case (1, 4...): return bytes.prefix(4).map(String.init).joined(separator: ".") + ":\(port)"
        case (2, 16...):
            let groups = stride(from: 0, to: 16, by: 2).map {
                String(Int(bytes[$0]) << 8 | Int(bytes[$0 + 1]), radix: 16)
            }
            return "[" + groups.joined(separator: ":") + "]:\(port)"
        default: return nil
        }
    }
}
