// For realloc(3), which moves large blocks without a copy; the standard library has nothing like it.
internal import Glibc

/// The memory in which the pieces of one message are put together, unmasked.
struct MessageAssembly: ~Copyable {
    private var buffer: UnsafeMutableRawPointer?
    private(set) var capacity = 0
    private(set) var count = 0

    init() {}

    deinit { free(buffer) }

    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: buffer, count: count) }

    /// The caller bounds the sum.
    /// - Parameters:
    ///   - expected: bytes that have been announced and will follow.
    ///   - reserve: bytes for which memory is taken although they have only been announced. Otherwise it is taken for
    ///     as many as have come.
    mutating func append(_ bytes: UnsafeRawBufferPointer, _ mask: Mask, expecting expected: Int, reserve: Int) {
        guard bytes.count > 0 else { return }
        let needed = count + bytes.count
        if needed > capacity {
            // Fragments of one byte each must not be copied once for each of them.
            capacity = max(needed + min(expected, max(needed, reserve)), capacity * 2)
            guard let larger = realloc(buffer, capacity) else { fatalError("out of memory") }
            buffer = larger
        }
        if let buffer { mask.copy(bytes, to: buffer + count) }
        count = needed
    }

    /// Hands over the memory, which is to be freed with free(3).
    mutating func take() -> UnsafeRawBufferPointer? {
        guard let buffer else { return nil }
        defer {
            self.buffer = nil
            capacity = 0
            count = 0
        }
        return UnsafeRawBufferPointer(start: buffer, count: count)
    }

    mutating func removeAll() { free(UnsafeMutableRawPointer(mutating: take()?.baseAddress)) }
}
