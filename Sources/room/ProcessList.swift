internal import FileTransfer
internal import Foundation

/// The information about this process that other users see in the list of processes.
enum ProcessList {
    /// Overwrites the secrets in this process's arguments, once Swift has its copy of them: tokens, and the codes of
    /// transfers.
    static func hideSecrets() {
        hideValues(of: "--token")
        hideValues(of: "--code")
        hideCodes()
        hideTokens()
    }

    /// Overwrites the arguments of `token check` that may be a token.
    private static func hideTokens() {
        guard CommandLine.arguments.dropFirst().first == "token" else { return }
        forEachArgument { argument in
            let dots = argument.count { $0 == UInt8(ascii: ".") }
            if dots == 2, argument.count > 40 { cover(argument) }
        }
    }

    /// Overwrites the values of an option.
    private static func hideValues(of option: String) {
        guard CommandLine.arguments.contains(where: { $0 == option || $0.hasPrefix(option + "=") }) else { return }
        let prefix = Array((option + "=").utf8)
        var isValue = false
        forEachArgument { argument in
            if isValue {
                cover(argument)
            } else if argument.starts(with: prefix) {
                cover(UnsafeMutableRawBufferPointer(rebasing: argument[prefix.count...]))
            }
            isValue = !isValue && argument.elementsEqual(option.utf8)
        }
    }

    /// Overwrites the arguments of `receive` that are a code, or one that is mistyped.
    private static func hideCodes() {
        guard CommandLine.arguments.dropFirst().first == "receive" else { return }
        var number = 0
        forEachArgument { argument in
            defer { number += 1 }
            let letters = argument.count { byte in
                (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
                    || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
            }
            let separators = argument.count { $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: " ") }
            let isOption = argument.first == UInt8(ascii: "-")
            if number > 1, !isOption, letters >= 20, letters + separators == argument.count { cover(argument) }
        }
    }

    private static func cover(_ bytes: UnsafeMutableRawBufferPointer) {
        bytes.initializeMemory(as: UInt8.self, repeating: UInt8(ascii: "*"))
    }

    /// Calls `body` with the memory of each argument, that of the program's name first.
    private static func forEachArgument(_ body: (UnsafeMutableRawBufferPointer) -> Void) {
        // proc(5): the process's name in parentheses, which may contain anything; then the fields from the third on.
        guard let text = try? String(contentsOfFile: "/proc/self/stat", encoding: .utf8),
            let name = text.lastIndex(of: ")")
        else { return }
        let fields = text[name...].split(separator: " ").dropFirst()
        // Fields 48 and 49: the location of the arguments in this process's memory.
        guard fields.count > 46, let start = UInt(fields[fields.startIndex + 45]),
            let end = UInt(fields[fields.startIndex + 46]), end > start,
            let address = UnsafeMutableRawPointer(bitPattern: start)
        else { return }
        let memory = UnsafeMutableRawBufferPointer(start: address, count: Int(end - start))
        var index = 0
        while index < memory.count {
            let length = memory[index...].prefix { $0 != 0 }.count
            body(UnsafeMutableRawBufferPointer(rebasing: memory[index..<(index + length)]))
            index += length + 1
        }
    }
}
