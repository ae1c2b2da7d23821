/// The delivery protocol of a `.reliable` channel between two members that both declare the capability `delivery.v1`.
///
/// It runs inside an ordered, reliable data channel whose `protocol` string is `DeliveryProtocol.channelProtocol`,
/// always as binary messages. SCTP already keeps order and repeats lost packets within one peer connection. The header
/// extends this across connections: numbers, acknowledgements, and a resume frame at the start of each.
///
/// All integers are big-endian. Frames begin with one byte for their kind:
///
/// | kind | frame | layout |
/// |---|---|---|
/// | 0x01 | resume | version u8, own session (u8 + bytes), expected peer session (u8 + bytes), received u64, next u64 |
/// | 0x02 | binary data | sequence u32, ack u32, payload |
/// | 0x03 | text data | sequence u32, ack u32, payload |
/// | 0x04 | part of a message: more follows | sequence u32, ack u32, payload; the last part is 0x02, 0x03 or 0x07 |
/// | 0x05 | ack | ack u32 |
/// | 0x06 | hint | code u8, see `Hint` |
/// | 0x07 | exchange message | sequence u32, ack u32, payload: a message of a topic, request or stream |
///
/// A hint is advice, neither numbered nor repeated; an unknown code is ignored. Every data frame has its own sequence
/// number, counting from 1; the wire carries the lower 32 bits. `ack` is cumulative.
/// Resume is the first frame of each side on each new channel: `received` is the last number that has arrived from the
/// other side in order, `next` the lowest number that this side can still send.
///
/// Two members that both also declare `exchange.v1` have a second numbered channel, for the bytes of streams. It has
/// its own sequence numbers, acknowledgements and resume frames. Only between them are there frames of the kind 0x07.
public enum DeliveryProtocol {
    /// The label of the channel.
    public static let channelLabel = "room.reliable"
    /// The protocol string of the channel, which contains the version.
    public static let channelProtocol = "room.delivery.v1"
    /// The capability in `hello` and in the roster.
    public static let capability = "delivery.v1"
    /// The version in the resume frame.
    public static let version: UInt8 = 1
    /// Returns the capability with the longest message, in bytes, that its owner accepts on the reliable channel:
    /// `message.max.4194304`.
    public static func messageLimitCapability(_ bytes: Int) -> String { "\(messageLimitPrefix)\(bytes)" }
    /// Returns the longest message in the capabilities of a member; nil when they contain none.
    public static func messageLimit(in capabilities: [String]) -> Int? {
        for capability in capabilities where capability.hasPrefix(messageLimitPrefix) {
            if let bytes = Int(capability.dropFirst(messageLimitPrefix.count)), bytes > 0 { return bytes }
        }
        return nil
    }
    private static let messageLimitPrefix = "message.max."
    /// The length of kind, sequence and ack.
    public static let dataHeaderLength = 9
    /// The label of the unordered plain channel, which has an empty protocol string.
    public static let unorderedLabel = "room.unordered"
    /// The label of the lossy plain channel.
    public static let lossyLabel = "room.lossy"
    /// The label of the reliable channel to a member without the capability: plain data-channel semantics.
    public static let plainLabel = "room.plain"
    /// The label of the second numbered channel, whose protocol string is `channelProtocol`.
    public static let bulkLabel = "room.bulk"
    /// The label of the plain channel, unordered and without retransmissions, of lossy topics.
    public static let topicsLabel = "room.topics"
}

extension DeliveryProtocol {
    /// The size of one frame, including the header: what every browser accepts. A longer message is sent in parts.
    public static let maximumFrameLength = 262_144
    /// The payload bytes that fit into one frame.
    public static let maximumPartLength = maximumFrameLength - dataHeaderLength
    /// The bytes of one message on the second numbered channel.
    public static let maximumBulkMessageLength = maximumFrameLength

    /// The first byte of a frame.
    public enum Kind: UInt8, Sendable {
        /// The first frame of each side on each new channel.
        case resume = 1
        /// A message of bytes, or the last part of one.
        case binary = 2
        /// A message of text, or the last part of one.
        case text = 3
        /// A part of a message; more follow.
        case part = 4
        /// An acknowledgement without data.
        case ack = 5
        /// Advice, neither numbered nor repeated.
        case hint = 6
        /// A message of a topic, request or stream, or the last part of one.
        case exchange = 7
    }

    /// Advice from one side to the other.
    public enum Hint: UInt8, Sendable, Hashable {
        /// The sender has just reconnected to the room server: it may be worth trying now.
        case serverIsBack = 1
        /// The sender leaves the room, and its session ends. A server that has lost its state will not report it.
        case leaving = 2
        /// The sender receives nothing from the other side, which may not know it: only one direction is cut.
        case unheard = 3

        /// The whole frame.
        public var encoded: [UInt8] { [Kind.hint.rawValue, rawValue] }
    }

    /// The first frame of each side on each new channel.
    public struct ResumeFrame: Sendable, Hashable {
        /// The sender's session.
        public var session: SessionID
        /// The other side's session, to which the numbers belong.
        public var peerSession: SessionID
        /// The last number that has arrived in order; 0: none.
        public var received: UInt64
        /// The lowest number that can still be sent.
        public var next: UInt64

        /// Creates a frame with these values.
        public init(session: SessionID, peerSession: SessionID, received: UInt64, next: UInt64) {
            self.session = session
            self.peerSession = peerSession
            self.received = received
            self.next = next
        }

        /// The frame as bytes.
        public var encoded: [UInt8] {
            var bytes: [UInt8] = [Kind.resume.rawValue, version]
            for id in [session, peerSession] {
                let text = Array(id.rawValue.utf8.prefix(255))
                bytes.append(UInt8(text.count))
                bytes += text
            }
            for number in [received, next] {
                for shift in stride(from: 56, through: 0, by: -8) {
                    bytes.append(UInt8(truncatingIfNeeded: number >> shift))
                }
            }
            return bytes
        }
    }

    /// A received frame; `payload` is where the rest begins.
    public enum Frame: Sendable, Hashable {
        /// The first frame of a side.
        case resume(ResumeFrame)
        /// The header of a data frame; its payload begins after `dataHeaderLength` bytes.
        case data(kind: Kind, sequence: UInt32, ack: UInt32)
        /// The lower 32 bits of the last number that has arrived in order.
        case ack(UInt32)
        /// A hint; nil for an unknown code.
        case hint(Hint?)
    }

    /// Parses a frame's header. Nil: not a frame of this version; the channel should be closed.
    public static func decode(_ bytes: UnsafeRawBufferPointer) -> Frame? {
        guard let first = bytes.first, let kind = Kind(rawValue: first) else { return nil }
        switch kind {
        case .binary, .text, .part, .exchange:
            guard bytes.count >= dataHeaderLength else { return nil }
            return .data(
                kind: kind, sequence: UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 1, as: UInt32.self)),
                ack: UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 5, as: UInt32.self)))
        case .ack:
            guard bytes.count == 5 else { return nil }
            return .ack(UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 1, as: UInt32.self)))
        case .hint:
            guard bytes.count == 2 else { return nil }
            return .hint(Hint(rawValue: bytes[1]))
        case .resume:
            return decodeResume(bytes).map(Frame.resume)
        }
    }

    private static func decodeResume(_ bytes: UnsafeRawBufferPointer) -> ResumeFrame? {
        guard bytes.count >= 2, bytes[1] == version else { return nil }
        var offset = 2
        func text() -> String? {
            guard offset < bytes.count else { return nil }
            let length = Int(bytes[offset])
            guard offset + 1 + length <= bytes.count else { return nil }
            defer { offset += 1 + length }
            return String(validating: bytes[(offset + 1)..<(offset + 1 + length)], as: UTF8.self)
        }
        func number() -> UInt64? {
            guard offset + 8 <= bytes.count else { return nil }
            defer { offset += 8 }
            return UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
        }
        guard let session = text(), let peerSession = text(), let received = number(), let next = number(),
            offset == bytes.count
        else { return nil }
        return ResumeFrame(
            session: SessionID(session), peerSession: SessionID(peerSession), received: received, next: next)
    }
}
