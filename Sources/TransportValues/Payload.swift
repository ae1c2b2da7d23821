internal import Glibc

/// An immutable block of bytes that crosses module boundaries: one allocation, shared by reference, never copied.
///
/// It can adopt memory that a C library allocated. Bytes are read in place through `withUnsafeBytes` or `withBytes`.
public struct Payload: Sendable, Hashable {
    private let storage: Storage

    /// Copies `bytes`.
    public init(copying bytes: UnsafeRawBufferPointer) {
        storage = Storage(count: bytes.count) { $0.copyMemory(from: bytes) }
    }

    /// Copies the bytes of a span.
    public init(copying bytes: RawSpan) {
        storage = Storage(count: bytes.byteCount) { target in
            bytes.withUnsafeBytes { target.copyMemory(from: $0) }
        }
    }

    /// Copies the bytes of a collection.
    public init(_ bytes: some Collection<UInt8>) {
        storage = Storage(count: bytes.count) { target in
            target.copyBytes(from: bytes)
        }
    }

    /// Copies the UTF-8 bytes of `text`.
    public init(_ text: String) { self.init(text.utf8) }

    /// Allocates `count` bytes and lets `initialize` fill all of them in place.
    public init(count: Int, initializingWith initialize: (UnsafeMutableRawBufferPointer) -> Void) {
        storage = Storage(count: count, initialize)
    }

    /// Adopts `bytes`, which `deallocate` frees when the last copy of the payload is destroyed. `deallocate` may run on
    /// any thread.
    public init(
        adopting bytes: UnsafeRawBufferPointer,
        deallocate: @escaping @Sendable (UnsafeRawBufferPointer) -> Void
    ) {
        storage = Storage(adopting: bytes, deallocate)
    }

    /// The number of bytes.
    public var count: Int { storage.bytes.count }
    /// Whether there are no bytes.
    public var isEmpty: Bool { storage.bytes.isEmpty }

    /// Calls `body` with the bytes, which are valid until it returns.
    @inline(__always)
    public func withUnsafeBytes<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(storage.bytes)
    }

    /// Calls `body` with the bytes as a span, which cannot escape it.
    @inline(__always)
    public func withBytes<Result, Failure: Error>(
        _ body: (RawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let bytes = storage.bytes
        return try body(bytes.bytes)
    }

    /// The bytes as text, or nil when they are not valid UTF-8.
    public var utf8Text: String? { withUnsafeBytes { String(validating: $0, as: UTF8.self) } }

    public static func == (left: Payload, right: Payload) -> Bool {
        left.storage === right.storage || left.withUnsafeBytes { a in right.withUnsafeBytes { a.elementsEqual($0) } }
    }

    public func hash(into hasher: inout Hasher) { withUnsafeBytes { hasher.combine(bytes: $0) } }

    // SAFETY: the bytes are written once, before any other reference exists, and never again.
    private final class Storage: @unchecked Sendable {
        let bytes: UnsafeRawBufferPointer
        private let deallocate: (@Sendable (UnsafeRawBufferPointer) -> Void)?

        init(count: Int, _ initialize: (UnsafeMutableRawBufferPointer) -> Void) {
            let target = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 8)
            initialize(target)
            bytes = UnsafeRawBufferPointer(target)
            deallocate = nil
        }

        init(
            adopting bytes: UnsafeRawBufferPointer, _ deallocate: @escaping @Sendable (UnsafeRawBufferPointer) -> Void
        ) {
            self.bytes = bytes
            self.deallocate = deallocate
        }

        deinit {
            if let deallocate { deallocate(bytes) } else { bytes.deallocate() }
        }
    }
}
