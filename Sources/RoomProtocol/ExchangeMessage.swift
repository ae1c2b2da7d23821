/// The protocol of topics, requests and streams between two members that both declare `exchange.v1` and `delivery.v1`.
///
/// An exchange message is the payload of a delivery frame of kind 0x07, or a whole message of the plain channel for
/// lossy topics. It begins with one byte for its kind. All integers are big-endian. `name8` is a u8 length and UTF-8,
/// `text16` a u16 length and UTF-8.
///
/// | kind | message | layout |
/// |---|---|---|
/// | 0x01 | topic message | flags u8, topic name8, body |
/// | 0x02 | topic window | topic name8, limit u64 |
/// | 0x03 | topic position | topic name8, sent u64 |
/// | 0x10 | request | id u64, timeout u32, flags u8, method name8, body |
/// | 0x11 | answer | id u64, flags u8, body |
/// | 0x12 | failure | id u64, code name8, message text16 |
/// | 0x13 | cancel | id u64 |
/// | 0x14 | request restart | first u64, last u64 |
/// | 0x20 | open | stream u64, length u64, name name8, count u8, count × (key name8, value text16) |
/// | 0x21 | data | stream u64, bytes |
/// | 0x22 | end | stream u64 |
/// | 0x23 | reset | stream u64, code name8, message text16 |
/// | 0x24 | window | stream u64, consumed u64, limit u64 |
/// | 0x25 | stop | stream u64, code name8, message text16 |
/// | 0x26 | finished | stream u64 |
/// | 0x27 | restart | first u64, last u64 |
///
/// Bit 0 of `flags` says that the body is text; the others are 0. Ids count from 1. A timeout is in milliseconds, 0:
/// none. A length of 2^64 - 1 is unknown. Names have at least 1 byte; `ExchangeLimits` has all limits.
package enum ExchangeProtocol {
    /// The capability in `hello` and in the roster.
    package static let capability = "exchange.v1"

    package enum Kind: UInt8, Sendable, CaseIterable {
        case topicMessage = 0x01
        case topicWindow = 0x02
        case topicPosition = 0x03
        case request = 0x10
        case answer = 0x11
        case failure = 0x12
        case cancel = 0x13
        case requestRestart = 0x14
        case open = 0x20
        case data = 0x21
        case end = 0x22
        case reset = 0x23
        case window = 0x24
        case stop = 0x25
        case finished = 0x26
        case restart = 0x27
    }
}

/// The limits of exchange messages. Lengths are bytes of UTF-8.
package enum ExchangeLimits {
    /// A topic's or method's name; at least 1.
    package static let name = 64
    /// The code of a failure, a reset or a stop; at least 1.
    package static let code = 64
    /// The message of a failure, a reset or a stop.
    package static let message = 1024
    /// A stream's name; at least 1.
    package static let streamName = 255
    /// The number of entries of a stream's metadata.
    package static let metadataEntries = 16
    /// A key of a stream's metadata; at least 1.
    package static let metadataKey = 64
    /// All keys and values of a stream's metadata together.
    package static let metadataBytes = 4096
}

/// A received exchange message. Bodies, and the names of topics and methods, are not copied: they are offsets into the
/// bytes that were decoded.
package enum ExchangeMessage: Sendable, Hashable {
    /// The position of a name, 1…64 bytes of valid UTF-8.
    package struct Name: Sendable, Hashable {
        package let offset: Int
        package let count: Int

        package func bytes(in message: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
            UnsafeRawBufferPointer(rebasing: message[offset..<(offset + count)])
        }

        package func text(in message: UnsafeRawBufferPointer) -> String {
            String(decoding: bytes(in: message), as: UTF8.self)
        }
    }

    /// The description of a stream that begins.
    package struct Opening: Sendable, Hashable {
        package var name: String
        /// The number of bytes; nil: unknown.
        package var length: UInt64?
        package var metadata: [String: String]

        package init(name: String, length: UInt64?, metadata: [String: String]) {
            self.name = name
            self.length = length
            self.metadata = metadata
        }
    }

    /// `body`: where the body begins; it ends with the message.
    case topicMessage(Name, isText: Bool, body: Int)
    case topicWindow(Name, limit: UInt64)
    /// The sender had given the receiver up, and has sent so much of the topic in all, what was dropped included.
    case topicPosition(Name, sent: UInt64)
    /// `timeout`: milliseconds that are left; nil: no limit.
    case request(id: UInt64, timeout: UInt32?, method: Name, isText: Bool, body: Int)
    case answer(id: UInt64, isText: Bool, body: Int)
    case failure(id: UInt64, code: String, message: String)
    case cancel(id: UInt64)
    /// The sender's requests before `first` have ended, and it answers none of the receiver's up to `last`.
    case requestRestart(first: UInt64, last: UInt64)
    case open(stream: UInt64, Opening)
    case data(stream: UInt64, body: Int)
    case end(stream: UInt64)
    case reset(stream: UInt64, code: String, message: String)
    case window(stream: UInt64, consumed: UInt64, limit: UInt64)
    case stop(stream: UInt64, code: String, message: String)
    case finished(stream: UInt64)
    /// The sender's streams before `first` have ended, and it takes no more of the receiver's up to `last`.
    case restart(first: UInt64, last: UInt64)

    /// Decodes a message. Nil: an unknown kind or a malformed message, which is ignored and counted.
    package init?(_ bytes: UnsafeRawBufferPointer) {
        guard let first = bytes.first, let kind = ExchangeProtocol.Kind(rawValue: first) else { return nil }
        var reader = ExchangeReader(bytes)
        switch kind {
        case .topicMessage:
            guard let isText = reader.flags(), let name = reader.name() else { return nil }
            self = .topicMessage(name, isText: isText, body: reader.offset)
            return
        case .request:
            guard let id = reader.id(), let timeout = reader.integer(UInt32.self), let isText = reader.flags(),
                let method = reader.name()
            else { return nil }
            self = .request(
                id: id, timeout: timeout == 0 ? nil : timeout, method: method, isText: isText, body: reader.offset)
            return
        case .answer:
            guard let id = reader.id(), let isText = reader.flags() else { return nil }
            self = .answer(id: id, isText: isText, body: reader.offset)
            return
        case .data:
            guard let stream = reader.id() else { return nil }
            self = .data(stream: stream, body: reader.offset)
            return
        case .topicWindow:
            guard let name = reader.name(), let limit = reader.integer(UInt64.self) else { return nil }
            self = .topicWindow(name, limit: limit)
        case .topicPosition:
            guard let name = reader.name(), let sent = reader.integer(UInt64.self) else { return nil }
            self = .topicPosition(name, sent: sent)
        case .failure, .reset, .stop:
            guard let id = reader.id(), let code = reader.text8(limit: ExchangeLimits.code),
                let message = reader.text16(limit: ExchangeLimits.message)
            else { return nil }
            switch kind {
            case .failure: self = .failure(id: id, code: code, message: message)
            case .reset: self = .reset(stream: id, code: code, message: message)
            default: self = .stop(stream: id, code: code, message: message)
            }
        case .cancel, .end, .finished:
            guard let id = reader.id() else { return nil }
            switch kind {
            case .cancel: self = .cancel(id: id)
            case .end: self = .end(stream: id)
            default: self = .finished(stream: id)
            }
        case .open:
            guard let stream = reader.id(), let opening = reader.opening() else { return nil }
            self = .open(stream: stream, opening)
        case .restart, .requestRestart:
            guard let first = reader.integer(UInt64.self), let last = reader.integer(UInt64.self) else { return nil }
            self = kind == .restart ? .restart(first: first, last: last) : .requestRestart(first: first, last: last)
        case .window:
            guard let stream = reader.id(), let consumed = reader.integer(UInt64.self),
                let limit = reader.integer(UInt64.self), consumed <= limit
            else { return nil }
            self = .window(stream: stream, consumed: consumed, limit: limit)
        }
        // These have no body: they end with their last field.
        guard reader.offset == bytes.count else { return nil }
    }
}

/// Reads the fields of an exchange message, from the byte behind its kind on.
private struct ExchangeReader {
    private let bytes: UnsafeRawBufferPointer
    private(set) var offset = 1

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    mutating func integer<Integer: FixedWidthInteger & BitwiseCopyable>(_ type: Integer.Type) -> Integer? {
        let end = offset + MemoryLayout<Integer>.size
        guard end <= bytes.count else { return nil }
        defer { offset = end }
        return Integer(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Integer.self))
    }

    mutating func id() -> UInt64? {
        guard let id = integer(UInt64.self), id > 0 else { return nil }
        return id
    }

    mutating func flags() -> Bool? {
        guard let flags = integer(UInt8.self), flags <= 1 else { return nil }
        return flags == 1
    }

    mutating func name() -> ExchangeMessage.Name? {
        guard let count = integer(UInt8.self).map(Int.init), (1...ExchangeLimits.name).contains(count),
            offset + count <= bytes.count
        else { return nil }
        let field = UnsafeRawBufferPointer(rebasing: bytes[offset..<(offset + count)])
        // Most names are ASCII: no string is made of them.
        guard field.allSatisfy({ $0 < 0x80 }) || String(validating: field, as: UTF8.self) != nil else { return nil }
        defer { offset += count }
        return ExchangeMessage.Name(offset: offset, count: count)
    }

    mutating func text8(limit: Int) -> String? {
        guard let count = integer(UInt8.self), count > 0 else { return nil }
        return text(Int(count), limit)
    }

    mutating func text16(limit: Int) -> String? {
        guard let count = integer(UInt16.self) else { return nil }
        return text(Int(count), limit)
    }

    private mutating func text(_ count: Int, _ limit: Int) -> String? {
        guard count <= limit, offset + count <= bytes.count else { return nil }
        defer { offset += count }
        return String(validating: bytes[offset..<(offset + count)], as: UTF8.self)
    }

    mutating func opening() -> ExchangeMessage.Opening? {
        guard let length = integer(UInt64.self), let name = text8(limit: ExchangeLimits.streamName),
            let count = integer(UInt8.self), count <= ExchangeLimits.metadataEntries
        else { return nil }
        var metadata: [String: String] = [:]
        let start = offset
        for _ in 0..<count {
            guard let key = text8(limit: ExchangeLimits.metadataKey),
                let value = text16(limit: ExchangeLimits.metadataBytes),
                // Not twice, nor canonically equivalent.
                metadata.updateValue(value, forKey: key) == nil
            else { return nil }
        }
        // The lengths of an entry take 3 bytes.
        guard offset - start - 3 * Int(count) <= ExchangeLimits.metadataBytes else { return nil }
        return ExchangeMessage.Opening(name: name, length: length == .max ? nil : length, metadata: metadata)
    }
}
