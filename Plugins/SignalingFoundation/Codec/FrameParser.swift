internal import Glibc
internal import TransportPluginAPI

/// Turns a server's bytes into whole WebSocket messages (RFC 6455 §5), and checks what a client has to: reserved bits and opcodes,
/// masking, lengths, fragmentation, UTF-8 as it comes, close codes. No extension is spoken.
///
/// A message that lies whole in the input is copied once, into its payload. Of one that comes in pieces no more is held than has
/// come of it, and never more than the maximum. After a violation or a close frame the input is passed over.
struct FrameParser: ~Copyable {
    enum Event: Equatable {
        case message(SignalingMessage)
        case ping(Payload)
        case pong
        /// 1005: without a code.
        case close(SignalingClose)
    }

    private struct Frame {
        var isFinal: Bool
        var opcode: Opcode
        var remaining: Int
    }

    private enum State {
        case header
        case payload(Frame)
        case ended
    }

    private let maximumMessageSize: Int
    private var state = State.header
    /// The bytes of a header that has come in part: 10 at most, the first in front.
    private var header = PartialHeader()
    /// Of the fragmented message that is under way.
    private var messageOpcode: Opcode?
    private var message = Assembly()
    private var validator = UTF8Validator()
    private var control = Assembly()

    init(maximumMessageSize: Int) { self.maximumMessageSize = maximumMessageSize }

    /// Takes bytes from the front of `input` up to the end of the next event, or all of them.
    mutating func next(_ input: inout UnsafeRawBufferPointer) throws(FrameViolation) -> Event? {
        do throws(FrameViolation) {
            while true {
                switch state {
                case .header:
                    guard let frame = try takeHeader(&input) else { return nil }
                    // The common case: a whole message, and all of it is here.
                    if frame.isFinal, frame.remaining <= input.count, messageOpcode == nil, !frame.opcode.isControl {
                        return .message(try whole(frame.opcode, take(frame.remaining, of: &input)))
                    }
                    state = .payload(frame)
                case .payload(var frame):
                    let part = take(min(frame.remaining, input.count), of: &input)
                    frame.remaining -= part.count
                    try append(part, frame)
                    state = frame.remaining == 0 ? .header : .payload(frame)
                    guard frame.remaining == 0 else { return nil }
                    if let event = try finish(frame) { return event }
                case .ended:
                    input = UnsafeRawBufferPointer(rebasing: input[input.count...])
                    return nil
                }
            }
        } catch {
            state = .ended
            message = Assembly()
            throw error
        }
    }

    @inline(__always)
    private func take(_ count: Int, of input: inout UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        let part = UnsafeRawBufferPointer(rebasing: input[..<count])
        input = UnsafeRawBufferPointer(rebasing: input[count...])
        return part
    }

    // MARK: Header

    /// The frame whose header is complete, or nil when the input ends before it is. RFC 6455 §5.2.
    private mutating func takeHeader(_ input: inout UnsafeRawBufferPointer) throws(FrameViolation) -> Frame? {
        if header.count == 0, input.count >= 10 {
            let (frame, length) = try parseHeader(input)
            if let frame {
                input = UnsafeRawBufferPointer(rebasing: input[length...])
                return frame
            }
        }
        while !input.isEmpty {
            header.append(input[0])
            input = UnsafeRawBufferPointer(rebasing: input[1...])
            let (frame, _) = try header.withBytes { bytes throws(FrameViolation) in try parseHeader(bytes) }
            if let frame {
                header = PartialHeader()
                return frame
            }
        }
        return nil
    }

    /// Everything is checked as soon as the bytes that tell it are there.
    @inline(__always)
    private func parseHeader(_ bytes: UnsafeRawBufferPointer) throws(FrameViolation) -> (Frame?, length: Int) {
        let first = bytes[0]
        guard first & 0x70 == 0 else { throw .reservedBit }
        guard let opcode = Opcode(rawValue: first & 0x0F) else { throw .reservedOpcode }
        let isFinal = first & 0x80 != 0
        if opcode.isControl {
            guard isFinal else { throw .fragmentedControlFrame }
        } else if (opcode == .continuation) != (messageOpcode != nil) {
            throw opcode == .continuation ? .unexpectedContinuation : .unfinishedMessage
        }
        guard bytes.count >= 2 else { return (nil, 0) }
        guard bytes[1] & 0x80 == 0 else { throw .maskedFrame }
        var length = Int(bytes[1])
        var end = 2
        if length >= 126 {
            guard !opcode.isControl else { throw .longControlFrame }
            end = length == 126 ? 4 : 10
            guard bytes.count >= end else { return (nil, 0) }
            let shortest = length == 126 ? 126 : 65_536
            let long =
                length == 126
                ? UInt64(UInt16(bigEndian: bytes.loadUnaligned(fromByteOffset: 2, as: UInt16.self)))
                : UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 2, as: UInt64.self))
            guard long <= UInt64(Int64.max) else { throw .lengthOverflow }
            guard long >= shortest else { throw .overlongLength }
            length = Int(long)
        }
        if !opcode.isControl, length > maximumMessageSize - message.count {
            throw .messageTooLarge(maximum: maximumMessageSize)
        }
        return (Frame(isFinal: isFinal, opcode: opcode, remaining: length), end)
    }

    // MARK: Payload

    private func whole(_ opcode: Opcode, _ bytes: UnsafeRawBufferPointer) throws(FrameViolation) -> SignalingMessage {
        guard opcode == .text else { return .binary(Payload(copying: bytes)) }
        var validator = UTF8Validator()
        guard validator.append(bytes), validator.isComplete else { throw .invalidText }
        return .text(Payload(copying: bytes))
    }

    private mutating func append(_ part: UnsafeRawBufferPointer, _ frame: Frame) throws(FrameViolation) {
        guard !frame.opcode.isControl else { return control.append(part, expecting: frame.remaining) }
        if (messageOpcode ?? frame.opcode) == .text, !validator.append(part) { throw .invalidText }
        message.append(part, expecting: frame.remaining)
    }

    private mutating func finish(_ frame: Frame) throws(FrameViolation) -> Event? {
        switch frame.opcode {
        case .ping: return .ping(control.take())
        case .pong:
            _ = control.take()
            return .pong
        case .close:
            let reason = try closeReason(control.take())
            state = .ended
            return .close(reason)
        case .continuation, .text, .binary:
            let opcode = messageOpcode ?? frame.opcode
            guard frame.isFinal else {
                messageOpcode = opcode
                return nil
            }
            guard validator.isComplete else { throw .invalidText }
            messageOpcode = nil
            validator = UTF8Validator()
            return .message(opcode == .text ? .text(message.take()) : .binary(message.take()))
        }
    }

    /// RFC 6455 §5.5.1 and §7.4; 1012 to 1014 are in IANA's registry.
    private func closeReason(_ payload: Payload) throws(FrameViolation) -> SignalingClose {
        try payload.withUnsafeBytes { bytes throws(FrameViolation) in
            guard !bytes.isEmpty else { return SignalingClose(code: 1005) }
            guard bytes.count >= 2 else { throw .truncatedCloseCode }
            let code = UInt16(bytes[0]) << 8 | UInt16(bytes[1])
            switch code {
            case 1000...1003, 1007...1014, 3000...4999: break
            default: throw .invalidCloseCode(code)
            }
            guard let reason = String(validating: bytes.dropFirst(2), as: UTF8.self) else {
                throw .invalidCloseReason
            }
            return SignalingClose(code: code, reason: reason)
        }
    }
}

/// What a server's frames can do wrong.
enum FrameViolation: Error, Hashable {
    case reservedBit, reservedOpcode, maskedFrame
    case fragmentedControlFrame, longControlFrame
    case unexpectedContinuation, unfinishedMessage
    case overlongLength, lengthOverflow
    case messageTooLarge(maximum: Int)
    case invalidText
    case truncatedCloseCode, invalidCloseReason
    case invalidCloseCode(UInt16)

    /// What tells the server so (RFC 6455 §7.4.1).
    var closeCode: UInt16 {
        switch self {
        case .messageTooLarge: 1009
        case .invalidText, .invalidCloseReason: 1007
        default: 1002
        }
    }

    /// What the server sent.
    var description: String {
        switch self {
        case .reservedBit: "a frame with a reserved bit set"
        case .reservedOpcode: "a frame with a reserved opcode"
        case .maskedFrame: "a masked frame"
        case .fragmentedControlFrame: "a control frame in fragments"
        case .longControlFrame: "a control frame of more than 125 bytes"
        case .unexpectedContinuation: "a continuation of no message"
        case .unfinishedMessage: "a new message inside a fragmented one"
        case .overlongLength: "a length in more bytes than it needs"
        case .lengthOverflow: "a length with its highest bit set"
        case .messageTooLarge(let maximum): "a message of more than \(maximum) bytes"
        case .invalidText: "text that is not UTF-8"
        case .truncatedCloseCode: "a close frame with half a code"
        case .invalidCloseReason: "a close reason that is not UTF-8"
        case .invalidCloseCode(let code): "the close code \(code), which must not be sent"
        }
    }
}

/// The first bytes of a header.
private struct PartialHeader {
    private var bytes: (UInt64, UInt64) = (0, 0)
    private(set) var count = 0

    mutating func append(_ byte: UInt8) {
        let count = count
        withUnsafeMutableBytes(of: &bytes) { $0[count] = byte }
        self.count += 1
    }

    func withBytes<Result>(
        _ body: (UnsafeRawBufferPointer) throws(FrameViolation) -> Result
    ) throws(FrameViolation) -> Result {
        let count = count
        return try withUnsafeBytes(of: bytes) { bytes throws(FrameViolation) in
            try body(UnsafeRawBufferPointer(rebasing: bytes[..<count]))
        }
    }
}

/// Puts the pieces of one message together, in memory that its payload takes over.
private struct Assembly: ~Copyable {
    private var buffer: UnsafeMutableRawPointer?
    private var capacity = 0
    private(set) var count = 0

    init() {}

    deinit { free(buffer) }

    /// The caller bounds the sum.
    /// - Parameter expected: bytes that will follow. Memory is taken for what has come, not for what was announced: twice that at most, and
    ///   64 KiB.
    mutating func append(_ bytes: UnsafeRawBufferPointer, expecting expected: Int) {
        guard let start = bytes.baseAddress, bytes.count > 0 else { return }
        let needed = count + bytes.count
        if needed > capacity {
            // Fragments of one byte each must not be copied once for each of them.
            capacity = max(needed + min(expected, max(needed, 65_536)), capacity * 2)
            guard let larger = realloc(buffer, capacity) else { fatalError("out of memory") }
            buffer = larger
        }
        if let buffer { memcpy(buffer + count, start, bytes.count) }
        count = needed
    }

    mutating func take() -> Payload {
        guard let buffer, count > 0 else { return Payload([]) }
        let bytes = UnsafeRawBufferPointer(start: buffer, count: count)
        self.buffer = nil
        capacity = 0
        count = 0
        return Payload(adopting: bytes) { free(UnsafeMutableRawPointer(mutating: $0.baseAddress)) }
    }
}
