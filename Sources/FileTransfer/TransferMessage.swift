internal import Hashing
internal import TransportPluginAPI

/// A message of the transfer protocol, except the bytes of files, which follow a header of their own.
///
/// On the wire: kind (1 byte), length (4 bytes), body; big-endian.
enum TransferMessage: Hashable {
    /// The first message of either side. `asksForProof`: the side has a code.
    case hello(version: UInt8, asksForProof: Bool, nonce: [UInt8])
    case proof([UInt8])
    /// A part of the encoded list of files.
    case manifest([UInt8], isLast: Bool)
    /// The receiver has the beginning of a file: digests of it, up to growing lengths.
    case present(index: UInt32, [Checkpoint])
    /// The receiver wants the files.
    case accept
    /// A file begins: the bytes from `offset` on follow.
    case file(index: UInt32, offset: UInt64)
    /// The end of a file, with the digest of all of it.
    case endOfFile(Digest)
    /// Bytes of files that the receiver has written so far, in this transfer.
    case written(UInt64)
    /// A file is whole and has its name.
    case stored(index: UInt32)
    /// The receiver has everything.
    case finished
    /// The sender's last word.
    case goodbye
    case failure(TransferError.Code, String)

    /// The digest of the first `length` bytes of a file.
    struct Checkpoint: Hashable {
        var length: UInt64
        var digest: Digest
    }

    static let version: UInt8 = 1
    /// Bytes of the longest body, except that of `data`.
    static let lengthLimit = 65_536
    static let checkpointLimit = 32
    static let headerLength = 5
    /// Bytes of the text of a failure.
    static let textLimit = 1024

    enum Kind: UInt8 {
        case hello = 0x01
        case proof = 0x02
        case manifest = 0x03
        case lastManifest = 0x04
        case present = 0x05
        case accept = 0x06
        case file = 0x07
        case data = 0x08
        case endOfFile = 0x09
        case written = 0x0A
        case stored = 0x0B
        case finished = 0x0C
        case goodbye = 0x0D
        case failure = 0x0E
    }

    private var kind: Kind {
        switch self {
        case .hello: .hello
        case .proof: .proof
        case .manifest(_, let isLast): isLast ? .lastManifest : .manifest
        case .present: .present
        case .accept: .accept
        case .file: .file
        case .endOfFile: .endOfFile
        case .written: .written
        case .stored: .stored
        case .finished: .finished
        case .goodbye: .goodbye
        case .failure: .failure
        }
    }

    var encoded: [UInt8] {
        var body = ByteWriter()
        switch self {
        case .hello(let version, let asksForProof, let nonce):
            body.add(version)
            body.add(UInt8(asksForProof ? 1 : 0))
            body.add(raw: nonce)
        case .proof(let bytes), .manifest(let bytes, _): body.add(raw: bytes)
        case .present(let index, let checkpoints):
            body.add(index)
            for checkpoint in checkpoints {
                body.add(checkpoint.length)
                body.add(raw: checkpoint.digest.bytes)
            }
        case .file(let index, let offset):
            body.add(index)
            body.add(offset)
        case .endOfFile(let digest): body.add(raw: digest.bytes)
        case .written(let count): body.add(count)
        case .stored(let index): body.add(index)
        case .failure(let code, let text):
            body.add(text: code.rawValue)
            body.add(text: text, limit: Self.textLimit)
        case .accept, .finished, .goodbye: break
        }
        return Self.header(kind, length: body.bytes.count) + body.bytes
    }

    static func header(_ kind: Kind, length: Int) -> [UInt8] {
        var header = ByteWriter()
        header.add(kind.rawValue)
        header.add(UInt32(length))
        return header.bytes
    }

    init(_ kind: Kind, _ body: [UInt8]) throws(ByteReader.Malformed) {
        var reader = ByteReader(body)
        switch kind {
        case .hello:
            let version = try reader.number(UInt8.self)
            let flags = try reader.number(UInt8.self)
            // What later versions add behind the nonce is passed over.
            let nonce = try reader.raw(TransferProof.nonceLength)
            self = .hello(version: version, asksForProof: flags & 1 != 0, nonce: Array(nonce))
            return
        case .proof: self = .proof(Array(try reader.raw(Digest.length)))
        case .manifest, .lastManifest: self = .manifest(Array(reader.rest()), isLast: kind == .lastManifest)
        case .present:
            let index = try reader.number(UInt32.self)
            var checkpoints: [Checkpoint] = []
            while !reader.isAtEnd {
                let length = try reader.number(UInt64.self)
                let digest = Digest(bytes: Array(try reader.raw(Digest.length)))
                guard checkpoints.count < Self.checkpointLimit, length > checkpoints.last?.length ?? 0 else {
                    throw ByteReader.Malformed()
                }
                checkpoints.append(Checkpoint(length: length, digest: digest))
            }
            self = .present(index: index, checkpoints)
        case .file: self = .file(index: try reader.number(), offset: try reader.number())
        case .endOfFile: self = .endOfFile(Digest(bytes: Array(try reader.raw(Digest.length))))
        case .written: self = .written(try reader.number())
        case .stored: self = .stored(index: try reader.number())
        case .accept: self = .accept
        case .finished: self = .finished
        case .goodbye: self = .goodbye
        case .failure:
            let code = TransferError.Code(rawValue: try reader.text()) ?? .protocolViolation
            self = .failure(code, try reader.text())
        case .data: throw ByteReader.Malformed()
        }
        guard reader.isAtEnd else { throw ByteReader.Malformed() }
    }
}

/// Takes the messages, and the bytes of files, out of the pieces in which they arrive.
///
/// The bytes of files are not copied: they are ranges of the pieces.
struct TransferMessageReader {
    enum Item: Hashable {
        case message(TransferMessage)
        case data(Payload, Range<Int>)
    }

    private var piece = Payload([])
    private var position = 0
    /// The header and body of a message that has not arrived whole.
    private var collected: [UInt8] = []
    /// Bytes of a file that are still to come.
    private var dataLeft = 0

    /// Takes the next piece. Call it when `next` has returned nil.
    mutating func feed(_ piece: Payload) {
        self.piece = piece
        position = 0
    }

    /// Returns the next message, or bytes of a file; nil: feed another piece.
    mutating func next() throws(TransferError) -> Item? {
        while true {
            if dataLeft > 0 {
                let count = min(dataLeft, piece.count - position)
                guard count > 0 else { return nil }
                defer {
                    position += count
                    dataLeft -= count
                }
                return .data(piece, position..<(position + count))
            }
            guard collect(TransferMessage.headerLength) else { return nil }
            let length = collected[1..<5].reduce(0) { $0 << 8 | Int($1) }
            guard let kind = TransferMessage.Kind(rawValue: collected[0]) else { throw Self.malformed }
            if kind == .data {
                guard length <= FileChunk.lengthLimit else { throw Self.malformed }
                dataLeft = length
                collected = []
                continue
            }
            guard length <= TransferMessage.lengthLimit else { throw Self.malformed }
            guard collect(TransferMessage.headerLength + length) else { return nil }
            let body = Array(collected[TransferMessage.headerLength...])
            collected = []
            do {
                return .message(try TransferMessage(kind, body))
            } catch {
                throw Self.malformed
            }
        }
    }

    /// Fills `collected` up to `count` bytes. Returns false when the piece ends before.
    private mutating func collect(_ count: Int) -> Bool {
        let missing = count - collected.count
        guard missing > 0 else { return true }
        let available = min(missing, piece.count - position)
        piece.withUnsafeBytes { collected.append(contentsOf: $0[position..<(position + available)]) }
        position += available
        return available == missing
    }

    private static let malformed = TransferError(
        .protocolViolation, "the other side does not speak this version's transfer protocol: update both sides")
}

/// A piece of a file with the header of `data` before it, made in one allocation.
enum FileChunk {
    /// Bytes of a file in one piece on the wire. With its header it fits eight frames of a fast stream.
    static let length = 520_192
    static let lengthLimit = 1 << 20
}
