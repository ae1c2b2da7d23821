internal import RoomProtocol
internal import TransportPluginAPI

/// A connection of a `ServerLoop`, which writes to it and closes it. Lives on that loop.
protocol ServerConnection: AnyObject {
    /// Whether something was written since the last `flush`. Kept by the loop.
    var needsFlush: Bool { get set }
    /// The decisions that its output waits for: `flush` goes no further. Kept by the loop.
    var holds: Holds { get set }
    /// Grows with everything that is written.
    var position: Int { get }

    /// The time of its `hello` until that is answered. Kept by the loop.
    var helloAt: Timestamp? { get set }

    /// Writes a text message, without a flush.
    func write(_ text: [UInt8])
    func flush()
    /// Closes in order, after everything that was written, which may wait for decisions.
    func close(_ code: CloseCode)
    /// Closes at once.
    func abort()
}

extension ConnectionHandler {
    var position: Int { outgoing.position }
}

extension ServerConnection {
    /// Records that its `hello` has come, unless that was done before.
    func noteHello() { if helloAt == nil { helloAt = .now() } }

    /// Returns the time of its `hello`, once.
    func takeHelloTime() -> Timestamp? {
        defer { helloAt = nil }
        return helloAt
    }
}
