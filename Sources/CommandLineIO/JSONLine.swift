internal import Foundation
internal import TransportPluginAPI

/// One JSON object, with its members in the order of addition.
package struct JSONLine: Sendable {
    private var text = "{"

    package init(event: String) {
        add("event", event)
        add("t", Timestamp.now().seconds)
    }

    package init() {}

    package mutating func add(_ name: String, _ value: String) { raw(name, Self.quote(value)) }
    package mutating func add(_ name: String, _ value: Int) { raw(name, String(value)) }
    package mutating func add(_ name: String, _ value: UInt64) { raw(name, String(value)) }
    package mutating func add(_ name: String, _ value: Bool) { raw(name, value ? "true" : "false") }

    package mutating func add(_ name: String, _ value: Double, digits: Int = 6) {
        raw(name, value.isFinite ? String(format: "%.\(digits)f", value) : "null")
    }

    /// Adds a value that is JSON already, on one line.
    package mutating func add(_ name: String, json value: String) { raw(name, value) }

    package mutating func add(_ name: String, _ value: JSONLine) { raw(name, value.finished) }
    package mutating func add(_ name: String, _ values: [JSONLine]) {
        raw(name, "[" + values.map(\.finished).joined(separator: ",") + "]")
    }
    package mutating func add(_ name: String, _ values: [String: String]) {
        let members = values.sorted { $0.key < $1.key }.map { "\(Self.quote($0.key)):\(Self.quote($0.value))" }
        raw(name, "{" + members.joined(separator: ",") + "}")
    }
    package mutating func add(_ name: String, _ values: [String]) {
        raw(name, "[" + values.map(Self.quote).joined(separator: ",") + "]")
    }

    package mutating func add(_ name: String, encoding value: some Encodable) throws {
        raw(name, String(decoding: try JSONEncoder().encode(value), as: UTF8.self))
    }

    private mutating func raw(_ name: String, _ value: String) {
        if text.utf8.count > 1 { text += "," }
        text += Self.quote(name) + ":" + value
    }

    package var finished: String { text + "}" }

    private static func quote(_ text: String) -> String {
        if text.utf8.allSatisfy({ (0x20...0x7E).contains($0) && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") })
        {
            return "\"" + text + "\""
        }
        var quoted = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": quoted += "\\\""
            case "\\": quoted += "\\\\"
            case "\n": quoted += "\\n"
            case "\r": quoted += "\\r"
            case "\t": quoted += "\\t"
            // JSON allows most of these unescaped, but a terminal obeys them, and some readers end a line at the last
            // two.
            case _ where scalar.value < 0x20, "\u{7F}"..."\u{9F}", "\u{2028}", "\u{2029}":
                quoted += String(format: "\\u%04x", scalar.value)
            default: quoted.unicodeScalars.append(scalar)
            }
        }
        return quoted + "\""
    }
}
