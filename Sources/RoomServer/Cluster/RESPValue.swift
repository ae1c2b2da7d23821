/// A value of the Redis serialization protocol, version 2 or 3.
///
/// Simple, bulk and verbatim strings, doubles and big numbers are all strings here, and sets are arrays.
enum RESPValue: Sendable, Hashable {
    case null
    case string([UInt8])
    case integer(Int64)
    case boolean(Bool)
    /// An error, such as `ERR unknown command`.
    case error(String)
    case array([RESPValue])
    /// Keys and values in turn.
    case map([RESPValue])
    /// A message that is no reply.
    case push([RESPValue])

    /// The text of a string, or the digits of an integer.
    var text: String? {
        switch self {
        case .string(let bytes): String(decoding: bytes, as: UTF8.self)
        case .integer(let value): String(value)
        case .null, .boolean, .error, .array, .map, .push: nil
        }
    }

    /// An integer, or a string that is one: scripts of version 2 and 3 differ in what they make of numbers.
    var integer: Int64? {
        switch self {
        case .integer(let value): value
        case .string(let bytes): Int64(String(decoding: bytes, as: UTF8.self))
        case .null, .boolean, .error, .array, .map, .push: nil
        }
    }

    var elements: [RESPValue]? {
        switch self {
        case .array(let values), .map(let values): values
        case .null, .string, .integer, .boolean, .error, .push: nil
        }
    }
}

/// Writes commands: arrays of bulk strings, as every version takes them.
enum RESPWriter {
    static func command(_ arguments: [[UInt8]]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(arguments.reduce(16) { $0 + $1.count + 16 })
        append("*", arguments.count, to: &bytes)
        for argument in arguments {
            append("$", argument.count, to: &bytes)
            bytes += argument
            bytes += [13, 10]
        }
        return bytes
    }

    static func command(_ arguments: String...) -> [UInt8] { command(arguments.map { Array($0.utf8) }) }

    private static func append(_ kind: String, _ count: Int, to bytes: inout [UInt8]) {
        bytes += kind.utf8
        bytes += String(count).utf8
        bytes += [13, 10]
    }
}
