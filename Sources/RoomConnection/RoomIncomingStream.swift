internal import RoomCore
public import RoomProtocol
public import TransportPluginAPI

/// A stream of bytes from another participant: a sequence of chunks. From `Room.incomingStreams()`.
///
/// ```swift
/// for try await chunk in stream { try file.write(chunk) }
/// ```
/// For one consuming task. A chunk counts as consumed, for the sender's progress and for back-pressure, when the next
/// one is asked for. A slow reader slows down its own stream only. The sequence ends when the sender has finished, and
/// throws when it has given up or is gone. A stream that is dropped before its end is stopped.
public final class RoomIncomingStream: AsyncSequence, Sendable {
    public typealias Element = Payload
    public typealias Failure = RoomStreamError

    /// The sender.
    public let from: ParticipantID
    /// The name that the sender has given. Do not use it as a path without making it safe.
    public let name: String
    /// The number of bytes that the sender has announced; nil when it is unknown. More never come.
    public let length: UInt64?
    /// The sender's words about the stream: at most 16 entries, 4 KiB in all.
    public let metadata: [String: String]
    private let id: UInt64
    private let streams: PeerStreams

    init(id: UInt64, _ opening: ExchangeMessage.Opening, _ streams: PeerStreams) {
        self.id = id
        self.streams = streams
        from = streams.participant
        name = opening.name
        length = opening.length
        metadata = opening.metadata
    }

    deinit { streams.forget(reader: id) }

    /// Wants no more of the stream: the sender gets an error with this reason.
    ///
    /// `code`: for programs, at most 64 bytes. Does nothing after the end.
    public func cancel(_ reason: String = "", code: String = "cancelled") {
        streams.stop(id, code: code, message: reason)
    }

    public struct AsyncIterator: AsyncIteratorProtocol {
        let stream: RoomIncomingStream
        /// Of the last chunk.
        var count = 0
        var isOver = false

        public mutating func next() async throws(RoomStreamError) -> Payload? { try await next(isolation: nil) }

        public mutating func next(
            isolation actor: isolated (any Actor)?
        ) async throws(RoomStreamError) -> Payload? {
            while !isOver {
                let reading = stream.streams.read(stream.id, consumed: count)
                count = 0
                switch reading {
                case .chunk(let payload):
                    count = payload.count
                    return payload
                case .end: isOver = true
                case .failed(let failure):
                    isOver = true
                    throw RoomStreamError(failure, stream.from)
                case .wait:
                    await stream.streams.waitToRead(stream.id)
                    if Task.isCancelled { throw .taskWasCancelled }
                }
            }
            return nil
        }
    }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(stream: self) }
}

/// The streams that other participants open to this one.
public struct RoomIncomingStreams: AsyncSequence, Sendable {
    public typealias Element = RoomIncomingStream
    public typealias Failure = Never
    let mailbox: Mailbox<RoomIncomingStream>

    public struct AsyncIterator: AsyncIteratorProtocol {
        let mailbox: Mailbox<RoomIncomingStream>
        /// The latest first: what was taken is not kept alive here.
        var rest: [RoomIncomingStream] = []

        public mutating func next() async -> RoomIncomingStream? { await next(isolation: nil) }

        public mutating func next(isolation actor: isolated (any Actor)?) async -> RoomIncomingStream? {
            if let stream = rest.popLast() { return stream }
            rest = (await mailbox.takeAll() ?? []).reversed()
            return rest.popLast()
        }
    }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(mailbox: mailbox) }
}
