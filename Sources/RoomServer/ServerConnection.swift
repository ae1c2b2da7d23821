internal import RoomProtocol

/// A connection of a `ServerLoop`, which writes to it and closes it. Lives on that loop.
protocol ServerConnection: AnyObject {
    /// Whether something was written since the last `flush`. Kept by the loop.
    var needsFlush: Bool { get set }

    /// Writes a text message, without a flush.
    func write(_ text: [UInt8])
    func flush()
    /// Closes in order, after everything that was written.
    func close(_ code: CloseCode)
    /// Closes at once.
    func abort()
}
