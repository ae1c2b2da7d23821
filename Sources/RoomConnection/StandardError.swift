internal import Glibc

/// Lines on standard error.
package enum StandardError {
    /// Writes a line, whose control and format characters become escapes: a part of it may come from others.
    ///
    /// - Parameter mayWait: Whether to wait until standard error takes the line, which is dropped otherwise.
    package static func write(_ text: String, mayWait: Bool) {
        // A pipe that is ready takes this much at once.
        var line = Array(visible(text).utf8.prefix(Int(PIPE_BUF) - 1))
        line.append(UInt8(ascii: "\n"))
        var descriptor = pollfd(fd: 2, events: Int16(POLLOUT), revents: 0)
        var ready: Int32
        repeat { ready = poll(&descriptor, 1, mayWait ? -1 : 0) } while ready < 0 && errno == EINTR
        guard ready == 1, descriptor.revents == Int16(POLLOUT) else { return }
        _ = Glibc.write(2, line, line.count)
    }

    private static func visible(_ text: String) -> String {
        var visible = ""
        for scalar in text.unicodeScalars {
            switch scalar.properties.generalCategory {
            case .control, .format, .lineSeparator, .paragraphSeparator: visible += scalar.escaped(asASCII: true)
            default: visible.unicodeScalars.append(scalar)
            }
        }
        return visible
    }
}
