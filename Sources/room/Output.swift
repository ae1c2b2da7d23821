internal import CommandLineIO
internal import Foundation
internal import Glibc
internal import TransportPluginAPI

/// Writes whole lines to standard output, flushed; everything else goes to standard error.
enum Output {
    private static let lock = Locked(())
    private static let onReaderGone = Locked<(@Sendable () -> Void)?>(nil)

    static func line(_ text: StyledText) { write(text.rendered + "\n", to: 1) }

    static func line(_ json: JSONLine) { write(json.finished + "\n", to: 1) }

    /// Writes text as it is, for a program that reads it.
    static func raw(_ text: String) { write(text, to: 1) }

    static func printError(_ text: String) { write(VisibleText.escaping(text) + "\n", to: 2) }

    /// Calls `handler` when a line finds that nobody reads standard output any more.
    static func whenReaderIsGone(_ handler: @escaping @Sendable () -> Void) { onReaderGone.withLock { $0 = handler } }

    /// Whether a person reads standard output and accepts colour (https://no-color.org).
    static let hasColour = isatty(1) == 1 && ProcessInfo.processInfo.environment["NO_COLOR"] == nil

    static func coloured(_ text: String, _ code: Int) -> StyledText { StyledText(text, colour: code) }

    static let grey = 90
    static let green = 32
    static let yellow = 33
    static let red = 31
    static let bold = 1

    private static func write(_ text: String, to descriptor: Int32) {
        let isReaderGone = lock.withLock { _ in
            var text = text
            return text.withUTF8 { bytes in
                var rest = UnsafeRawBufferPointer(bytes)
                while !rest.isEmpty {
                    let count = Glibc.write(descriptor, rest.baseAddress, rest.count)
                    if count < 0, errno == EINTR { continue }
                    if count < 0, errno == EAGAIN {
                        var watched = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                        _ = poll(&watched, 1, -1)
                        continue
                    }
                    guard count > 0 else { return true }
                    rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(count))
                }
                return false
            }
        }
        if isReaderGone, descriptor == 1 { onReaderGone.withLock { $0 }?() }
    }
}

/// Text to print. Interpolated values are shown safely (`VisibleText`), so that a terminal obeys only the text's own
/// colours.
struct StyledText: ExpressibleByStringInterpolation {
    let rendered: String

    init(_ text: String, colour: Int? = nil) {
        let text = VisibleText.escaping(text)
        rendered = if let colour, Output.hasColour { "\u{1B}[\(colour)m\(text)\u{1B}[0m" } else { text }
    }

    init(stringLiteral value: String) { rendered = value }
    init(stringInterpolation: StringInterpolation) { rendered = stringInterpolation.rendered }
    private init(rendered: String) { self.rendered = rendered }

    static func + (left: StyledText, right: StyledText) -> StyledText {
        StyledText(rendered: left.rendered + right.rendered)
    }

    static func + (left: StyledText, right: String) -> StyledText { left + StyledText(right) }

    struct StringInterpolation: StringInterpolationProtocol {
        var rendered = ""

        init(literalCapacity: Int, interpolationCount: Int) {}
        mutating func appendLiteral(_ literal: String) { rendered += literal }
        mutating func appendInterpolation(_ text: StyledText) { rendered += text.rendered }
        mutating func appendInterpolation(_ value: some CustomStringConvertible) {
            rendered += VisibleText.escaping(value.description)
        }
    }
}
