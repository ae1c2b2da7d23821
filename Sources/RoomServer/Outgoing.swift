internal import NIOCore
internal import WebSocketWire

/// What waits to be written to one socket: bytes in one buffer behind the write that is under way, and the newest pong.
///
/// Frames are collected while a write is under way, so that a thousand small ones cost their bytes and not a thousand entries of a
/// queue. Of pongs only the newest is kept, which answers the pings before it as well (RFC 6455 §5.5.3).
struct Outgoing {
    private var waiting = ByteBuffer()
    private var pong: [UInt8]?
    /// Bytes that were taken and are not written yet.
    private var underWay = 0

    /// Bytes that are not written yet.
    var count: Int { waiting.readableBytes + underWay }

    /// The memory that they take.
    var memory: Int { waiting.storageCapacity + underWay + (pong?.count ?? 0) }

    mutating func append(_ bytes: [UInt8]) { waiting.writeBytes(bytes) }

    /// A pong that waits keeps its place.
    mutating func append(text: [UInt8]) {
        writePong()
        waiting.writeFrame(.text, text)
    }

    mutating func append(pong payload: [UInt8]) { pong = payload }

    /// Nothing else goes behind a close frame, and the pong goes before it.
    mutating func append(close reason: CloseReason) {
        writePong()
        waiting.writeFrame(.close, reason.payload)
    }

    /// Takes what is to be written next; nil while something is under way, unless it `mustHurry`, and where there is nothing.
    mutating func take(mustHurry: Bool = false) -> ByteBuffer? {
        guard underWay == 0 || mustHurry else { return nil }
        writePong()
        guard waiting.readableBytes > 0 else { return nil }
        defer { waiting = ByteBuffer() }
        underWay += waiting.readableBytes
        return waiting
    }

    /// A buffer that was taken has been written.
    mutating func written(_ count: Int) { underWay -= count }

    private mutating func writePong() {
        guard let pong else { return }
        waiting.writeFrame(.pong, pong)
        self.pong = nil
    }
}
