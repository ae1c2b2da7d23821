internal import CommandLineIO
internal import Foundation

/// A value of an answer of the admin API.
enum AdminJSON: Decodable {
    case null
    case bool(Bool)
    case integer(Int)
    case number(Double)
    case text(String)
    case list([AdminJSON])
    case object([String: AdminJSON])

    init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        if value.decodeNil() {
            self = .null
        } else if let bool = try? value.decode(Bool.self) {
            self = .bool(bool)
        } else if let integer = try? value.decode(Int.self) {
            self = .integer(integer)
        } else if let number = try? value.decode(Double.self) {
            self = .number(number)
        } else if let text = try? value.decode(String.self) {
            self = .text(text)
        } else if let list = try? value.decode([AdminJSON].self) {
            self = .list(list)
        } else {
            self = .object(try value.decode([String: AdminJSON].self))
        }
    }

    init?(_ bytes: some Sequence<UInt8>) {
        guard let value = try? JSONDecoder().decode(Self.self, from: Data(bytes)) else { return nil }
        self = value
    }

    subscript(_ name: String) -> AdminJSON? {
        if case .object(let members) = self { members[name] } else { nil }
    }

    /// The text of a string; nil for any other value.
    var string: String? { if case .text(let text) = self { text } else { nil } }
    var list: [AdminJSON] { if case .list(let list) = self { list } else { [] } }
    var isTrue: Bool { if case .bool(true) = self { true } else { false } }
    var double: Double? {
        switch self {
        case .integer(let integer): Double(integer)
        case .number(let number): number
        default: nil
        }
    }

    /// The value for people.
    var shown: String {
        switch self {
        case .null: ""
        case .bool(let bool): bool ? "yes" : "no"
        case .integer(let integer): "\(integer)"
        case .number(let number): String(format: "%.1f", number)
        case .text(let text): text
        case .list(let list): list.map(\.shown).joined(separator: ", ")
        case .object(let members):
            members.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value.shown)" }.joined(separator: ", ")
        }
    }

    /// An object as a line of JSON, its members in the order of their names.
    var line: JSONLine {
        var line = JSONLine()
        guard case .object(let members) = self else { return line }
        for (name, value) in members.sorted(by: { $0.key < $1.key }) {
            switch value {
            case .null: break
            case .bool(let bool): line.add(name, bool)
            case .integer(let integer): line.add(name, integer)
            case .number(let number): line.add(name, number)
            case .text(let text): line.add(name, text)
            case .object: line.add(name, value.line)
            case .list(let list):
                // A list has texts only, or objects only.
                let texts = list.compactMap(\.string)
                if texts.count == list.count { line.add(name, texts) } else { line.add(name, list.map(\.line)) }
            }
        }
        return line
    }
}
