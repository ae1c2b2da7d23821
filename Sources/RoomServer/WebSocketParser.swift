/// Turns the bytes of a client into whole WebSocket messages (RFC 6455), and checks everything that a server has to: reserved bits
/// and opcodes, masking, lengths, fragmentation, UTF-8 as it comes, close codes. No extension is spoken.
///
/// Holds one message of the maximum size at most. After a violation or a close frame it takes nothing more.
package struct WebSocketParser: Sendable {
    package enum Event: Sendable, Hashable {
        /// Valid UTF-8.
        case text([UInt8])
        case binary([UInt8])
        /// A frame that does not end its message.
        case fragment
        case ping([UInt8])
        case pong([UInt8])
        /// Nil: without a code. The code is one that may be sent (RFC 6455 §7.4.1).
        case close(code: UInt16?)
    }

    /// What fails the connection, and the close code that says so.
    package struct Violation: Error, Sendable, Hashable {
        package var code: UInt16
        package var reason: String
    }

    private enum Opcode: UInt8 {
        case continuation = 0
        case text = 1
        case binary = 2
        case close = 8
        case ping = 9
        case pong = 10

        var isControl: Bool { rawValue >= 8 }
    }

    private struct Frame {
        var isFinal: Bool
        var opcode: Opcode
        var remaining: Int
        /// The masking key, turned so that its first byte is the next one's.
        var mask: (UInt8, UInt8, UInt8, UInt8)
    }

    private enum State {
        case header
        case payload(Frame)
        case ended
    }

    /// Some libraries end a message with an empty frame, or begin it with one; nobody needs many of them.
    private static let maximumEmptyFragments = 8
    private let maximumMessageSize: Int
    private var state = State.header
    /// The bytes of a header that has come in part: 14 at most.
    private var header: [UInt8] = []
    /// The data message that is under way.
    private var messageOpcode: Opcode?
    private var message: [UInt8] = []
    private var validator = UTF8Validator()
    /// Frames of the message that have added nothing to it.
    private var emptyFragments = 0
    /// The payload of a control frame: 125 bytes at most.
    private var control: [UInt8] = []

    /// The memory of a message that has come in part.
    package var heldBytes: Int { message.capacity + control.capacity }

    package init(maximumMessageSize: Int) { self.maximumMessageSize = maximumMessageSize }

    /// Takes bytes, appends what they complete, and says what was wrong with them: then `events` are what came before.
    package mutating func consume(_ bytes: UnsafeRawBufferPointer, into events: inout [Event]) -> Violation? {
        var bytes = bytes
        return consume(&bytes, into: &events, upTo: .max)
    }

    /// Takes bytes until `events` has `limit` elements, and leaves the others in `bytes`.
    package mutating func consume(
        _ bytes: inout UnsafeRawBufferPointer, into events: inout [Event], upTo limit: Int
    ) -> Violation? {
        var index = 0
        defer { bytes = UnsafeRawBufferPointer(rebasing: bytes[index...]) }
        do throws(Violation) {
            while index < bytes.count, events.count < limit {
                switch state {
                case .ended:
                    index = bytes.count
                    return nil
                case .header:
                    header.append(bytes[index])
                    index += 1
                    if let frame = try parseHeader() {
                        header.removeAll(keepingCapacity: true)
                        state = .payload(frame)
                        if frame.remaining == 0 { try finish(frame, &events) }
                    }
                case .payload(var frame):
                    let count = min(frame.remaining, bytes.count - index)
                    try append(bytes, index, count, &frame)
                    index += count
                    frame.remaining -= count
                    state = .payload(frame)
                    if frame.remaining == 0 { try finish(frame, &events) }
                }
            }
            return nil
        } catch {
            state = .ended
            message = []
            return error
        }
    }

    private func protocolError(_ reason: String) -> Violation { Violation(code: 1002, reason: reason) }

    // MARK: Header

    /// The frame whose header is complete, or nil. RFC 6455 §5.2.
    private mutating func parseHeader() throws(Violation) -> Frame? {
        guard header.count >= 2 else {
            guard header[0] & 0x70 == 0 else { throw protocolError("a reserved bit is set") }
            return nil
        }
        guard let opcode = Opcode(rawValue: header[0] & 0x0F) else { throw protocolError("a reserved opcode") }
        let isFinal = header[0] & 0x80 != 0
        guard header[1] & 0x80 != 0 else { throw protocolError("a frame without a mask") }
        let shortLength = Int(header[1] & 0x7F)
        if opcode.isControl {
            guard isFinal else { throw protocolError("a control frame in fragments") }
            guard shortLength <= 125 else { throw protocolError("a control frame over 125 bytes") }
        } else {
            let isContinuation = opcode == .continuation
            guard isContinuation == (messageOpcode != nil) else {
                throw protocolError(
                    isContinuation ? "a continuation of nothing" : "a new message inside a fragmented one")
            }
        }
        let extended = shortLength == 126 ? 2 : shortLength == 127 ? 8 : 0
        guard header.count == 2 + extended + 4 else { return nil }
        let length = try length(shortLength, header[2..<(2 + extended)])
        if !opcode.isControl, length > maximumMessageSize - message.count {
            throw Violation(code: 1009, reason: "a message over \(maximumMessageSize) bytes")
        }
        if !opcode.isControl, !isFinal, length == 0 {
            emptyFragments += 1
            guard emptyFragments <= Self.maximumEmptyFragments else {
                throw Violation(code: 1008, reason: "more than \(Self.maximumEmptyFragments) empty fragments")
            }
        }
        let mask = header.suffix(4)
        let start = mask.startIndex
        return Frame(
            isFinal: isFinal, opcode: opcode, remaining: length,
            mask: (mask[start], mask[start + 1], mask[start + 2], mask[start + 3]))
    }

    private func length(_ short: Int, _ extended: ArraySlice<UInt8>) throws(Violation) -> Int {
        guard !extended.isEmpty else { return short }
        let length = extended.reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        guard length <= UInt64(Int64.max) else { throw protocolError("a length with its highest bit set") }
        guard length > (short == 126 ? 125 : 65_535) else { throw protocolError("a length in more bytes than needed") }
        return Int(length)
    }

    // MARK: Payload

    private mutating func append(
        _ bytes: UnsafeRawBufferPointer, _ start: Int, _ count: Int, _ frame: inout Frame
    ) throws(Violation) {
        guard !frame.opcode.isControl else {
            Self.unmask(bytes, start, count, &frame, into: &control)
            return
        }
        let first = message.count
        Self.unmask(bytes, start, count, &frame, into: &message)
        guard (messageOpcode ?? frame.opcode) == .text else { return }
        let isValid = message.withUnsafeBufferPointer { validator.append(UnsafeBufferPointer(rebasing: $0[first...])) }
        guard isValid else { throw Violation(code: 1007, reason: "text that is not UTF-8") }
    }

    private static func unmask(
        _ bytes: UnsafeRawBufferPointer, _ start: Int, _ count: Int, _ frame: inout Frame, into target: inout [UInt8]
    ) {
        let first = target.count
        target.append(contentsOf: bytes[start..<(start + count)])
        let mask = [frame.mask.0, frame.mask.1, frame.mask.2, frame.mask.3]
        target.withUnsafeMutableBufferPointer { target in
            mask.withUnsafeBufferPointer { mask in
                var index = first
                var turn = 0
                while index < target.count {
                    target[index] ^= mask[turn & 3]
                    index += 1
                    turn += 1
                }
            }
        }
        let turn = count & 3
        frame.mask = (mask[turn], mask[(turn + 1) & 3], mask[(turn + 2) & 3], mask[(turn + 3) & 3])
    }

    private mutating func finish(_ frame: Frame, _ events: inout [Event]) throws(Violation) {
        state = .header
        switch frame.opcode {
        case .ping:
            events.append(.ping(control))
            control = []
        case .pong:
            events.append(.pong(control))
            control = []
        case .close:
            let code = try closeCode(control)
            state = .ended
            events.append(.close(code: code))
        case .continuation, .text, .binary:
            let opcode = messageOpcode ?? frame.opcode
            guard frame.isFinal else {
                messageOpcode = opcode
                events.append(.fragment)
                return
            }
            if opcode == .text {
                guard validator.isComplete else { throw Violation(code: 1007, reason: "text that ends early") }
                events.append(.text(message))
            } else {
                events.append(.binary(message))
            }
            messageOpcode = nil
            message = []
            emptyFragments = 0
            validator = UTF8Validator()
        }
    }

    /// RFC 6455 §5.5.1 and §7.4; 1012 to 1014 are in IANA's registry.
    private func closeCode(_ payload: [UInt8]) throws(Violation) -> UInt16? {
        guard !payload.isEmpty else { return nil }
        guard payload.count >= 2 else { throw protocolError("a close frame with half a code") }
        let code = UInt16(payload[0]) << 8 | UInt16(payload[1])
        switch code {
        case 1000...1003, 1007...1014, 3000...4999: break
        default: throw protocolError("a close code that must not be sent")
        }
        guard String(validating: payload.dropFirst(2), as: UTF8.self) != nil else {
            throw Violation(code: 1007, reason: "a close reason that is not UTF-8")
        }
        return code
    }
}
