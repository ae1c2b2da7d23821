internal import Glibc

/// Lines on standard error.
package enum StandardError {
    /// Writes a line, whose control and format characters become escapes: a part of it may come from others.
    ///
    /// - Parameter mayWait: Whether to wait until standard error takes the line, which is dropped otherwise.
    package static func write(_ text: String, mayWait: Bool) {
        let line = Array((visible(text) + "\n").utf8)
        // A pipe that is ready takes this much at once.
        let count = min(line.count, Int(PIPE_BUF))
        var descriptor = pollfd(fd: 2, events: Int16(POLLOUT), revents: 0)
        guard poll(&descriptor, 1, mayWait ? -1 : 0) == 1, descriptor.revents == Int16(POLLOUT) else { return }
        _ = Glibc.write(2, line, count)
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
