internal import RoomCore
internal import RoomProtocol
internal import TransportPluginAPI

/// The topics that this room's application subscribes to, the methods that it handles, and the exchanges with each
/// participant.
final class RoomExchange: Sendable {
    struct Handler: Sendable {
        let id: UInt64
        /// Where its tasks run; nil: on the pool.
        let executor: (any TaskExecutor)?
        let run: @Sendable (Payload, Bool, ParticipantID) async throws -> (Payload, isText: Bool)
    }

    private struct State {
        var inboxes: [ByteText: TopicInbox] = [:]
        var handlers: [ByteText: Handler] = [:]
        var lastHandler: UInt64 = 0
        var peers: [ParticipantID: PeerExchange] = [:]
        var links: UInt64 = 0
        var joinedAt: Timestamp?
        var hasEnded = false
    }

    let loop: TransportLoop
    let metrics: ExchangeMetrics
    private let grace: Duration
    private let state = Locked(State())

    /// `grace`: as `RoomConfiguration.handlerGrace`.
    init(loop: TransportLoop, grace: Duration, metrics: ExchangeMetrics = ExchangeMetrics()) {
        self.loop = loop
        self.grace = grace
        self.metrics = metrics
    }

    // MARK: Participants

    func peer(_ participant: ParticipantID) -> PeerExchange? { state.withLock { $0.peers[participant] } }
    /// Returns the number after which the ids of a link's requests begin: no two links have the same ids.
    func nextRequestBase() -> UInt64 {
        state.withLock { state in
            defer { state.links += 1 }
            return state.links << 32
        }
    }

    func peers() -> [PeerExchange] {
        state.withLock { $0.peers.values.sorted { $0.link.participant < $1.link.participant } }
    }

    func setPeer(_ peer: PeerExchange?, for participant: ParticipantID) {
        state.withLock { $0.peers[participant] = peer }
    }

    /// The room is joined: from now on handlers should be there soon.
    func joined(at now: Timestamp) { state.withLock { $0.joinedAt = $0.joinedAt ?? now } }

    /// The room has ended: no message comes any more, and those that have come can still be read.
    func end() {
        let inboxes = state.withLock { state -> [TopicInbox] in
            state.hasEnded = true
            state.handlers = [:]
            defer { state.inboxes = [:] }
            return Array(state.inboxes.values)
        }
        for inbox in inboxes { inbox.finish() }
    }

    // MARK: Topics

    /// The messages of a topic; nil: nobody subscribes to it.
    func inbox(of topic: ByteText) -> TopicInbox? { state.withLock { $0.inboxes[topic] } }

    func subscribe(to topic: ByteText) -> TopicSubscription {
        while true {
            let (inbox, hasEnded) = state.withLock { state -> (TopicInbox, Bool) in
                if let inbox = state.inboxes[topic] { return (inbox, false) }
                let inbox = TopicInbox()
                if !state.hasEnded { state.inboxes[topic] = inbox }
                return (inbox, state.hasEnded)
            }
            if hasEnded { inbox.finish() }
            if let reader = inbox.addReader() {
                return TopicSubscription(inbox: inbox, reader: reader) { [weak self] in self?.retire(inbox, topic) }
            }
            // Its last subscription has ended just now.
            retire(inbox, topic)
        }
    }

    private func retire(_ inbox: TopicInbox, _ topic: ByteText) {
        state.withLock { if $0.inboxes[topic] === inbox { $0.inboxes[topic] = nil } }
    }

    // MARK: Methods

    func handler(of method: ByteText) -> Handler? { state.withLock { $0.handlers[method] } }

    /// Until when a request waits for its handler; nil: not at all.
    func graceEnd(now: Timestamp) -> Timestamp? {
        let end = (state.withLock { $0.joinedAt } ?? now) + grace
        return end > now ? end : nil
    }

    /// Registers a handler. Nil: the method has one already.
    func addHandler(
        _ method: ByteText, on executor: (any TaskExecutor)?,
        _ run: @escaping @Sendable (Payload, Bool, ParticipantID) async throws -> (Payload, isText: Bool)
    ) -> UInt64? {
        let id = state.withLock { state -> UInt64? in
            guard state.handlers[method] == nil else { return nil }
            state.lastHandler += 1
            if !state.hasEnded { state.handlers[method] = Handler(id: state.lastHandler, executor: executor, run: run) }
            return state.lastHandler
        }
        if id != nil {
            loop.execute { [self] in
                for peer in peers() { peer.handlerAdded(method) }
            }
        }
        return id
    }

    func removeHandler(_ method: ByteText, _ id: UInt64) {
        state.withLock { if $0.handlers[method]?.id == id { $0.handlers[method] = nil } }
    }
}
