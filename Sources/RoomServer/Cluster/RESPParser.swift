/// Input that is no value of the protocol, or exceeds a limit. The connection cannot be used any more.
struct RESPViolation: Error, Hashable, CustomStringConvertible {
    let description: String
}

/// Parses the replies of a server from bytes that arrive in pieces of any length.
///
/// Holds one incomplete value, and never more than its limits. Memory is allocated for what has arrived, not for what
/// was announced.
struct RESPParser: Sendable {
    /// Bytes of all strings in one value.
    static let maximumBytes = 1 << 20
    /// Values in one value, on all levels.
    static let maximumElements = 1 << 16
    static let maximumDepth = 8
    /// Bytes of a line: a simple string, an error, a number or a length.
    static let maximumLine = 1 << 14

    private enum Collection {
        case array
        case map
        case push
        /// Precedes the value that it describes, and is dropped.
        case attribute
    }

    private struct Level {
        let kind: Collection
        var left: Int
        var values: [RESPValue] = []
    }

    private enum BulkKind {
        case string
        case error
        /// A string after three letters that name its format, and a colon.
        case verbatim
    }

    /// Can transition: line → bulk → line.
    private enum State {
        case line
        /// The bytes that are missing, with those of the end of the line.
        case bulk(BulkKind, left: Int)
    }

    private var state = State.line
    private var line: [UInt8] = []
    private var bulk: [UInt8] = []
    private var levels: [Level] = []
    private var bytes = 0
    private var elements = 0

    /// Removes bytes from the front of `input` up to the end of the next value. Returns nil when the value is not
    /// complete, and removes all of the input.
    mutating func next(_ input: inout UnsafeRawBufferPointer) throws(RESPViolation) -> RESPValue? {
        while !input.isEmpty {
            let part: RESPValue?
            switch state {
            case .line:
                guard try takeLine(&input) else { return nil }
                defer { line.removeAll(keepingCapacity: true) }
                part = try parseLine()
            case .bulk(let kind, let left):
                let count = min(left, input.count)
                bulk += input[..<(input.startIndex + count)]
                input = UnsafeRawBufferPointer(rebasing: input[(input.startIndex + count)...])
                guard count == left else {
                    state = .bulk(kind, left: left - count)
                    return nil
                }
                part = try finishBulk(kind)
            }
            if let part, let value = finish(part) {
                bytes = 0
                elements = 0
                return value
            }
        }
        return nil
    }

    /// Moves bytes to `line`. True: up to the end of the line.
    private mutating func takeLine(_ input: inout UnsafeRawBufferPointer) throws(RESPViolation) -> Bool {
        let end = input.firstIndex(of: 10)
        let count = end.map { $0 - input.startIndex + 1 } ?? input.count
        guard line.count + count <= Self.maximumLine else { throw RESPViolation(description: "a line is too long") }
        line += input[..<(input.startIndex + count)]
        input = UnsafeRawBufferPointer(rebasing: input[(input.startIndex + count)...])
        guard end != nil else { return false }
        guard line.count >= 3, line[line.count - 2] == 13 else {
            throw RESPViolation(description: "a line ends without a carriage return, or is empty")
        }
        line.removeLast(2)
        return true
    }

    /// Returns a value that is complete; nil when more of it follows.
    private mutating func parseLine() throws(RESPViolation) -> RESPValue? {
        elements += 1
        guard elements <= Self.maximumElements else { throw RESPViolation(description: "a value has too many parts") }
        let rest = Array(line.dropFirst())
        switch line[0] {
        case UInt8(ascii: "+"), UInt8(ascii: ","), UInt8(ascii: "("): return .string(rest)
        case UInt8(ascii: "-"): return .error(String(decoding: rest, as: UTF8.self))
        case UInt8(ascii: ":"): return .integer(try Self.number(rest))
        case UInt8(ascii: "_") where rest.isEmpty: return .null
        case UInt8(ascii: "#") where rest == [UInt8(ascii: "t")]: return .boolean(true)
        case UInt8(ascii: "#") where rest == [UInt8(ascii: "f")]: return .boolean(false)
        case UInt8(ascii: "$"): return try beginBulk(.string, rest)
        case UInt8(ascii: "!"): return try beginBulk(.error, rest)
        case UInt8(ascii: "="): return try beginBulk(.verbatim, rest)
        case UInt8(ascii: "*"), UInt8(ascii: "~"): return try begin(.array, rest, partsPerEntry: 1)
        case UInt8(ascii: "%"): return try begin(.map, rest, partsPerEntry: 2)
        case UInt8(ascii: ">"): return try begin(.push, rest, partsPerEntry: 1)
        case UInt8(ascii: "|"): return try begin(.attribute, rest, partsPerEntry: 2)
        default: throw RESPViolation(description: "a value has an unknown type")
        }
    }

    private static func number(_ digits: [UInt8]) throws(RESPViolation) -> Int64 {
        guard let value = Int64(String(decoding: digits, as: UTF8.self)) else {
            throw RESPViolation(description: "a number has other characters than digits, or too many of them")
        }
        return value
    }

    private mutating func beginBulk(_ kind: BulkKind, _ digits: [UInt8]) throws(RESPViolation) -> RESPValue? {
        let length = try Self.number(digits)
        if length == -1 { return .null }
        guard length >= 0, length <= Self.maximumBytes - bytes else {
            throw RESPViolation(description: "a string is too long")
        }
        bytes += Int(length)
        state = .bulk(kind, left: Int(length) + 2)
        return nil
    }

    private mutating func finishBulk(_ kind: BulkKind) throws(RESPViolation) -> RESPValue {
        guard bulk.suffix(2) == [13, 10] else { throw RESPViolation(description: "a string is longer than announced") }
        defer { bulk.removeAll() }
        bulk.removeLast(2)
        state = .line
        switch kind {
        case .string: return .string(bulk)
        case .error: return .error(String(decoding: bulk, as: UTF8.self))
        case .verbatim:
            guard bulk.count >= 4 else { throw RESPViolation(description: "a verbatim string has no format") }
            return .string(Array(bulk.dropFirst(4)))
        }
    }

    private mutating func begin(
        _ kind: Collection, _ digits: [UInt8], partsPerEntry: Int64
    ) throws(RESPViolation) -> RESPValue? {
        let count = try Self.number(digits)
        if count == -1 { return .null }
        guard count >= 0, count <= Self.maximumElements else {
            throw RESPViolation(description: "a value has too many parts")
        }
        guard levels.count < Self.maximumDepth else { throw RESPViolation(description: "a value is too deep") }
        guard count > 0 else { return kind == .attribute ? nil : Self.value(kind, []) }
        levels.append(Level(kind: kind, left: Int(count * partsPerEntry)))
        return nil
    }

    private static func value(_ kind: Collection, _ values: [RESPValue]) -> RESPValue {
        switch kind {
        case .array, .attribute: .array(values)
        case .map: .map(values)
        case .push: .push(values)
        }
    }

    /// Adds a value to the one that it is part of. Returns the outermost one if that is complete.
    private mutating func finish(_ part: RESPValue) -> RESPValue? {
        var part = part
        while var level = levels.popLast() {
            level.values.append(part)
            level.left -= 1
            guard level.left == 0 else {
                levels.append(level)
                return nil
            }
            guard level.kind != .attribute else { return nil }
            part = Self.value(level.kind, level.values)
        }
        return part
    }
}
