/// The number of a client's stream on a link. The node that has opened the link counts up from 1.
typealias StreamID = UInt32

/// A frame of a link between two nodes: its kind (1 byte), stream (4) and length (4), and its content.
///
/// A link is opened by the node that has clients for rooms of the other one. Each client is a stream.
enum LinkFrame: Sendable, Hashable {
    /// The first frame in each direction.
    case hello(LinkHello)
    /// The proof that the sender knows a key of the cluster: 32 bytes for each one that it knows, 8 at most.
    case proof([UInt8])
    case ping(UInt64)
    case pong(UInt64)
    /// From the client's node: a client with its first message.
    case open(StreamID, LinkOpening)
    /// From the owner: the client is a connection of its room's loop now.
    case accept(StreamID)
    /// From the owner: the client is not served here.
    case refuse(StreamID, LinkRefusal)
    /// A text message of the client, or one for it.
    case text(StreamID, [UInt8])
    /// From the client's node: the client has sent a frame that is no message.
    case frame(StreamID)
    /// From the owner: so many bytes of messages have been taken.
    case credit(StreamID, UInt32)
    /// The end of a stream. From the owner: close the client's connection with this code. From the client's node: it
    /// has ended.
    case close(StreamID, code: UInt16)
    /// From the owner: end the client's connection without a close handshake.
    case abort(StreamID)
    /// The sender owns the room with this fence.
    case fence(UInt64, room: String)
    /// From the node that has opened the link: a request of its admin API about rooms of the other one. The number is
    /// not that of a stream.
    case ask(StreamID, LinkQuestion)
    case answer(StreamID, LinkAnswer)

    static let headerBytes = 9

    private enum Kind: UInt8 {
        case hello = 1, proof, ping, pong, open, accept, refuse, text, frame, credit, close, abort, fence
        case ask, answer
    }

    var encoded: [UInt8] {
        var bytes: [UInt8] = []
        encode(to: &bytes)
        return bytes
    }

    func encode(to bytes: inout [UInt8]) {
        let (kind, stream, content): (Kind, StreamID, [UInt8]) =
            switch self {
            case .hello(let hello): (.hello, 0, hello.encoded)
            case .proof(let proof): (.proof, 0, proof)
            case .ping(let id): (.ping, 0, id.networkBytes)
            case .pong(let id): (.pong, 0, id.networkBytes)
            case .open(let stream, let opening): (.open, stream, opening.encoded)
            case .accept(let stream): (.accept, stream, [])
            case .refuse(let stream, let refusal): (.refuse, stream, [refusal.rawValue])
            case .text(let stream, let text): (.text, stream, text)
            case .frame(let stream): (.frame, stream, [])
            case .credit(let stream, let count): (.credit, stream, count.networkBytes)
            case .close(let stream, let code): (.close, stream, code.networkBytes)
            case .abort(let stream): (.abort, stream, [])
            case .fence(let fence, let room): (.fence, 0, fence.networkBytes + Array(room.utf8))
            case .ask(let id, let question): (.ask, id, question.encoded)
            case .answer(let id, let answer): (.answer, id, answer.encoded)
            }
        bytes.reserveCapacity(bytes.count + Self.headerBytes + content.count)
        bytes.append(kind.rawValue)
        bytes += stream.networkBytes
        bytes += UInt32(content.count).networkBytes
        bytes += content
    }

    fileprivate init?(kind: UInt8, stream: StreamID, content: [UInt8]) {
        guard let kind = Kind(rawValue: kind) else { return nil }
        var reader = LinkReader(content)
        switch kind {
        case .hello:
            guard let hello = LinkHello(&reader) else { return nil }
            self = .hello(hello)
        case .proof:
            guard 1...8 ~= content.count / 32, content.count.isMultiple(of: 32) else { return nil }
            self = .proof(reader.rest())
        case .ping:
            guard let id = reader.integer(UInt64.self) else { return nil }
            self = .ping(id)
        case .pong:
            guard let id = reader.integer(UInt64.self) else { return nil }
            self = .pong(id)
        case .open:
            guard let opening = LinkOpening(&reader) else { return nil }
            self = .open(stream, opening)
        case .accept: self = .accept(stream)
        case .refuse:
            guard let byte = reader.integer(UInt8.self), let refusal = LinkRefusal(rawValue: byte) else { return nil }
            self = .refuse(stream, refusal)
        case .text: self = .text(stream, reader.rest())
        case .frame: self = .frame(stream)
        case .credit:
            guard let count = reader.integer(UInt32.self) else { return nil }
            self = .credit(stream, count)
        case .close:
            guard let code = reader.integer(UInt16.self) else { return nil }
            self = .close(stream, code: code)
        case .abort: self = .abort(stream)
        case .fence:
            guard let fence = reader.integer(UInt64.self),
                let room = String(validating: reader.rest(), as: UTF8.self)
            else { return nil }
            self = .fence(fence, room: room)
        case .ask:
            guard let question = LinkQuestion(&reader) else { return nil }
            self = .ask(stream, question)
        case .answer:
            guard let status = reader.text() else { return nil }
            self = .answer(stream, LinkAnswer(status: status, body: reader.rest()))
        }
        guard reader.isAtEnd else { return nil }
    }
}

/// The reason why the owner does not serve a client.
enum LinkRefusal: UInt8, Sendable, Hashable {
    /// The room belongs to another node, or to none.
    case notOwner = 1
    /// The node takes no more clients at present.
    case busy = 2
}

/// The introduction of a node.
struct LinkHello: Sendable, Hashable {
    /// The versions of the link's protocol that the node speaks.
    var minimumVersion: UInt16 = 1
    var version: UInt16 = 1
    var cluster: String
    var node: String
    /// The start of the node that this is.
    var incarnation: UInt64
    /// 32 random bytes.
    var nonce: [UInt8]

    private static let magic = Array("room link\n".utf8)

    var encoded: [UInt8] {
        var bytes = Self.magic
        bytes += minimumVersion.networkBytes
        bytes += version.networkBytes
        bytes += incarnation.networkBytes
        return bytes + cluster.linkField + node.linkField + UInt16(clamping: nonce.count).networkBytes + nonce
    }

    init(cluster: String, node: String, incarnation: UInt64, nonce: [UInt8]) {
        self.cluster = cluster
        self.node = node
        self.incarnation = incarnation
        self.nonce = nonce
    }

    fileprivate init?(_ reader: inout LinkReader) {
        guard reader.take(Self.magic.count) == Self.magic, let minimum = reader.integer(UInt16.self),
            let version = reader.integer(UInt16.self), let incarnation = reader.integer(UInt64.self),
            let cluster = reader.text(), let node = reader.text(), let count = reader.integer(UInt16.self), count == 32,
            let nonce = reader.take(32)
        else { return nil }
        self.init(cluster: cluster, node: node, incarnation: incarnation, nonce: nonce)
        minimumVersion = minimum
        self.version = version
        // Fields that a later version adds.
        _ = reader.rest()
    }
}

/// A client that comes to the owner of its room.
struct LinkOpening: Sendable, Hashable {
    /// The number of links that the client has been carried over. The owner carries nobody on.
    var hops: UInt8 = 1
    /// The fence of the room as the client's node knows it.
    var fence: UInt64
    /// The address of the client.
    var address: String
    /// The client's first message.
    var hello: [UInt8]

    fileprivate var encoded: [UInt8] {
        var bytes = [hops]
        bytes += fence.networkBytes
        return bytes + address.linkField + hello
    }

    init(hops: UInt8 = 1, fence: UInt64, address: String, hello: [UInt8]) {
        self.hops = hops
        self.fence = fence
        self.address = address
        self.hello = hello
    }

    fileprivate init?(_ reader: inout LinkReader) {
        guard let hops = reader.integer(UInt8.self), let fence = reader.integer(UInt64.self),
            let address = reader.text()
        else { return nil }
        self.init(hops: hops, fence: fence, address: address, hello: reader.rest())
    }
}

/// A request of one node's admin API about rooms of another one.
struct LinkQuestion: Sendable, Hashable {
    /// The HTTP method.
    var method: String
    /// The node and the address from which the request came, for the log.
    var from: String
    /// Path and query.
    var target: String

    fileprivate var encoded: [UInt8] { method.linkField + from.linkField + target.linkField }

    init(method: String, from: String, target: String) {
        self.method = method
        self.from = from
        self.target = target
    }

    fileprivate init?(_ reader: inout LinkReader) {
        guard let method = reader.text(), let from = reader.text(), let target = reader.text() else { return nil }
        self.init(method: method, from: from, target: target)
    }
}

/// The answer: a status and JSON.
struct LinkAnswer: Sendable, Hashable {
    var status: String
    var body: [UInt8]

    fileprivate var encoded: [UInt8] { status.linkField + body }
}

/// Input that is no frame of a link.
struct LinkViolation: Error, Hashable, CustomStringConvertible {
    let description: String
}

/// Parses frames from bytes that arrive in pieces of any length. Holds one incomplete frame.
struct LinkParser: Sendable {
    /// Bytes of the content of a frame. Small before the other side is known.
    var maximumContent: Int
    private var header: [UInt8] = []
    private var content: [UInt8] = []
    private var length = 0

    init(maximumContent: Int) { self.maximumContent = maximumContent }

    /// Removes bytes from the front of `input` up to the end of the next frame. Returns nil when the frame is not
    /// complete, and removes all of the input.
    mutating func next(_ input: inout UnsafeRawBufferPointer) throws(LinkViolation) -> LinkFrame? {
        if header.count < LinkFrame.headerBytes {
            header += Self.take(LinkFrame.headerBytes - header.count, &input)
            guard header.count == LinkFrame.headerBytes else { return nil }
            length = header[5...].reduce(0) { $0 << 8 | Int($1) }
            guard length <= maximumContent else { throw LinkViolation(description: "a frame is too long") }
        }
        content += Self.take(length - content.count, &input)
        guard content.count == length else { return nil }
        let stream = header[1..<5].reduce(0) { $0 << 8 | StreamID($1) }
        guard let frame = LinkFrame(kind: header[0], stream: stream, content: content) else {
            throw LinkViolation(description: "a frame is malformed or of an unknown kind")
        }
        header.removeAll(keepingCapacity: true)
        content.removeAll()
        return frame
    }

    private static func take(_ count: Int, _ input: inout UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        let end = input.startIndex + min(count, input.count)
        defer { input = UnsafeRawBufferPointer(rebasing: input[end...]) }
        return UnsafeRawBufferPointer(rebasing: input[..<end])
    }
}

/// Reads the fields of a frame.
private struct LinkReader {
    private var bytes: ArraySlice<UInt8>

    init(_ bytes: [UInt8]) { self.bytes = bytes[...] }

    var isAtEnd: Bool { bytes.isEmpty }

    mutating func take(_ count: Int) -> [UInt8]? {
        guard bytes.count >= count else { return nil }
        defer { bytes = bytes.dropFirst(count) }
        return Array(bytes.prefix(count))
    }

    mutating func rest() -> [UInt8] {
        defer { bytes = [] }
        return Array(bytes)
    }

    mutating func integer<Integer: FixedWidthInteger>(_: Integer.Type) -> Integer? {
        take(Integer.bitWidth / 8).map { $0.reduce(0) { $0 << 8 | Integer(truncatingIfNeeded: $1) } }
    }

    mutating func text() -> String? {
        guard let count = integer(UInt16.self), let bytes = take(Int(count)) else { return nil }
        return String(validating: bytes, as: UTF8.self)
    }
}

extension String {
    /// The text behind its length.
    fileprivate var linkField: [UInt8] {
        UInt16(clamping: utf8.count).networkBytes + Array(utf8.prefix(Int(UInt16.max)))
    }
}

extension FixedWidthInteger {
    fileprivate var networkBytes: [UInt8] { withUnsafeBytes(of: bigEndian, Array.init) }
}
