#if NIO
    internal import Glibc
    internal import TransportPluginAPI

    /// Turns the bytes of a server into whole messages and control frames, and checks all that RFC 6455 asks a client to check. Pure.
    ///
    /// **Why not NIOWebSocket's `WebSocketFrameDecoder`.** It hands out whole frames, which makes three checks impossible: text is
    /// looked at, and reserved bits and opcodes are noticed, only when the whole payload has come, be it a megabyte; how a length was
    /// encoded is forgotten, so that one in more bytes than needed (§5.2) passes; and a limit holds for a frame, not for a message.
    /// It also collects the payload in a buffer that grows as the bytes come, from which it must be copied once more.
    ///
    /// A message that lies whole in the bytes at hand is copied once, into its payload. Memory: one message of the maximum size.
    struct FrameReader: ~Copyable {
        enum Event: Equatable {
            case message(SignalingMessage)
            case ping([UInt8])
            case pong
            case close(SignalingClose)
        }

        /// Why the connection must fail, and with which close code.
        struct Violation: Error, Equatable {
            var code: UInt16
            /// What the other side did, as the beginning of a sentence.
            var what: String
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
            var opcode: Opcode
            var isFinal: Bool
            var remaining: Int
        }

        /// Can transition: header → payload → header; any → ended (a close frame, a violation).
        private enum State {
            case header
            case payload(Frame)
            case ended
        }

        private let maximumMessageSize: Int
        private var state = State.header
        /// The bytes of a header that has come in part: 9 at most.
        private var header: [UInt8] = []
        /// What kind of message is under way, from its first frame on.
        private var messageOpcode: Opcode?
        private var assembly = Assembly()
        private var checker = UTF8Checker()
        /// The payload of a control frame that comes in parts: 125 bytes at most.
        private var control: [UInt8] = []

        init(maximumMessageSize: Int) { self.maximumMessageSize = maximumMessageSize }

        /// Takes bytes from the front until an event is complete, and returns it; nil when more bytes are needed. After a close frame
        /// or a violation everything is swallowed.
        mutating func next(_ bytes: inout UnsafeRawBufferPointer) throws(Violation) -> Event? {
            do throws(Violation) {
                while true {
                    switch state {
                    case .ended:
                        bytes = UnsafeRawBufferPointer(rebasing: bytes[bytes.count...])
                        return nil
                    case .header:
                        guard let frame = try readHeader(&bytes) else { return nil }
                        state = .payload(frame)
                    case .payload(let frame):
                        if let event = try readPayload(frame, &bytes) { return event }
                        if case .payload = state { return nil }
                    }
                }
            } catch {
                state = .ended
                throw error
            }
        }

        // MARK: Header (RFC 6455 §5.2)

        private mutating func readHeader(_ bytes: inout UnsafeRawBufferPointer) throws(Violation) -> Frame? {
            if header.isEmpty {
                if let (frame, size) = try parse(bytes) {
                    bytes.drop(size)
                    return frame
                }
                header.append(contentsOf: bytes)
                bytes.drop(bytes.count)
                return nil
            }
            while let byte = bytes.first {
                header.append(byte)
                bytes.drop(1)
                let whole = header
                let parsed = whole.withUnsafeBytes { bytes in
                    Result { () throws(Violation) in try parse(bytes) }
                }
                if let (frame, _) = try parsed.get() {
                    header.removeAll(keepingCapacity: true)
                    return frame
                }
            }
            return nil
        }

        /// The frame that a header announces, and the header's size; nil when there is more of it to come.
        private func parse(_ bytes: UnsafeRawBufferPointer) throws(Violation) -> (Frame, Int)? {
            guard let first = bytes.first else { return nil }
            guard first & 0x70 == 0 else { throw broken("a frame with a reserved bit") }
            guard let opcode = Opcode(rawValue: first & 0x0F) else { throw broken("a frame with a reserved opcode") }
            let isFinal = first & 0x80 != 0
            if opcode.isControl {
                guard isFinal else { throw broken("a control frame in fragments") }
            } else if (opcode == .continuation) != (messageOpcode != nil) {
                throw broken(
                    opcode == .continuation ? "a continuation of nothing" : "a new message inside a fragmented one")
            }
            guard bytes.count >= 2 else { return nil }
            guard bytes[1] & 0x80 == 0 else { throw broken("a masked frame") }
            let (length, size): (Int, Int)
            switch bytes[1] & 0x7F {
            case 126:
                guard bytes.count >= 4 else { return nil }
                let value = UInt16(bigEndian: bytes.loadUnaligned(fromByteOffset: 2, as: UInt16.self))
                guard value > 125 else { throw broken("a length in more bytes than needed") }
                (length, size) = (Int(value), 4)
            case 127:
                guard bytes.count >= 10 else { return nil }
                let value = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 2, as: UInt64.self))
                guard value > 65_535 else { throw broken("a length in more bytes than needed") }
                guard let whole = Int(exactly: value) else { throw broken("a length with its highest bit set") }
                (length, size) = (whole, 10)
            case let short: (length, size) = (Int(short), 2)
            }
            if opcode.isControl {
                guard length <= 125 else { throw broken("a control frame of more than 125 bytes") }
            } else if length > maximumMessageSize - assembly.count {
                throw Violation(code: 1009, what: "a message of more than \(maximumMessageSize) bytes")
            }
            return (Frame(opcode: opcode, isFinal: isFinal, remaining: length), size)
        }

        private func broken(_ what: String) -> Violation { Violation(code: 1002, what: what) }

        // MARK: Payload

        /// Nil while the frame, or its message, is not complete: `state` tells which.
        private mutating func readPayload(
            _ frame: Frame, _ bytes: inout UnsafeRawBufferPointer
        ) throws(Violation) -> Event? {
            let piece = UnsafeRawBufferPointer(rebasing: bytes.prefix(frame.remaining))
            bytes.drop(piece.count)
            let isWhole = piece.count == frame.remaining
            if isWhole {
                state = .header
            } else {
                state = .payload(
                    Frame(opcode: frame.opcode, isFinal: frame.isFinal, remaining: frame.remaining - piece.count))
            }
            if frame.opcode.isControl {
                control.append(contentsOf: piece)
                return isWhole ? try controlEvent(frame.opcode) : nil
            }
            let opcode = messageOpcode ?? frame.opcode
            let isEnd = isWhole && frame.isFinal
            if opcode == .text {
                guard checker.accepts(piece), !isEnd || checker.isComplete else {
                    throw Violation(code: 1007, what: "text that is not UTF-8")
                }
            }
            let payload = assembly.add(piece, isEnd: isEnd)
            guard let payload else {
                if isWhole { messageOpcode = opcode }
                return nil
            }
            messageOpcode = nil
            return .message(opcode == .text ? .text(payload) : .binary(payload))
        }

        private mutating func controlEvent(_ opcode: Opcode) throws(Violation) -> Event {
            defer { control.removeAll(keepingCapacity: true) }
            switch opcode {
            case .ping: return .ping(control)
            case .close:
                state = .ended
                return .close(try closeReason())
            case .pong, .continuation, .text, .binary: return .pong
            }
        }

        /// RFC 6455 §5.5.1 and §7.4; 1012 to 1014 are in IANA's registry.
        private func closeReason() throws(Violation) -> SignalingClose {
            guard !control.isEmpty else { return SignalingClose(code: 1005) }
            guard control.count >= 2 else { throw broken("a close frame with half a code") }
            let code = UInt16(control[0]) << 8 | UInt16(control[1])
            switch code {
            case 1000...1003, 1007...1014, 3000...4999: break
            default: throw broken("the close code \(code), which must not be sent")
            }
            guard let reason = String(validating: control.dropFirst(2), as: UTF8.self) else {
                throw Violation(code: 1007, what: "a close reason that is not UTF-8")
            }
            return SignalingClose(code: code, reason: reason)
        }
    }

    extension UnsafeRawBufferPointer {
        fileprivate mutating func drop(_ count: Int) { self = UnsafeRawBufferPointer(rebasing: self[count...]) }
    }

    /// Puts the pieces of one message together.
    private struct Assembly: ~Copyable {
        private var buffer: UnsafeMutableRawPointer?
        private var capacity = 0
        private(set) var count = 0

        init() {}

        deinit { free(buffer) }

        /// The whole message, with its last piece. The caller bounds the sum.
        mutating func add(_ bytes: UnsafeRawBufferPointer, isEnd: Bool) -> Payload? {
            if isEnd, count == 0 { return Payload(copying: bytes) }
            if count + bytes.count > capacity {
                capacity = max(count + bytes.count, capacity * 2, 16_384)
                buffer = realloc(buffer, capacity)
            }
            if let start = bytes.baseAddress, let buffer { memcpy(buffer + count, start, bytes.count) }
            count += bytes.count
            guard isEnd else { return nil }
            defer {
                buffer = nil
                capacity = 0
                count = 0
            }
            return Payload(adopting: UnsafeRawBufferPointer(start: buffer, count: count)) {
                free(UnsafeMutableRawPointer(mutating: $0.baseAddress))
            }
        }
    }
#endif
