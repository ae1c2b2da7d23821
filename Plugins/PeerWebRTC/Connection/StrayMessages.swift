internal import TransportPluginAPI

/// The messages on streams without a channel. Unordered messages may arrive before the open message, and messages of a
/// pre-negotiated channel before this side has opened it. Bounded: the oldest are dropped. Pure.
struct StrayMessages {
    static let maximumCount = 64
    /// The number of bytes of all messages.
    static let maximumBytes = 1 << 19

    private var messages: [(stream: UInt16, message: UnreadMessage)] = []
    private var byteCount = 0

    var count: Int { messages.count }

    mutating func add(_ message: UnreadMessage, stream: UInt16) {
        guard message.payload.count <= Self.maximumBytes else { return }
        messages.append((stream, message))
        byteCount += message.payload.count
        while messages.count > Self.maximumCount || byteCount > Self.maximumBytes {
            byteCount -= messages.removeFirst().message.payload.count
        }
    }

    /// Removes and returns the messages of a stream, in order.
    mutating func take(stream: UInt16) -> [UnreadMessage] {
        guard !messages.isEmpty else { return [] }
        let taken = messages.filter { $0.stream == stream }.map(\.message)
        guard !taken.isEmpty else { return [] }
        messages.removeAll { $0.stream == stream }
        byteCount = messages.reduce(0) { $0 + $1.message.payload.count }
        return taken
    }
}
