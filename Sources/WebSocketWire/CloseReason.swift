/// The content of a close frame (RFC 6455 §5.5.1).
public struct CloseReason: Sendable, Hashable {
    /// The code of a close frame without one (RFC 6455 §7.4.1).
    public static let noCode: UInt16 = 1005

    /// 1000 to 4999 (RFC 6455 §7.4); 1005 stands for a close frame without a code.
    public var code: UInt16
    /// For people.
    public var reason: String

    /// Takes both as they are.
    public init(code: UInt16, reason: String = "") {
        self.code = code
        self.reason = reason
    }

    /// The payload of the frame: the code, and the reason, cut at a character's border to what a control frame holds.
    public var payload: [UInt8] {
        guard code != Self.noCode else { return [] }
        var payload = [UInt8(code >> 8), UInt8(code & 0xFF)]
        for character in reason {
            guard payload.count + character.utf8.count <= FrameWriter.maximumControlPayload else { break }
            payload += character.utf8
        }
        return payload
    }

    /// Reads the payload of a close frame.
    init(payload: [UInt8]) throws(FrameViolation) {
        guard !payload.isEmpty else {
            self.init(code: Self.noCode)
            return
        }
        guard payload.count >= 2 else { throw .truncatedCloseCode }
        let code = UInt16(payload[0]) << 8 | UInt16(payload[1])
        switch code {
        // RFC 6455 §7.4; 1012 to 1014 are in IANA's registry.
        case 1000...1003, 1007...1014, 3000...4999: break
        default: throw .invalidCloseCode(code)
        }
        guard let reason = String(validating: payload.dropFirst(2), as: UTF8.self) else { throw .invalidCloseReason }
        self.init(code: code, reason: reason)
    }
}
