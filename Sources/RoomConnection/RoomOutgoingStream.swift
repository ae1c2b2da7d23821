internal import RoomCore
public import RoomProtocol
public import TransportPluginAPI

/// A stream of bytes from this participant to one or several others. From `Room.openStream(_:to:length:metadata:)`.
///
/// Write from one task. The bytes arrive in order and exactly once, across path changes, rebuilt peer connections and
/// rejoins. A stream ends with `finish()` or `cancel(_:)`; one that is dropped before is cancelled. Messages overtake
/// the bytes of streams.
public final class RoomOutgoingStream: Sendable {
    struct Leg: Sendable {
        let streams: PeerStreams
        let id: UInt64
        /// In front of each chunk.
        let head: [UInt8]
    }

    /// The name that the receivers see.
    public let name: String
    /// The number of bytes that was announced; nil when it is unknown.
    public let length: UInt64?
    private let legs: [Leg]
    private let progressBox = Mailbox<UInt64>(limit: 1)
    private let failed = Locked<[ParticipantID: RoomStreamError]>([:])

    init(name: String, length: UInt64?, _ legs: [Leg]) {
        self.name = name
        self.length = length
        self.legs = legs
        for leg in legs {
            leg.streams.setOnProgress(leg.id) { [weak self] in self?.progressed() }
        }
    }

    deinit {
        for leg in legs { leg.streams.forget(writer: leg.id) }
        progressBox.finish()
    }

    /// The participants that were to receive the stream and do not, with the reasons. Those that have stopped it, and
    /// those that have left.
    public var failures: [ParticipantID: RoomStreamError] {
        for leg in legs {
            if let failure = leg.streams.failure(leg.id) { note(failure, of: leg) }
        }
        return failed.withLock { $0 }
    }

    private func note(_ failure: StreamFailure, of leg: Leg) {
        let participant = leg.streams.participant
        failed.withLock { if $0[participant] == nil { $0[participant] = RoomStreamError(failure, participant) } }
    }

    private var living: [Leg] { legs.filter { $0.streams.failure($0.id) == nil } }

    // MARK: Writing

    /// Writes bytes: returns when they are in the bounded buffers of all receivers. Waits while a receiver is slower
    /// than the writer.
    ///
    /// A receiver that fails is named in `failures`, and the others go on. Throws when the last failed,
    /// `.lengthExceeded` when it would be more than was announced (nothing of the chunk that exceeds it is sent), or
    /// `.taskCancelled`: some of the bytes may then have been accepted.
    public nonisolated(nonsending) func write(_ payload: Payload) async throws(RoomStreamError) {
        // The storage is immutable and kept alive by `payload`; the pointer does not leave this call.
        let bytes = payload.withUnsafeBytes { $0 }
        defer { withExtendedLifetime(payload) {} }
        var offset = 0
        while offset < bytes.count {
            let legs = living
            guard let chunk = legs.map(\.streams.chunkLength).min() else { throw failure }
            let end = min(offset + max(chunk, 1), bytes.count)
            let part = UnsafeRawBufferPointer(rebasing: bytes[offset..<end])
            for leg in legs { try await write(part, to: leg) }
            offset = end
        }
        if living.isEmpty { throw failure }
    }

    /// Writes the bytes of a span as `write(_:)` writes a payload. They are copied first.
    public nonisolated(nonsending) func write(_ bytes: RawSpan) async throws(RoomStreamError) {
        let payload = Payload(copying: bytes)
        try await write(payload)
    }

    /// Writes an array as `write(_:)` writes a payload.
    public nonisolated(nonsending) func write(_ bytes: [UInt8]) async throws(RoomStreamError) {
        try await write(Payload(bytes))
    }

    /// Writes the UTF-8 bytes of a text as `write(_:)` writes a payload.
    public nonisolated(nonsending) func write(_ text: String) async throws(RoomStreamError) {
        try await write(Payload(text))
    }

    private nonisolated(nonsending) func write(
        _ bytes: UnsafeRawBufferPointer, to leg: Leg
    ) async throws(RoomStreamError) {
        while true {
            switch leg.streams.write(leg.id, head: leg.head, bytes) {
            case .accepted: return
            case .tooLong:
                throw RoomStreamError(.lengthExceeded, "'\(name)' was announced with \(length ?? 0) bytes")
            case .failed(let failure): return note(failure, of: leg)
            case .wait(let credits):
                await leg.streams.waitToWrite(leg.id, credits: credits)
                if Task.isCancelled { throw .taskWasCancelled }
            }
        }
    }

    private var failure: RoomStreamError {
        failures.values.first ?? RoomStreamError(.peerGone, "nobody receives '\(name)'")
    }

    // MARK: The end

    /// Ends the stream: returns when every receiver has consumed all bytes and the end.
    ///
    /// Throws the failure of a single receiver; of several only when all have failed (see `failures`). `.incomplete`
    /// when fewer bytes were written than were announced: the stream is then cancelled. `.taskCancelled`: it goes on.
    public nonisolated(nonsending) func finish() async throws(RoomStreamError) {
        for leg in living where !leg.streams.end(leg.id) && leg.streams.isIncomplete(leg.id) {
            let error = RoomStreamError(.incomplete, "fewer bytes were written to '\(name)' than were announced")
            for leg in legs { leg.streams.cancel(leg.id, code: StreamCode.incomplete, message: error.message) }
            throw error
        }
        for leg in legs {
            await leg.streams.waitForEnd(leg.id)
            if Task.isCancelled, !leg.streams.isFinished(leg.id) { throw .taskWasCancelled }
        }
        progressBox.finish()
        if !legs.contains(where: { $0.streams.isFinished($0.id) }) { throw failure }
    }

    /// Gives the stream up: the receivers get an error with this reason, and what they have not read is dropped.
    ///
    /// `code`: for programs, at most 64 bytes. Does nothing after the end.
    public func cancel(_ reason: String = "", code: String = "cancelled") {
        for leg in legs { leg.streams.cancel(leg.id, code: code, message: reason) }
        progressBox.finish()
    }

    // MARK: Progress

    /// Bytes that every receiver that is left has consumed. It grows in steps of some dozens of kilobytes.
    public var acknowledgedCount: UInt64 {
        let legs = living
        return (legs.isEmpty ? self.legs : legs).map { $0.streams.acknowledged($0.id) }.min() ?? 0
    }

    /// The numbers of consumed bytes as they grow; intermediate ones are left out for a slow reader. For one consuming
    /// task. Ends with the stream.
    public var progress: RoomStreamProgress { RoomStreamProgress(mailbox: progressBox) }

    private func progressed() {
        progressBox.coalesce(acknowledgedCount) { _ in true }
        if legs.allSatisfy({ $0.streams.isFinished($0.id) || $0.streams.failure($0.id) != nil }) {
            progressBox.finish()
        }
    }
}

/// The progress of a stream: the number of bytes that its receivers have consumed.
public struct RoomStreamProgress: AsyncSequence, Sendable {
    public typealias Element = UInt64
    public typealias Failure = Never
    let mailbox: Mailbox<UInt64>

    public struct AsyncIterator: AsyncIteratorProtocol {
        let mailbox: Mailbox<UInt64>

        public mutating func next() async -> UInt64? { await next(isolation: nil) }

        public mutating func next(isolation actor: isolated (any Actor)?) async -> UInt64? {
            await mailbox.takeAll()?.last
        }
    }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(mailbox: mailbox) }
}
