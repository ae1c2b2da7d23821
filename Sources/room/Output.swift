internal import Foundation
internal import Glibc
internal import TransportBenchmark
internal import TransportPluginAPI

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
