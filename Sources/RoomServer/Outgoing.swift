internal import NIOCore
internal import WebSocketWire

/// The output that waits for one socket: bytes in one buffer after the write that is in progress, and the newest pong.
///
/// Frames are collected while a write is in progress, so that a thousand small ones cost their bytes and not a thousand
/// queue entries. Only the newest pong is kept; it answers the earlier pings as well (RFC 6455 §5.5.3).
struct Outgoing {
    private var waiting = ByteBuffer()
    private var pong: [UInt8]?
    /// Bytes that were taken and are not written yet.
    private var underWay = 0
    /// Bytes that were ever taken.
    private var taken = 0

    /// The number of bytes that were ever appended.
    var position: Int { taken + waiting.readableBytes }

    /// Whether a pong waits, which is not among the bytes yet.
    var hasPong: Bool { pong != nil }

    /// The number of bytes that are not written yet.
    var count: Int { waiting.readableBytes + underWay }

    /// The memory that these bytes use.
    var memory: Int { waiting.storageCapacity + underWay + (pong?.count ?? 0) }

    mutating func append(_ bytes: [UInt8]) { waiting.writeBytes(bytes) }

    /// Appends a text frame. A waiting pong keeps its place.
    mutating func append(text: [UInt8]) {
        writePong()
        waiting.writeFrame(.text, text)
    }

    mutating func append(pong payload: [UInt8]) { pong = payload }

    /// Appends a close frame. Nothing else follows it, and the pong precedes it.
    mutating func append(close reason: CloseReason) {
        writePong()
        waiting.writeFrame(.close, reason.payload)
    }

    /// Takes the next output, up to a position, before which no pong is. Returns nil while a write is in progress,
    /// unless it is forced, and when there is none.
    mutating func take(force: Bool = false, upTo end: Int? = nil) -> ByteBuffer? {
        guard underWay == 0 || force else { return nil }
        if end == nil { writePong() }
        let count = min(waiting.readableBytes, (end ?? .max) - taken)
        guard count > 0, let bytes = waiting.readSlice(length: count) else { return nil }
        if waiting.readableBytes == 0 { waiting = ByteBuffer() }
        taken += count
        underWay += count
        return bytes
    }

    /// Records that a buffer has been written.
    mutating func written(_ count: Int) { underWay -= count }

    private mutating func writePong() {
        guard let pong else { return }
        waiting.writeFrame(.pong, pong)
        self.pong = nil
    }
}
