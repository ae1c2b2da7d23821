package import TransportPluginAPI

/// An ordered, reliable flow of bytes in both directions between a sender and a receiver of files, with back-pressure.
///
/// The boundaries of pieces mean nothing: a reader may get other pieces than were written.
package protocol TransferConnection: AnyObject, Sendable {
    /// The certificates of the connection as this side sees them now; nil where the transport has none.
    var security: PeerSecurity? { get }
    /// Takes no other certificate of the other side from now on, whatever happens to the connection.
    func pinCertificate()
    /// The other side's name, for people. Not escaped.
    var peerName: String { get }
    /// Whether the other side can be reached at this moment.
    var isConnected: Bool { get }
    /// The executor of the thread on which bytes arrive and leave: a task that prefers it passes them on without a
    /// thread hop. Nil: there is none.
    var executor: (any TaskExecutor)? { get }

    /// Sends bytes. Waits while the other side does not take them. Throws `TransferError` `.interrupted` when the other
    /// side is gone.
    func write(_ bytes: Payload) async throws
    /// Returns the next bytes, or nil when the other side has closed its direction in order. Throws `.interrupted` when
    /// it is gone.
    func read() async throws -> Payload?
    /// Ends both directions once the other side has what was written, or is gone. Idempotent.
    func close() async
    /// Ends both directions now: reads and writes of this side throw `reason`, and waits for the other side's return
    /// end. Idempotent.
    func cut(_ reason: TransferError)
    /// Whether the other side may come back after this connection has ended: it has disappeared, without an end in
    /// order. Waits until that is known.
    func mayReturn() async -> Bool
    /// Returns when the other side, of which `mayReturn` was true, has left in order instead, or the task is cancelled.
    func hasLeft() async
}

extension TransferConnection {
    var executor: (any TaskExecutor)? { nil }

    func send(_ message: TransferMessage) async throws { try await write(Payload(message.encoded)) }
}
