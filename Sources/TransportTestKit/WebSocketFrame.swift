internal import WebSocketWire

/// A frame of a script, right or wrong: a fragment, a whole message or a control frame (RFC 6455 §5.2).
struct WebSocketFrame: Sendable, Equatable {
    var opcode: Opcode
    var payload: [UInt8]
    var isFinal = true
    /// The first byte to send instead of the right one.
    var firstByte: UInt8?

    /// As a server sends it: unmasked.
    var bytes: [UInt8] {
        var bytes = [UInt8](repeating: 0, count: FrameWriter.maximumHeader)
        let header = bytes.withUnsafeMutableBytes { target in
            target.baseAddress.map { FrameWriter.writeHeader(opcode, length: payload.count, key: nil, to: $0) } ?? 0
        }
        bytes[0] = firstByte ?? (isFinal ? 0x80 : 0) | opcode.rawValue
        return bytes[..<header] + payload
    }

    static func close(_ code: UInt16, _ reason: String = "") -> WebSocketFrame {
        WebSocketFrame(opcode: .close, payload: CloseReason(code: code, reason: reason).payload)
    }

    /// Of a close frame.
    var closeCode: Int? { payload.count >= 2 ? Int(payload[0]) << 8 | Int(payload[1]) : nil }
    var closeReason: String { String(decoding: payload.dropFirst(2), as: UTF8.self) }
}
