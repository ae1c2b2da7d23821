import TransportPluginAPI

/// A frame on the socket: one byte for its kind, four for its length, and the content.
enum Frame {
    case message(SignalingMessage)
    case close(SignalingClose)

    var bytes: [UInt8] {
        switch self {
        case .message(.text(let payload)): Self.bytes(1, payload.withUnsafeBytes { Array($0) })
        case .message(.binary(let payload)): Self.bytes(2, payload.withUnsafeBytes { Array($0) })
        case .close(let close):
            Self.bytes(3, [UInt8(close.code >> 8), UInt8(close.code & 0xFF)] + Array(close.reason.utf8.prefix(123)))
        }
    }

    private static func bytes(_ kind: UInt8, _ content: [UInt8]) -> [UInt8] {
        let count = UInt32(content.count)
        return [kind, UInt8(count >> 24), UInt8(count >> 16 & 0xFF), UInt8(count >> 8 & 0xFF), UInt8(count & 0xFF)]
            + content
    }
}

/// Reassembles frames from the pieces in which they arrive. The input is untrusted: it is checked before use, and no
/// more than one frame and one piece is kept.
struct FrameReader {
    let maximumMessageSize: Int
    private var bytes: [UInt8] = []
    private var consumed = 0

    init(maximumMessageSize: Int) { self.maximumMessageSize = maximumMessageSize }

    mutating func append(_ piece: UnsafeRawBufferPointer) {
        bytes.removeFirst(consumed)
        consumed = 0
        bytes += piece
    }

    /// Returns the next complete frame. Frames are taken one at a time, so that those before a bad one count.
    mutating func next() throws(TransportError) -> Frame? {
        let rest = bytes[consumed...]
        guard rest.count >= 5, let kind = rest.first else { return nil }
        let count = rest.prefix(5).dropFirst().reduce(0) { $0 << 8 | Int($1) }
        guard count <= max(maximumMessageSize, 125) else {
            throw TransportError(
                .messageTooLarge, "a message of \(count) bytes came; the maximum is \(maximumMessageSize)")
        }
        guard rest.count - 5 >= count else { return nil }
        consumed += 5 + count
        return try Self.frame(kind, rest.dropFirst(5).prefix(count))
    }

    private static func frame(_ kind: UInt8, _ content: ArraySlice<UInt8>) throws(TransportError) -> Frame {
        let payload = Payload(content)
        switch kind {
        case 1 where payload.utf8Text != nil: return .message(.text(payload))
        case 2: return .message(.binary(payload))
        case 3 where content.count >= 2:
            let code = content.prefix(2).reduce(0) { $0 << 8 | UInt16($1) }
            return .close(SignalingClose(code: code, reason: String(decoding: content.dropFirst(2), as: UTF8.self)))
        default: throw TransportError(.protocolViolation, "a frame of kind \(kind) came that makes no sense")
        }
    }
}
