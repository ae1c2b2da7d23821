internal import RoomCore
internal import RoomProtocol
internal import TransportPluginAPI

/// The streams to and from one participant's session: performs what `OutgoingStreams` and `IncomingStreams` decide. One
/// for each link that speaks `exchange.v1`.
///
/// Messages are received on the peer loop; applications write and read on any thread. What a stream needs between two
/// calls is here, so that an application may drop its objects at any time.
final class PeerStreams: Sendable {
    private struct Writer {
        /// Bytes that the receiver has consumed.
        var acknowledged: UInt64 = 0
        var isFinished = false
        var failure: StreamFailure?
        /// For the window, for credit, or for the end.
        var waiters = Waiters()
        var onProgress: @Sendable () -> Void = {}

        var isOver: Bool { isFinished || failure != nil }
    }

    private struct State {
        var outgoing: OutgoingStreams
        var incoming: IncomingStreams
        var budget = ReceiveWindow.Budget()
        var writers: [UInt64: Writer] = [:]
        var readers: [UInt64: StreamReader] = [:]
        /// Counts the times at which the buffer of bulk had room again.
        var credits: UInt64 = 0

        /// Nil: there is no such stream.
        mutating func withWaiters<Result>(at place: Place, _ body: (inout Waiters) -> Result) -> Result? {
            switch place {
            case .writer(let id): writers[id] == nil ? nil : body(&writers[id]!.waiters)
            case .reader(let id): readers[id] == nil ? nil : body(&readers[id]!.waiters)
            }
        }
    }

    /// The stream of which something is waited for.
    private enum Place: Sendable {
        case writer(UInt64)
        case reader(UInt64)
    }

    /// The outcome of one attempt to write a chunk.
    enum Attempt: Sendable, Equatable {
        case accepted
        /// `credits`: what to wait for a change of.
        case wait(credits: UInt64)
        case tooLong
        case failed(StreamFailure)
    }

    /// The result of one attempt to read.
    enum Reading: Sendable {
        case chunk(Payload)
        case end
        case wait
        case failed(StreamFailure)
    }

    let participant: ParticipantID
    /// It owns this object.
    private let link: Weak<PeerLink>
    private let state: Locked<State>
    /// Called on the loop with each stream that begins. False: the application has not taken the last ones yet.
    private let onOpened: @Sendable (RoomIncomingStream) -> Bool

    /// `record`: of the streams before, which ended for this side only. On the loop.
    init(link: PeerLink, record: StreamRecord, onOpened: @escaping @Sendable (RoomIncomingStream) -> Bool) {
        participant = link.participant
        self.link = Weak(link)
        self.onOpened = onOpened
        state = Locked(
            State(
                outgoing: OutgoingStreams(lastID: record.lastOutgoing),
                incoming: IncomingStreams(lastID: record.lastIncoming)))
        if let restart = record.restart { _ = send(restart, on: .bulk) }
    }

    /// Bytes of a chunk that is sent now.
    var chunkLength: Int {
        (link.object?.bulkFrameLength ?? BulkPace.shortFrame) - DeliveryProtocol.dataHeaderLength
            - StreamLimits.headLength
    }

    private func send(_ message: [UInt8], on channel: DeliveryChannel) -> DeliveryOutbox.Outcome {
        message.withUnsafeBytes { bytes in
            link.object?.send(exchange: .init(start: nil, count: 0), bytes, on: channel, isUrgent: true) ?? .gone
        }
    }

    // MARK: Writing, from any thread

    /// Begins a stream. Returns its id; nil: too many are open.
    func open(_ opening: ExchangeMessage.Opening) -> UInt64? {
        let id = state.withLock { state -> UInt64? in
            let id = state.outgoing.open(length: opening.length)
            if let id { state.writers[id] = Writer() }
            return id
        }
        guard let id else { return nil }
        if send(ExchangeHead.open(stream: id, opening), on: .bulk) == .gone { fail(id, .peerGone) }
        return id
    }

    func setOnProgress(_ id: UInt64, _ handler: @escaping @Sendable () -> Void) {
        state.withLock { $0.writers[id]?.onProgress = handler }
    }

    /// Sends one chunk behind `head`, if that is possible now.
    func write(_ id: UInt64, head: [UInt8], _ bytes: UnsafeRawBufferPointer) -> Attempt {
        let (start, credits, failure) = state.withLock { state in
            (state.outgoing.begin(id, count: bytes.count), state.credits, state.writers[id]?.failure)
        }
        switch start {
        case .closed: return .failed(failure ?? .cancelledHere(code: StreamCode.cancelled, message: "it has ended"))
        case .tooLong: return .tooLong
        case .wait: return .wait(credits: credits)
        case .begun: break
        }
        let outcome = head.withUnsafeBytes { link.object?.send(exchange: $0, bytes, on: .bulk) ?? .gone }
        switch outcome {
        case .accepted: return .accepted
        case .full, .dropped, .tooLarge:
            state.withLock { $0.outgoing.undo(id, count: bytes.count) }
            return .wait(credits: credits)
        case .gone:
            fail(id, .peerGone)
            return .failed(.peerGone)
        }
    }

    /// Returns when another attempt to write makes sense, or the task is cancelled.
    nonisolated(nonsending) func waitToWrite(_ id: UInt64, credits: UInt64) async {
        await wait(at: .writer(id)) { state in
            state.credits != credits && state.outgoing.isOpen(id) || state.writers[id]?.isOver != false
        }
    }

    /// All bytes were written. False: fewer than were announced, or the stream has ended.
    func end(_ id: UInt64) -> Bool {
        guard state.withLock({ $0.outgoing.end(id) }) else { return false }
        if send(ExchangeHead.end(stream: id), on: .bulk) == .gone { fail(id, .peerGone) }
        return true
    }

    /// Returns when the stream has ended, or the task is cancelled.
    nonisolated(nonsending) func waitForEnd(_ id: UInt64) async {
        await wait(at: .writer(id)) { $0.writers[id]?.isOver != false }
    }

    /// Gives a stream up. Nothing happens when it has ended already.
    func cancel(_ id: UInt64, code: String, message: String) {
        guard state.withLock({ $0.outgoing.cancel(id) }) else { return }
        _ = send(ExchangeHead.reset(stream: id, code: code, message: message), on: .bulk)
        fail(id, .cancelledHere(code: code, message: message))
    }

    /// The application has dropped the stream.
    func forget(writer id: UInt64) {
        cancel(id, code: StreamCode.cancelled, message: "the sender has dropped the stream")
        state.withLock { $0.writers[id] = nil }
    }

    func acknowledged(_ id: UInt64) -> UInt64 { state.withLock { $0.writers[id]?.acknowledged ?? 0 } }
    func isIncomplete(_ id: UInt64) -> Bool { state.withLock { $0.outgoing.isIncomplete(id) } }
    func isFinished(_ id: UInt64) -> Bool { state.withLock { $0.writers[id]?.isFinished ?? false } }
    func failure(_ id: UInt64) -> StreamFailure? { state.withLock { $0.writers[id]?.failure } }

    private func fail(_ id: UInt64, _ failure: StreamFailure) {
        change(id) { state in
            _ = state.outgoing.cancel(id)
            if state.writers[id]?.isOver == false { state.writers[id]?.failure = failure }
        }
    }

    /// Changes something about an outgoing stream, and wakes those that wait for it.
    private func change(_ id: UInt64, _ body: (inout State) -> Void) {
        let (waiters, onProgress) = state.withLock { state in
            body(&state)
            return (state.writers[id]?.waiters.removeAll() ?? [], state.writers[id]?.onProgress)
        }
        // Before the end is known to those that wait for it.
        onProgress?()
        for waiter in waiters { waiter.resume() }
    }

    // MARK: Reading, from any thread

    /// The next chunk; `consumed`: bytes of the one before.
    func read(_ id: UInt64, consumed: Int) -> Reading {
        let now = Timestamp.now()
        let (reading, grant) = state.withLock { state -> (Reading, IncomingStreams.Grant?) in
            let grant = state.incoming.consume(id, count: consumed, now: now, &state.budget)
            if let chunk = state.readers[id]?.takeChunk() { return (.chunk(chunk), grant) }
            guard let reader = state.readers[id], !reader.isEnded else { return (.end, nil) }
            return (reader.failure.map(Reading.failed) ?? .wait, grant)
        }
        if let grant {
            _ = send(
                ExchangeHead.window(stream: id, consumed: grant.consumed, limit: grant.limit), on: .reliable)
        }
        if case .end = reading, state.withLock({ $0.incoming.finish(id, &$0.budget) }) {
            _ = send(ExchangeHead.finished(stream: id), on: .reliable)
        }
        return reading
    }

    /// Returns when there is something to read, or the task is cancelled.
    nonisolated(nonsending) func waitToRead(_ id: UInt64) async {
        await wait(at: .reader(id)) { state in
            guard let reader = state.readers[id] else { return true }
            return reader.hasNews
        }
    }

    /// Wants no more of a stream. Nothing happens when it has ended already.
    func stop(_ id: UInt64, code: String, message: String) {
        guard state.withLock({ $0.incoming.stop(id, &$0.budget) }) else { return }
        _ = send(ExchangeHead.stop(stream: id, code: code, message: message), on: .reliable)
        failReader(id, .cancelledHere(code: code, message: message))
    }

    /// The application has dropped the stream.
    func forget(reader id: UInt64) {
        stop(id, code: StreamCode.cancelled, message: "the receiver has dropped the stream")
        state.withLock { $0.readers[id] = nil }
    }

    private func failReader(_ id: UInt64, _ failure: StreamFailure, keepsChunks: Bool = false) {
        changeReader(id) { $0.fail(failure, keepsChunks: keepsChunks) }
    }

    private func changeReader(_ id: UInt64, _ body: (inout StreamReader) -> Void) {
        let waiters = state.withLock { state -> [CheckedContinuation<Void, Never>] in
            guard state.readers[id] != nil else { return [] }
            body(&state.readers[id]!)
            return state.readers[id]!.waiters.removeAll()
        }
        for waiter in waiters { waiter.resume() }
    }

    // MARK: What comes, on the loop

    /// A message of a stream. False: it is malformed.
    func received(
        _ message: ExchangeMessage, _ bytes: UnsafeRawBufferPointer, on channel: DeliveryChannel
    ) -> Bool {
        switch message {
        case .open, .data, .end, .reset, .restart: if channel != .bulk { return false }
        default: if channel != .reliable { return false }
        }
        switch message {
        case .open(let id, let opening): return opened(id, opening)
        case .data(let id, let body):
            return data(id, UnsafeRawBufferPointer(rebasing: bytes.dropFirst(body)))
        case .end(let id):
            switch state.withLock({ $0.incoming.endReceived(id, &$0.budget) }) {
            case .taken: changeReader(id) { $0.isEnded = true }
            case .ignored: break
            case .refused(let code): refuse(id, code, "fewer bytes came than were announced")
            }
        case .reset(let id, let code, let message):
            if state.withLock({ $0.incoming.resetReceived(id, &$0.budget) }) {
                failReader(id, .cancelledByPeer(code: code, message: message))
            }
        case .window(let id, let consumed, let limit):
            change(id) { state in
                guard let consumed = state.outgoing.windowReceived(id, consumed: consumed, limit: limit) else { return }
                state.writers[id]?.acknowledged = consumed
                state.credits &+= 1
            }
        case .stop(let id, let code, let message):
            if state.withLock({ $0.outgoing.stopReceived(id) }) {
                fail(id, .cancelledByPeer(code: code, message: message))
            }
        case .finished(let id):
            change(id) { state in
                guard let count = state.outgoing.finishedReceived(id) else { return }
                state.writers[id]?.acknowledged = count
                state.writers[id]?.isFinished = true
            }
        case .restart(let first, let last):
            let (outgoing, incoming) = state.withLock { state in
                (
                    state.outgoing.restartReceived(last: last),
                    state.incoming.restartReceived(first: first, &state.budget)
                )
            }
            end(outgoing: outgoing, incoming: incoming)
        default: return false
        }
        return true
    }

    private func opened(_ id: UInt64, _ opening: ExchangeMessage.Opening) -> Bool {
        let verdict = state.withLock { state in
            let verdict = state.incoming.openReceived(id, length: opening.length, &state.budget)
            if verdict == .taken { state.readers[id] = StreamReader() }
            return verdict
        }
        switch verdict {
        case .taken:
            let stream = RoomIncomingStream(id: id, opening, self)
            if !onOpened(stream) { stop(id, code: StreamCode.busy, message: "the application takes no streams") }
        case .refused(let code):
            _ = send(
                ExchangeHead.stop(stream: id, code: code, message: "\(StreamLimits.open) streams are open"),
                on: .reliable)
        case .malformed: return false
        }
        return true
    }

    private func data(_ id: UInt64, _ body: UnsafeRawBufferPointer) -> Bool {
        switch state.withLock({ $0.incoming.dataReceived(id, count: body.count, &$0.budget) }) {
        case .taken:
            // It costs the sender none of its window.
            if body.isEmpty { break }
            let payload = Payload(copying: body)
            changeReader(id) { $0.chunks.append(payload) }
        case .ignored: break
        case .refused(let code): refuse(id, code, "more bytes came than were announced or allowed")
        case .malformed: return false
        }
        return true
    }

    /// The sender has broken its word: the stream ends for both.
    private func refuse(_ id: UInt64, _ code: String, _ message: String) {
        _ = send(ExchangeHead.stop(stream: id, code: code, message: message), on: .reliable)
        failReader(id, .cancelledHere(code: code, message: message))
    }

    /// The buffer of bulk has room again.
    func bulkHasCredit() {
        let waiters = state.withLock { state -> [CheckedContinuation<Void, Never>] in
            state.credits &+= 1
            return state.writers.keys.flatMap { state.writers[$0]?.waiters.removeAll() ?? [] }
        }
        for waiter in waiters { waiter.resume() }
    }

    /// The session of either side has ended, or is given up. Returns what is to be remembered if it comes back.
    func close() -> StreamRecord {
        let (record, outgoing, incoming) = state.withLock { state in
            let record = StreamRecord(state.outgoing, state.incoming)
            return (record, state.outgoing.removeAll(), state.incoming.removeAll(&state.budget))
        }
        end(outgoing: outgoing, incoming: incoming)
        return record
    }

    private func end(outgoing: [UInt64], incoming: [UInt64]) {
        for id in outgoing { fail(id, .peerGone) }
        for id in incoming { failReader(id, .peerGone, keepsChunks: true) }
    }

    // MARK: Waiting

    private nonisolated(nonsending) func wait(
        at place: Place, until isDone: @escaping @Sendable (State) -> Bool
    ) async {
        while !Task.isCancelled {
            let number = state.withLock { state in
                isDone(state) ? nil : state.withWaiters(at: place) { $0.makeID() }
            }
            guard let number else { return }
            await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in
                    let isWaiting = state.withLock { state -> Bool in
                        guard !isDone(state), !Task.isCancelled else { return false }
                        return state.withWaiters(at: place) { $0.add(number, continuation) } != nil
                    }
                    if !isWaiting { continuation.resume() }
                }
            } onCancel: {
                let waiter = state.withLock { state -> CheckedContinuation<Void, Never>? in
                    state.withWaiters(at: place) { $0.remove(number) } ?? nil
                }
                waiter?.resume()
            }
        }
    }
}
