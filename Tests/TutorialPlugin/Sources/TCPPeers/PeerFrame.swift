import TransportPluginAPI

/// A channel of a connection: opened by the sender of the frame, by its receiver, or agreed on by both.
struct ChannelKey: Hashable {
    enum Owner: UInt8 {
        case sender = 0, receiver = 1, both = 2

        /// The same channel's owner as the other side names it.
        var mirrored: Owner { self == .sender ? .receiver : self == .receiver ? .sender : .both }
    }
    var owner: Owner
    var number: UInt32

    var mirrored: ChannelKey { ChannelKey(owner: owner.mirrored, number: number) }
}

/// A frame on the socket: one byte for its kind, four for its length, and the content.
enum PeerFrame {
    /// The token from the other side's description. Only a peer that was sent the description can know it.
    case hello(token: String)
    case open(ChannelKey, ChannelParameters)
    case message(ChannelKey, Payload, isText: Bool)
    /// The reader has taken this many bytes, and has room for as many again.
    case taken(ChannelKey, Int)
    case close(ChannelKey)
    case probe
    case alive
    case goodbye

    /// The maximum size of a frame without the bytes of a message.
    static let largestHeader = 2 * 65_535 + 64

    var bytes: [UInt8] {
        switch self {
        case .hello(let token): return Self.frame(1, Array(token.utf8))
        case .open(let key, let parameters):
            var content = Self.bytes(key) + [parameters.isOrdered ? 1 : 0]
            switch parameters.reliability {
            case .reliable: content += [0, 0, 0]
            case .retransmissions(let count): content += [1] + Self.bytes(count)
            case .lifetime(let time): content += [2] + Self.bytes(time)
            }
            content += Self.bytes(UInt16(parameters.label.utf8.count)) + parameters.label.utf8
            return Self.frame(2, content + parameters.protocol.utf8)
        case .message(let key, let payload, let isText):
            return Self.frame(isText ? 3 : 4, Self.bytes(key) + payload.withUnsafeBytes { Array($0) })
        case .taken(let key, let count): return Self.frame(5, Self.bytes(key) + Self.bytes(UInt32(count)))
        case .close(let key): return Self.frame(6, Self.bytes(key))
        case .probe: return Self.frame(7, [])
        case .alive: return Self.frame(8, [])
        case .goodbye: return Self.frame(9, [])
        }
    }

    private static func frame(_ kind: UInt8, _ content: [UInt8]) -> [UInt8] {
        [kind] + bytes(UInt32(content.count)) + content
    }

    private static func bytes(_ key: ChannelKey) -> [UInt8] { [key.owner.rawValue] + bytes(key.number) }

    private static func bytes(_ number: some FixedWidthInteger) -> [UInt8] {
        withUnsafeBytes(of: number.bigEndian) { Array($0) }
    }
}

/// Reassembles frames from the pieces in which they arrive. The input is untrusted: it is checked before use, and no
/// more than one frame and one piece is kept.
struct PeerFrameReader {
    private let largest: Int
    private var bytes: [UInt8] = []

    init(maximumMessageSize: Int) { largest = maximumMessageSize + PeerFrame.largestHeader }

    /// Appends a piece, and returns the frames that are complete.
    mutating func append(_ piece: UnsafeRawBufferPointer) throws(TransportError) -> [PeerFrame] {
        bytes += piece
        var frames: [PeerFrame] = []
        var start = 0
        while bytes.count - start >= 5 {
            let count = bytes[start + 1..<start + 5].reduce(0) { $0 << 8 | Int($1) }
            guard count <= largest else {
                throw TransportError(.protocolViolation, "a frame of \(count) bytes came; the most is \(largest)")
            }
            guard bytes.count - start - 5 >= count else { break }
            let content = Content(bytes: bytes[start + 5..<start + 5 + count])
            frames.append(try Self.frame(bytes[start], content))
            start += 5 + count
        }
        bytes.removeFirst(start)
        return frames
    }

    private static func frame(_ kind: UInt8, _ content: Content) throws(TransportError) -> PeerFrame {
        var content = content
        switch kind {
        case 1: return .hello(token: try content.text(content.bytes.count))
        case 2:
            let key = try content.key()
            let isOrdered = try content.number(1) != 0
            let reliability: ChannelParameters.Reliability
            switch (try content.number(1), UInt16(try content.number(2))) {
            case (0, _): reliability = .reliable
            case (1, let count): reliability = .retransmissions(count)
            case (2, let time): reliability = .lifetime(milliseconds: time)
            default: throw Content.malformed
            }
            let label = try content.text(try content.number(2))
            guard content.bytes.count <= 65_535 else { throw Content.malformed }
            let parameters = ChannelParameters(
                label: label, protocol: try content.text(content.bytes.count), isOrdered: isOrdered,
                reliability: reliability,
                negotiatedID: key.owner == .both ? UInt16(truncatingIfNeeded: key.number) : nil)
            return .open(key, parameters)
        case 3, 4:
            let key = try content.key()
            return .message(key, Payload(content.bytes), isText: kind == 3)
        case 5: return .taken(try content.key(), try content.number(4))
        case 6: return .close(try content.key())
        case 7: return .probe
        case 8: return .alive
        case 9: return .goodbye
        default: throw Content.malformed
        }
    }

    /// The content of a frame, read from the front.
    private struct Content {
        var bytes: ArraySlice<UInt8>

        static let malformed = TransportError(.protocolViolation, "a frame came that makes no sense")

        mutating func number(_ count: Int) throws(TransportError) -> Int {
            guard bytes.count >= count else { throw Self.malformed }
            defer { bytes = bytes.dropFirst(count) }
            return bytes.prefix(count).reduce(0) { $0 << 8 | Int($1) }
        }

        mutating func text(_ count: Int) throws(TransportError) -> String {
            guard bytes.count >= count, let text = String(validating: bytes.prefix(count), as: UTF8.self) else {
                throw Self.malformed
            }
            bytes = bytes.dropFirst(count)
            return text
        }

        mutating func key() throws(TransportError) -> ChannelKey {
            guard let owner = ChannelKey.Owner(rawValue: UInt8(try number(1))) else { throw Self.malformed }
            // The sender's name for it: seen from here, the owner is the other side.
            return ChannelKey(owner: owner.mirrored, number: UInt32(try number(4)))
        }
    }
}
