internal import Foundation

/// The information about this process that other users see in the list of processes.
enum ProcessList {
    /// Overwrites the values of `option` in this process's arguments, once Swift has its copy of them.
    static func hideValues(of option: String) {
        // proc(5): the process's name in parentheses, which may contain anything; then the fields from the third on.
        guard CommandLine.arguments.contains(where: { $0 == option || $0.hasPrefix(option + "=") }),
            let text = try? String(contentsOfFile: "/proc/self/stat", encoding: .utf8),
            let name = text.lastIndex(of: ")")
        else { return }
        let fields = text[name...].split(separator: " ").dropFirst()
        // Fields 48 and 49: the location of the arguments in this process's memory.
        guard fields.count > 46, let start = UInt(fields[fields.startIndex + 45]),
            let end = UInt(fields[fields.startIndex + 46]), end > start,
            let address = UnsafeMutableRawPointer(bitPattern: start)
        else { return }
        let memory = UnsafeMutableRawBufferPointer(start: address, count: Int(end - start))
        var isValue = false
        var index = 0
        while index < memory.count {
            let length = memory[index...].prefix { $0 != 0 }.count
            let argument = UnsafeMutableRawBufferPointer(rebasing: memory[index..<(index + length)])
            let prefix = Array((option + "=").utf8)
            if isValue {
                argument.initializeMemory(as: UInt8.self, repeating: UInt8(ascii: "*"))
            } else if argument.starts(with: prefix) {
                UnsafeMutableRawBufferPointer(rebasing: argument[prefix.count...])
                    .initializeMemory(as: UInt8.self, repeating: UInt8(ascii: "*"))
            }
            isValue = !isValue && argument.elementsEqual(option.utf8)
            index += length + 1
        }
    }
}
