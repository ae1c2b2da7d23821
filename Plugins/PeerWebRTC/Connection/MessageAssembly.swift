/// Reassembles a message that SCTP delivers in pieces, because it is larger than the read buffer or was delivered
/// early. Pure.
struct MessageAssembly {
    enum Outcome: Equatable {
        /// More pieces follow.
        case incomplete
        case complete(Message)
        /// The message was over the limit, and its bytes were dropped.
        case tooLarge(stream: UInt16)
    }

    struct Message: Equatable {
        var stream: UInt16
        var `protocol`: UInt32
        var bytes: [UInt8] = []
    }

    private enum State: Equatable {
        /// Can transition to: collecting, dropping.
        case empty
        /// Can transition to: empty, dropping.
        case collecting(Message)
        /// The message is over the limit: its rest is dropped. Can transition to: empty.
        case dropping(stream: UInt16)
    }

    private var state = State.empty
    /// The largest message, in bytes.
    private let limit: Int

    init(limit: Int) { self.limit = limit }

    @inline(__always)
    var isEmpty: Bool { if case .empty = state { true } else { false } }

    /// A piece has arrived. A message keeps the stream and the protocol of its first piece.
    mutating func add(
        _ piece: UnsafeRawBufferPointer, stream: UInt16, protocol: UInt32, isEnd: Bool
    ) -> Outcome {
        var message: Message
        switch state {
        case .empty: message = Message(stream: stream, protocol: `protocol`)
        case .collecting(let collected): message = collected
        case .dropping(let stream):
            guard isEnd else { return .incomplete }
            state = .empty
            return .tooLarge(stream: stream)
        }
        // Unique from here on, so that appending copies the piece only.
        state = .empty
        guard message.bytes.count + piece.count <= limit else {
            if isEnd { return .tooLarge(stream: message.stream) }
            state = .dropping(stream: message.stream)
            return .incomplete
        }
        message.bytes.append(contentsOf: piece)
        if isEnd { return .complete(message) }
        state = .collecting(message)
        return .incomplete
    }

    /// The rest of the message will not arrive.
    mutating func aborted() { state = .empty }

    /// The other side has reset these streams, or all if none is named: the rest of a message on them will not arrive.
    mutating func incomingReset(_ streams: [UInt16]) {
        switch state {
        case .empty: break
        case .collecting(let message): if streams.isEmpty || streams.contains(message.stream) { state = .empty }
        case .dropping(let stream): if streams.isEmpty || streams.contains(stream) { state = .empty }
        }
    }
}
