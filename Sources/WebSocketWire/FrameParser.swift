/// Parses the bytes of one side of a connection into whole WebSocket messages and control frames (RFC 6455 §5).
///
/// Performs all checks of a receiver: reserved bits and opcodes, masking, lengths, fragmentation, UTF-8 as it arrives,
/// close codes. Extensions are not supported.
///
/// A message that lies whole in the input stays there until it is copied. For a message that arrives in pieces, the
/// parser holds only what has arrived, and never more than the maximum. After a violation or a close frame, input is
/// ignored.
public struct FrameParser: ~Copyable {
    /// The side whose frames are read.
    public enum Sender: Sendable {
        /// A client: its frames are masked. No memory is allocated for bytes that it has announced but not sent.
        case client
        /// A server: its frames are not masked. Up to 64 KiB are allocated in advance.
        case server
    }

    /// A whole message.
    public struct Message {
        /// Valid UTF-8.
        public let isText: Bool
        private let bytes: UnsafeRawBufferPointer
        private let mask: Mask

        @inline(__always)
        fileprivate init(isText: Bool, _ bytes: UnsafeRawBufferPointer, _ mask: Mask) {
            self.isText = isText
            self.bytes = bytes
            self.mask = mask
        }

        /// Bytes.
        public var count: Int { bytes.count }

        /// Copies the message to `target`, which has room for `count` bytes. Only until the parser's next use, and as
        /// long as its input is valid.
        public func copy(to target: UnsafeMutableRawPointer) { mask.copy(bytes, to: target) }

        /// A copy of the message. To be taken before the parser's next use, and while its input is valid.
        public func array() -> [UInt8] {
            [UInt8](unsafeUninitializedCapacity: count) { buffer, count in
                if let target = buffer.baseAddress { copy(to: UnsafeMutableRawPointer(target)) }
                count = bytes.count
            }
        }
    }

    /// An event that the bytes have completed.
    public enum Event {
        /// A whole message.
        case message(Message)
        /// A frame that does not end its message.
        case fragment
        /// A ping, with 125 bytes at most.
        case ping([UInt8])
        /// A pong, with 125 bytes at most.
        case pong([UInt8])
        /// The close frame. Its code is one that may be sent, or 1005.
        case close(CloseReason)
    }

    private struct Frame {
        var isFinal: Bool
        var opcode: Opcode
        var remaining: Int
        /// Of the next byte.
        var mask: Mask
    }

    /// Can transition: header → payload → header; any → ended (a close frame, a violation).
    private enum State {
        case header
        case payload(Frame)
        case ended
    }

    private let sender: Sender
    private let maximumMessageSize: Int
    private let maximumEmptyFragments: Int
    private var state = State.header
    /// The bytes of an incomplete header.
    private var header = PartialHeader()
    /// The kind of the fragmented message in progress.
    private var messageOpcode: Opcode?
    private var assembly = MessageAssembly()
    /// Whether the assembly is a message that was returned already.
    private var isHandedOut = false
    private var validator = UTF8Validator()
    /// Frames of the message that have added nothing to it.
    private var emptyFragments = 0
    private var control: [UInt8] = []

    /// Creates a parser for the frames of one connection.
    /// - Parameters:
    ///   - sender: the side whose frames are read.
    ///   - maximumMessageSize: bytes.
    ///   - maximumEmptyFragments: frames of a message that neither end it nor add to it.
    public init(framesFrom sender: Sender, maximumMessageSize: Int, maximumEmptyFragments: Int = .max) {
        self.sender = sender
        self.maximumMessageSize = maximumMessageSize
        self.maximumEmptyFragments = maximumEmptyFragments
    }

    /// The memory of an incomplete message or control frame.
    public var heldBytes: Int { assembly.capacity + control.capacity }

    /// Removes bytes from the front of `input` up to the end of the next event. Returns nil when there is no event in
    /// the input, and removes all of it.
    public mutating func next(_ input: inout UnsafeRawBufferPointer) throws(FrameViolation) -> Event? {
        if isHandedOut {
            assembly.removeAll()
            isHandedOut = false
        }
        do throws(FrameViolation) {
            while true {
                switch state {
                case .header:
                    guard let frame = try takeHeader(&input) else { return nil }
                    // The common case: a whole message, and all of it is here.
                    if frame.isFinal, frame.remaining <= input.count, messageOpcode == nil, !frame.opcode.isControl {
                        return .message(try whole(frame, take(frame.remaining, of: &input)))
                    }
                    state = .payload(frame)
                case .payload(var frame):
                    let part = take(min(frame.remaining, input.count), of: &input)
                    frame.remaining -= part.count
                    try append(part, frame)
                    frame.mask = frame.mask.advanced(by: part.count)
                    state = frame.remaining == 0 ? .header : .payload(frame)
                    return frame.remaining == 0 ? try finish(frame) : nil
                case .ended:
                    input = UnsafeRawBufferPointer(rebasing: input[input.count...])
                    return nil
                }
            }
        } catch {
            state = .ended
            assembly.removeAll()
            control = []
            throw error
        }
    }

    /// Returns the memory of the message that `next` has just returned, if the parser has reassembled it. The caller
    /// takes ownership, and frees it with free(3). Nil if the message is empty or lies in the input.
    public mutating func takeMemory() -> UnsafeRawBufferPointer? {
        guard isHandedOut else { return nil }
        isHandedOut = false
        return assembly.take()
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
        if header.count == 0, !input.isEmpty {
            let (frame, length) = try parseHeader(input)
            if let frame {
                input = UnsafeRawBufferPointer(rebasing: input[length...])
                return try begin(frame)
            }
        }
        while !input.isEmpty {
            header.append(input[0])
            input = UnsafeRawBufferPointer(rebasing: input[1...])
            let (frame, _) = try header.withBytes { bytes throws(FrameViolation) in try parseHeader(bytes) }
            if let frame {
                header = PartialHeader()
                return try begin(frame)
            }
        }
        return nil
    }

    /// Parses a header. Every value is checked as soon as its bytes have arrived.
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
        let isMasked = bytes[1] & 0x80 != 0
        guard isMasked == (sender == .client) else { throw isMasked ? .maskedFrame : .unmaskedFrame }
        var length = Int(bytes[1] & 0x7F)
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
        if !opcode.isControl, length > maximumMessageSize - assembly.count {
            throw .messageTooLarge(maximum: maximumMessageSize)
        }
        var mask = Mask.none
        if isMasked {
            guard bytes.count >= end + 4 else { return (nil, 0) }
            mask = Mask(bytes.loadUnaligned(fromByteOffset: end, as: UInt32.self))
            end += 4
        }
        return (Frame(isFinal: isFinal, opcode: opcode, remaining: length, mask: mask), end)
    }

    @inline(__always)
    private mutating func begin(_ frame: Frame) throws(FrameViolation) -> Frame {
        if !frame.isFinal, frame.remaining == 0 {
            emptyFragments += 1
            guard emptyFragments <= maximumEmptyFragments else { throw .emptyFragments(maximum: maximumEmptyFragments) }
        }
        return frame
    }

    // MARK: Payload

    private func whole(_ frame: Frame, _ bytes: UnsafeRawBufferPointer) throws(FrameViolation) -> Message {
        if frame.opcode == .text {
            var validator = UTF8Validator()
            guard validator.append(bytes, masked: frame.mask), validator.isComplete else { throw .invalidText }
        }
        return Message(isText: frame.opcode == .text, bytes, frame.mask)
    }

    private mutating func append(_ part: UnsafeRawBufferPointer, _ frame: Frame) throws(FrameViolation) {
        guard !frame.opcode.isControl else {
            for index in part.indices { control.append(part[index] ^ frame.mask.byte(at: index)) }
            return
        }
        if (messageOpcode ?? frame.opcode) == .text, !validator.append(part, masked: frame.mask) { throw .invalidText }
        let reserve = sender == .client ? 0 : 65_536
        assembly.append(part, frame.mask, expecting: frame.remaining, reserve: reserve)
    }

    private mutating func finish(_ frame: Frame) throws(FrameViolation) -> Event {
        defer { if frame.opcode.isControl { control = [] } }
        switch frame.opcode {
        case .ping: return .ping(control)
        case .pong: return .pong(control)
        case .close:
            let reason = try CloseReason(payload: control)
            state = .ended
            return .close(reason)
        case .continuation, .text, .binary:
            let opcode = messageOpcode ?? frame.opcode
            guard frame.isFinal else {
                messageOpcode = opcode
                return .fragment
            }
            guard validator.isComplete else { throw .invalidText }
            messageOpcode = nil
            emptyFragments = 0
            validator = UTF8Validator()
            isHandedOut = true
            return .message(Message(isText: opcode == .text, assembly.bytes, .none))
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
