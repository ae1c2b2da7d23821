internal import Glibc

/// Reads lines from a descriptor in bounded memory. Blocks, so it needs a thread of its own.
package struct LineReader {
    package enum Line: Equatable {
        /// The line's bytes as they came, without the line end (LF or CRLF). They may contain NUL and need not be
        /// UTF-8.
        case line([UInt8])
        /// The length in bytes of a line that was longer than the limit and was skipped.
        case tooLong(Int)
    }

    private let descriptor: Int32
    private let limit: Int
    private var buffer: [UInt8] = []
    /// The start of the unread part of `buffer`, and how much of it is known to have no line end.
    private var start = 0
    private var searched = 0
    private var skipped = 0
    private var hasEnded = false

    /// - Parameter limit: Bytes of the longest line.
    package init(descriptor: Int32, limit: Int) {
        self.descriptor = descriptor
        self.limit = limit
    }

    /// Returns the next line, or nil at the end of input and after a read error. The last line may have no line end.
    package mutating func next() -> Line? {
        while true {
            if let end = buffer[(start + searched)...].firstIndex(of: UInt8(ascii: "\n")) {
                return take(upTo: end, next: end + 1)
            }
            searched = buffer.count - start
            // One more byte: the CR of a line end.
            if searched > limit + 1 {
                skipped += searched
                buffer.removeAll(keepingCapacity: true)
                start = 0
                searched = 0
            }
            if !hasEnded { fill() }
            if hasEnded {
                let isNothingLeft = searched == 0 && skipped == 0
                return isNothingLeft ? nil : take(upTo: buffer.count, next: buffer.count)
            }
        }
    }

    private mutating func take(upTo end: Int, next: Int) -> Line {
        var line = buffer[start..<end]
        if next > end, line.last == UInt8(ascii: "\r") { line.removeLast() }
        let length = skipped + line.count
        defer {
            start = next
            searched = 0
            skipped = 0
        }
        return length > limit ? .tooLong(length) : .line(Array(line))
    }

    private mutating func fill() {
        if start > 0 {
            buffer.removeSubrange(..<start)
            start = 0
        }
        while true {
            let count = withUnsafeTemporaryAllocation(byteCount: 65_536, alignment: 16) { chunk in
                let count = read(descriptor, chunk.baseAddress, chunk.count)
                if count > 0 { buffer.append(contentsOf: chunk[..<count]) }
                return count
            }
            if count > 0 { return }
            if count < 0, errno == EINTR { continue }
            if count < 0, errno == EAGAIN {
                var watched = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
                _ = poll(&watched, 1, -1)
                continue
            }
            hasEnded = true
            return
        }
    }
}
