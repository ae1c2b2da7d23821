/// The head of an HTTP/1.1 message: its first line and its fields.
///
/// It is read byte by byte (RFC 9112 §2.2), since Swift takes CR LF for one character.
public protocol HTTPHead: Sendable {
    /// Whether a line may end with LF alone (RFC 9112 §2.2 leaves it to the recipient).
    static var allowsBareLineFeeds: Bool { get }

    /// Whether `bytes` may be the beginning of a head.
    static func mayBegin(_ bytes: [UInt8]) -> Bool

    /// Reads a head without the empty line at its end. Returns nil when it is malformed.
    init?(_ bytes: some Collection<UInt8>)
}

/// The reason why bytes are no head of HTTP.
public enum HTTPHeadFailure: Error, Hashable, CustomStringConvertible {
    /// The first bytes belong to another protocol.
    case notHTTP
    /// So many bytes have come without an end.
    case tooLong(limit: Int)
    /// A line breaks the rules, or there are too many fields.
    case malformed

    /// As a client says it of the server's answer.
    public var description: String {
        switch self {
        case .notHTTP: "its answer is not HTTP/1.1"
        case .tooLong(let limit): "its answer's head has more than \(limit) bytes"
        case .malformed: "its answer's head is malformed"
        }
    }
}

/// Gathers a head that comes in pieces.
public struct HTTPHeadBuffer<Head: HTTPHead>: Sendable {
    /// Bytes of a head with its end, unless another limit is given.
    public static var usualLimit: Int { 16_384 }

    private let limit: Int
    private var bytes: [UInt8] = []

    /// Creates an empty buffer.
    /// - Parameter limit: bytes of the head, its end included.
    public init(limit: Int = usualLimit) { self.limit = limit }

    /// The memory of an incomplete head.
    public var heldBytes: Int { bytes.capacity }

    /// Takes the bytes that belong to the head from the front of `input`; the rest is what follows it. Returns nil
    /// while the end has not come. After a head the buffer is empty again; after an error it is of no further use.
    public mutating func take(_ input: inout UnsafeRawBufferPointer) throws(HTTPHeadFailure) -> Head? {
        let before = bytes.count
        bytes.append(contentsOf: input.prefix(limit - before))
        guard Head.mayBegin(bytes) else { throw .notHTTP }
        guard let end = end(from: before) else {
            input = UnsafeRawBufferPointer(rebasing: input[input.count...])
            guard bytes.count < limit else { throw .tooLong(limit: limit) }
            return nil
        }
        input = UnsafeRawBufferPointer(rebasing: input[(end.behind - before)...])
        guard let head = Head(bytes[..<end.lines]) else { throw .malformed }
        bytes = []
        return head
    }

    /// Where the lines end, and where what follows the empty line begins. Its last byte is at `start` or behind it.
    private func end(from start: Int) -> (lines: Int, behind: Int)? {
        for index in start..<bytes.count where bytes[index] == 0x0A {
            if index >= 3, bytes[(index - 3)..<index].elementsEqual([0x0D, 0x0A, 0x0D]) {
                return (index - 3, index + 1)
            }
            if Head.allowsBareLineFeeds, index >= 1, bytes[index - 1] == 0x0A { return (index - 1, index + 1) }
        }
        return nil
    }
}
