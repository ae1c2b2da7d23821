/// A STUN message (RFC 8489 §5), as a client reads and writes it.
package struct STUNMessage: Sendable, Hashable {
    package struct Attribute: Sendable, Hashable {
        package var type: UInt16
        package var value: [UInt8]
    }
    /// The attributes of RFC 8489 §18.3 and RFC 8656 §18 that the doctor uses.
    enum AttributeType: UInt16 {
        case username = 0x0006
        case messageIntegrity = 0x0008
        case errorCode = 0x0009
        case lifetime = 0x000D
        case realm = 0x0014
        case nonce = 0x0015
        case requestedTransport = 0x0019
        case xorMappedAddress = 0x0020
    }

    static let cookie: [UInt8] = [0x21, 0x12, 0xA4, 0x42]

    /// The method and class.
    package var type: UInt16
    /// The transaction id, 12 bytes.
    package var transaction: [UInt8]
    package var attributes: [Attribute]

    package init(type: UInt16, transaction: [UInt8], attributes: [Attribute] = []) {
        self.type = type
        self.transaction = transaction
        self.attributes = attributes
    }

    /// Parses a message. Nil for bytes that are not a whole message, or that belong to another transaction.
    package init?(_ bytes: [UInt8], answering transaction: [UInt8]) {
        guard bytes.count >= 20, bytes[0] < 0x40, Array(bytes[4..<8]) == Self.cookie,
            Array(bytes[8..<20]) == transaction, bytes.count >= 20 + Self.number(bytes[2...3])
        else { return nil }
        self.init(type: UInt16(Self.number(bytes[0...1])), transaction: transaction)
        var rest = bytes[20..<(20 + Self.number(bytes[2...3]))]
        while rest.count >= 4 {
            let start = rest.startIndex
            let count = Self.number(rest[(start + 2)...(start + 3)])
            let value = Array(rest.dropFirst(4).prefix(count))
            guard value.count == count else { return nil }
            attributes.append(Attribute(type: UInt16(Self.number(rest[start...(start + 1)])), value: value))
            rest = rest.dropFirst(4 + (count + 3) & ~3)
        }
    }

    package static func newTransaction() -> [UInt8] { (0..<12).map { _ in UInt8.random(in: 0...255) } }

    package var isSuccess: Bool { type & 0x0110 == 0x0100 }

    /// The error of an error response (RFC 8489 §14.8).
    package var error: (code: Int, reason: String)? {
        guard type & 0x0110 == 0x0110, let value = value(of: .errorCode), value.count >= 4 else { return nil }
        let reason = String(decoding: value.dropFirst(4).prefix(128), as: UTF8.self)
        return (Int(value[2] & 7) * 100 + Int(value[3]), reason.filter { $0.isASCII && !$0.isNewline })
    }

    func value(of type: AttributeType) -> [UInt8]? { attributes.first { $0.type == type.rawValue }?.value }

    package var bytes: [UInt8] { Self.header(type, length: body.count, transaction) + body }

    /// Returns the message with MESSAGE-INTEGRITY at its end (RFC 8489 §14.5). `hmac` is HMAC-SHA1 under the key of the
    /// credentials.
    func signed(_ hmac: ([UInt8]) -> [UInt8]) -> [UInt8] {
        // The length counts the attribute that is not there yet.
        let head = Self.header(type, length: body.count + 24, transaction) + body
        return head + Self.encode(Attribute(.messageIntegrity, hmac(head)))
    }

    private var body: [UInt8] { attributes.flatMap(Self.encode) }

    private static func header(_ type: UInt16, length: Int, _ transaction: [UInt8]) -> [UInt8] {
        pair(type) + pair(UInt16(length)) + cookie + transaction
    }

    private static func encode(_ attribute: Attribute) -> [UInt8] {
        let padding = [UInt8](repeating: 0, count: (4 - attribute.value.count % 4) % 4)
        return pair(attribute.type) + pair(UInt16(attribute.value.count)) + attribute.value + padding
    }

    private static func pair(_ number: UInt16) -> [UInt8] { [UInt8(number >> 8), UInt8(number & 0xFF)] }

    private static func number(_ bytes: ArraySlice<UInt8>) -> Int { bytes.reduce(0) { $0 << 8 | Int($1) } }
}

extension STUNMessage.Attribute {
    init(_ type: STUNMessage.AttributeType, _ value: [UInt8]) { self.init(type: type.rawValue, value: value) }
}
