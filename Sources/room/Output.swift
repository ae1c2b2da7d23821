internal import Foundation
internal import Glibc
internal import RoomConnection
internal import TransportPluginAPI

/// One JSON object in the order in which its members were added.
struct JSONLine {
    private(set) var text = "{"

    init(event: String) {
        add("event", event)
        add("t", Timestamp.now().seconds)
    }

    init() {}

    mutating func add(_ name: String, _ value: String) { raw(name, Self.quote(value)) }
    mutating func add(_ name: String, _ value: Int) { raw(name, String(value)) }
    mutating func add(_ name: String, _ value: UInt64) { raw(name, String(value)) }
    mutating func add(_ name: String, _ value: Bool) { raw(name, value ? "true" : "false") }

    mutating func add(_ name: String, _ value: Double, digits: Int = 6) {
        raw(name, value.isFinite ? String(format: "%.\(digits)f", value) : "null")
    }

    mutating func add(_ name: String, _ value: JSONLine) { raw(name, value.finished) }
    mutating func add(_ name: String, _ values: [JSONLine]) {
        raw(name, "[" + values.map(\.finished).joined(separator: ",") + "]")
    }
    mutating func add(_ name: String, _ values: [String]) {
        raw(name, "[" + values.map(Self.quote).joined(separator: ",") + "]")
    }

    private mutating func raw(_ name: String, _ value: String) {
        if text.utf8.count > 1 { text += "," }
        text += Self.quote(name) + ":" + value
    }

    var finished: String { text + "}" }

    static func quote(_ text: String) -> String {
        var quoted = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": quoted += "\\\""
            case "\\": quoted += "\\\\"
            case "\n": quoted += "\\n"
            case "\r": quoted += "\\r"
            case "\t": quoted += "\\t"
            case _ where scalar.value < 0x20: quoted += String(format: "\\u%04x", scalar.value)
            default: quoted.unicodeScalars.append(scalar)
            }
        }
        return quoted + "\""
    }
}

/// Standard output, one whole line at a time, flushed; standard error for everything else.
enum Output {
    private static let lock = Locked(())

    static func line(_ text: String) { write(text + "\n", to: 1) }

    static func line(_ json: JSONLine) { write(json.finished + "\n", to: 1) }

    static func complain(_ text: String) { write(text + "\n", to: 2) }

    /// Whether people look at standard output and colour is welcome (https://no-color.org).
    static let hasColour = isatty(1) == 1 && ProcessInfo.processInfo.environment["NO_COLOR"] == nil

    static func coloured(_ text: String, _ code: Int) -> String {
        hasColour ? "\u{1B}[\(code)m\(text)\u{1B}[0m" : text
    }

    static let grey = 90
    static let green = 32
    static let yellow = 33
    static let red = 31
    static let bold = 1

    private static func write(_ text: String, to descriptor: Int32) {
        lock.withLock { _ in
            var text = text
            text.withUTF8 { bytes in
                var rest = UnsafeRawBufferPointer(bytes)
                while !rest.isEmpty {
                    let count = Glibc.write(descriptor, rest.baseAddress, rest.count)
                    if count < 0 && errno == EINTR { continue }
                    guard count > 0 else { return }
                    rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(count))
                }
            }
        }
    }
}
