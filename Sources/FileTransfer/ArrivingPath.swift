/// The path of an entry below the folder that receives, checked against everything that could lead elsewhere or would
/// be another name on another system.
package struct ArrivingPath: Sendable, Hashable {
    /// Why a path is refused.
    package enum Fault: Error, Hashable, CustomStringConvertible {
        case empty
        case tooDeep
        case tooLong
        case absolute
        case parent
        case separator
        case character(Unicode.Scalar)
        case trailing
        case reserved(String)

        package var description: String {
            switch self {
            case .empty: "it has an empty part"
            case .tooDeep: "it has more than \(ArrivingPath.depthLimit) levels of folders"
            case .tooLong: "a name is longer than 255 bytes, or the path longer than \(ArrivingPath.lengthLimit)"
            case .absolute: "it does not begin in the folder that receives"
            case .parent: "it leads out of a folder"
            case .separator: "it has a backslash, which separates folders on other systems"
            case .character(let scalar):
                "it has a character that names must not have, U+\(String(scalar.value, radix: 16, uppercase: true))"
            case .trailing: "a name ends with a dot or a blank, which other systems leave out"
            case .reserved(let name): "\(name) is the name of a device on other systems"
            }
        }
    }

    package static let depthLimit = 64
    /// Bytes of a whole path.
    package static let lengthLimit = 2048
    /// Bytes of one name (NAME_MAX of Linux).
    package static let nameLimit = 255

    /// The names from the receiving folder down. At least one.
    package let names: [String]

    /// The names with slashes between them.
    package var text: String { names.joined(separator: "/") }
    package var name: String { names[names.count - 1] }
    /// The path of the folder that holds the entry; empty for one at the top.
    package var parent: ArraySlice<String> { names.dropLast() }

    /// Checks a path that has come from another machine, or that is to go there.
    package init(_ text: String) throws(Fault) {
        guard text.utf8.count <= Self.lengthLimit else { throw .tooLong }
        guard !text.hasPrefix("/") else { throw .absolute }
        let names = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard names.count <= Self.depthLimit else { throw .tooDeep }
        for name in names { try Self.check(name) }
        self.names = names
    }

    private static func check(_ name: String) throws(Fault) {
        guard !name.isEmpty else { throw .empty }
        guard name.utf8.count <= nameLimit else { throw .tooLong }
        guard name != "." && name != ".." else { throw .parent }
        for scalar in name.unicodeScalars {
            if scalar == "\\" { throw .separator }
            if isForbidden(scalar) { throw .character(scalar) }
        }
        guard let last = name.unicodeScalars.last, last != ".", !last.properties.isWhitespace else { throw .trailing }
        // A device keeps its meaning in every folder and before every extension.
        let stem = name.prefix { $0 != "." }
        let device = trimmingBlanks(stem).uppercased()
        if reserved.contains(device) { throw .reserved(device) }
    }

    private static func isForbidden(_ scalar: Unicode.Scalar) -> Bool {
        // A colon separates a volume, or a stream within a file, on Windows.
        if scalar == ":" { return true }
        if scalar.value < 0x80 { return scalar.value < 0x20 || scalar.value == 0x7F }
        return switch scalar.properties.generalCategory {
        case .control, .lineSeparator, .paragraphSeparator, .surrogate, .unassigned, .privateUse: true
        // Joiners and variation selectors belong to emoji and to the scripts of Arabic and India; the others of their
        // kind are invisible or turn the direction of what follows.
        case .format: scalar.value != 0x200C && scalar.value != 0x200D && !(0xE0020...0xE007F).contains(scalar.value)
        case .spaceSeparator:
            scalar.value != 0x20 && scalar.value != 0xA0 && scalar.value != 0x3000
                && scalar.value != 0x202F
        default: scalar.properties.isDefaultIgnorableCodePoint && !scalar.properties.isVariationSelector
        }
    }

    private static func trimmingBlanks(_ text: Substring) -> Substring {
        var text = text
        while text.last == " " { text.removeLast() }
        return text
    }

    private static let reserved: Set<String> = {
        var names: Set<String> = ["CON", "PRN", "AUX", "NUL", "CLOCK$", "CONIN$", "CONOUT$"]
        for port in ["COM", "LPT"] {
            for digit in "0123456789¹²³" { names.insert(port + String(digit)) }
        }
        return names
    }()

    /// The form in which two names are compared: as a file system would that ignores case and the composition of
    /// characters. Strings compare by canonical equivalence.
    static func folded(_ text: String) -> String { text.uppercased().lowercased() }
}
