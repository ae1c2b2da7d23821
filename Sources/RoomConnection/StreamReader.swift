internal import RoomCore
internal import TransportPluginAPI

/// The application's side of one incoming stream, between two calls. A part of the state of `PeerStreams`.
struct StreamReader {
    /// Chunks that have come and were not taken.
    var chunks: [Payload] = []
    var isEnded = false
    private(set) var failure: StreamFailure?
    var waiters = Waiters()

    /// Whether there is something to read: a chunk, the end, or the failure.
    var hasNews: Bool { !chunks.isEmpty || isEnded || failure != nil }

    mutating func takeChunk() -> Payload? { chunks.isEmpty ? nil : chunks.removeFirst() }

    /// The stream ends before its time. `keepsChunks`: what has come can still be read, up to the end if it has come.
    mutating func fail(_ failure: StreamFailure, keepsChunks: Bool) {
        if !isEnded || !keepsChunks { self.failure = failure }
        guard !keepsChunks else { return }
        chunks = []
        isEnded = false
    }
}
