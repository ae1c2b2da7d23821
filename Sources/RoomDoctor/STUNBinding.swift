/// A Binding transaction (RFC 8489 §5, §14.2): asks a server for this machine's address as it sees it.
package struct STUNBinding: Sendable {
    let transaction: [UInt8]

    /// Creates a transaction from 12 random bytes.
    package init(transaction: [UInt8]) { self.transaction = transaction }

    package var request: [UInt8] { STUNMessage(type: 0x0001, transaction: transaction).bytes }

    /// Returns the address in a success response, or nil for any other input.
    package func mappedAddress(in response: [UInt8]) -> String? {
        guard let message = STUNMessage(response, answering: transaction), message.type == 0x0101 else { return nil }
        return message.value(of: .xorMappedAddress).flatMap(xorMapped)
    }

    private func xorMapped(_ value: [UInt8]) -> String? {
        guard value.count >= 8 else { return nil }
        let port = (Int(value[2]) << 8 | Int(value[3])) ^ 0x2112
        let mask = STUNMessage.cookie + transaction
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
