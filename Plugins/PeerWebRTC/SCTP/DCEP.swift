internal import TransportPluginAPI

/// The data channel establishment protocol (RFC 8832). Pure.
enum DCEP {
    /// Payload protocol identifiers of messages (RFC 8831 §8).
    enum PayloadProtocol {
        static let control: UInt32 = 50
        static let text: UInt32 = 51
        static let binary: UInt32 = 53
        static let emptyText: UInt32 = 56
        static let emptyBinary: UInt32 = 57

        /// The identifier of an application's message.
        @inline(__always)
        static func of(isText: Bool, isEmpty: Bool) -> UInt32 {
            isText ? (isEmpty ? emptyText : text) : (isEmpty ? emptyBinary : binary)
        }

        /// The kind of an application's message. Nil for identifiers of anything else.
        @inline(__always)
        static func content(of identifier: UInt32) -> (isText: Bool, isEmpty: Bool)? {
            switch identifier {
            case binary: (false, false)
            case text: (true, false)
            case emptyBinary: (false, true)
            case emptyText: (true, true)
            default: nil
            }
        }
    }

    enum Message: Equatable {
        case open(ChannelParameters)
        case acknowledge
    }

    private static let acknowledgeType: UInt8 = 2
    private static let openType: UInt8 = 3
    private static let headerLength = 12

    /// Encodes a message (RFC 8832 §5.1). Label and protocol have at most 65,535 bytes each, which `openChannel`
    /// checks.
    static func encode(_ message: Message) -> [UInt8] {
        guard case .open(let parameters) = message else { return [acknowledgeType] }
        var type: UInt8 = parameters.isOrdered ? 0 : 0x80
        var reliability: UInt32 = 0
        switch parameters.reliability {
        case .reliable: break
        case .retransmissions(let count):
            type |= 1
            reliability = UInt32(count)
        case .lifetime(let milliseconds):
            type |= 2
            reliability = UInt32(milliseconds)
        }
        let label = Array(parameters.label.utf8.prefix(65_535))
        let name = Array(parameters.protocol.utf8.prefix(65_535))
        var bytes: [UInt8] = [openType, type, 1, 0]  // priority 256, "normal" (RFC 8831 §6.4)
        for shift in [24, 16, 8, 0] as [UInt32] { bytes.append(UInt8(truncatingIfNeeded: reliability >> shift)) }
        bytes += [UInt8(label.count >> 8), UInt8(label.count & 255), UInt8(name.count >> 8), UInt8(name.count & 255)]
        return bytes + label + name
    }

    /// Throws `.protocolViolation`.
    static func decode(_ bytes: UnsafeRawBufferPointer) throws(TransportError) -> Message {
        guard let kind = bytes.first else { throw malformed("it is empty") }
        switch kind {
        case acknowledgeType: return .acknowledge
        case openType: return .open(try open(bytes))
        default: throw malformed("type \(kind) is unknown")
        }
    }

    private static func open(_ bytes: UnsafeRawBufferPointer) throws(TransportError) -> ChannelParameters {
        guard bytes.count >= headerLength else { throw malformed("it is too short") }
        func word(_ offset: Int) -> Int { Int(bytes[offset]) << 8 | Int(bytes[offset + 1]) }
        let labelLength = word(8)
        let nameLength = word(10)
        guard bytes.count == headerLength + labelLength + nameLength else { throw malformed("lengths do not fit") }
        // Values over 16 bits, which the API does not have, count as the largest.
        let reliability = UInt16(clamping: word(4) << 16 | word(6))
        let label = UnsafeRawBufferPointer(rebasing: bytes[headerLength..<headerLength + labelLength])
        let name = UnsafeRawBufferPointer(rebasing: bytes[(headerLength + labelLength)...])
        guard let label = String(validating: label, as: UTF8.self), let name = String(validating: name, as: UTF8.self)
        else {
            throw malformed("label or protocol is not UTF-8")
        }
        let type = bytes[1]
        let promise: ChannelParameters.Reliability
        switch type & 0x7F {
        case 0: promise = .reliable
        case 1: promise = .retransmissions(reliability)
        case 2: promise = .lifetime(milliseconds: reliability)
        default: throw malformed("channel type \(type) is unknown")
        }
        return ChannelParameters(label: label, protocol: name, isOrdered: type & 0x80 == 0, reliability: promise)
    }

    private static func malformed(_ reason: String) -> TransportError {
        TransportError(.protocolViolation, "a data channel open message cannot be used: \(reason)")
    }
}
