internal import Glibc

/// Reads lines from a descriptor, in bounded memory. Blocks: for a thread of its own.
package struct LineReader {
    package enum Line: Equatable {
        /// Without its line end (LF or CRLF). The bytes as they came: any, also NUL and what is no UTF-8.
        case line([UInt8])
        /// Longer than the limit, by its length in bytes; it was passed over.
        case tooLong(Int)
    }

    private let descriptor: Int32
    private let limit: Int
    private var buffer: [UInt8] = []
    /// Where the unread part of `buffer` begins, and how much of it is known to have no line end.
    private var start = 0
    private var searched = 0
    private var skipped = 0
    private var hasEnded = false

    /// `limit`: bytes of the longest line.
    package init(descriptor: Int32, limit: Int) {
        self.descriptor = descriptor
        self.limit = limit
    }

    /// Returns the next line; the last one may have no line end. Nil at the end of input, and when it cannot be read any more.
    package mutating func next() -> Line? {
        while true {
            if let end = buffer[(start + searched)...].firstIndex(of: UInt8(ascii: "\n")) {
                return take(upTo: end, next: end + 1)
            }
            searched = buffer.count - start
            // One more: the CR of a line end.
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
