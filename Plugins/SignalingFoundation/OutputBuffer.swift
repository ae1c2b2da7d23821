internal import Glibc

/// The bytes that wait for a socket, in one block that grows to what a turn writes. A large block is freed when it is
/// empty.
struct OutputBuffer: ~Copyable {
    /// The number of bytes that are gathered before they are written.
    static let limit = 65_536
    private static let keptCapacity = 16_384

    private var base: UnsafeMutableRawPointer?
    private var capacity = 0
    private var start = 0
    private var end = 0

    init() {}

    deinit { base?.deallocate() }

    var isEmpty: Bool { start == end }
    var room: Int { Self.limit - (end - start) }

    /// The bytes; valid until the next change.
    var bytes: UnsafeRawBufferPointer {
        guard let base else { return UnsafeRawBufferPointer(start: nil, count: 0) }
        return UnsafeRawBufferPointer(start: base + start, count: end - start)
    }

    /// Lets `fill` write at most `count` bytes at the end. `fill` returns the number of bytes written.
    mutating func append(atMost count: Int, _ fill: (UnsafeMutableRawPointer) -> Int) {
        if end + count > capacity { reserve(count) }
        guard let base else { return }
        end += fill(base + end)
    }

    mutating func append(_ bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress else { return }
        append(atMost: bytes.count) { target in
            target.copyMemory(from: source, byteCount: bytes.count)
            return bytes.count
        }
    }

    mutating func removeFirst(_ count: Int) {
        start += count
        guard start == end else { return }
        start = 0
        end = 0
    }

    mutating func removeAll() { removeFirst(end - start) }

    /// Frees the memory that only a burst needed.
    mutating func trim() {
        guard isEmpty, capacity > Self.keptCapacity else { return }
        base?.deallocate()
        base = nil
        capacity = 0
    }

    private mutating func reserve(_ count: Int) {
        let used = end - start
        if used + count > capacity {
            capacity = max(4096, 2 * (used + count))
            let larger = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 16)
            if let base {
                larger.copyMemory(from: base + start, byteCount: used)
                base.deallocate()
            }
            base = larger
        } else if let base {
            memmove(base, base + start, used)
        }
        start = 0
        end = used
    }
}
