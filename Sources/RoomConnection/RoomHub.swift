internal import RoomCore
internal import RoomProtocol
internal import RoomValues
internal import TransportPluginAPI

/// The state that a room shares with its engine: the current state for queries, the links to send on, the queues.
///
/// SAFETY of `@unchecked Sendable`: `state` is behind its lock, queues are their own; `handler` and `paused` are
/// touched only on the loop.
final class RoomHub: PeerLinkReceiver, @unchecked Sendable {
    /// A link as senders hold it. Others refer to the link itself weakly, which makes each retain of it slow: a message
    /// makes none.
    final class StrongLink: Sendable {
        /// Retained for the life of this object.
        private let unmanaged: Unmanaged<PeerLink>

        init(_ link: PeerLink) { unmanaged = .passRetained(link) }

        deinit { unmanaged.release() }

        var link: PeerLink { unmanaged.takeUnretainedValue() }

        /// As `PeerLink.send`.
        @inline(__always)
        func send(
            _ bytes: RawSpan, isText: Bool, channel: RoomChannel, mayDrop: Bool
        ) -> DeliveryOutbox.Outcome {
            // This object, which keeps the link alive, outlives the call.
            defer { withExtendedLifetime(self) {} }
            return bytes.withUnsafeBytes { bytes in
                unmanaged._withUnsafeGuaranteedRef {
                    $0.send(bytes, isText: isText, channel: channel, mayDrop: mayDrop)
                }
            }
        }
    }

    /// Everybody else in the room.
    struct Receivers {
        /// In the order of the participants' ids.
        var links: [PeerLink] = []
        /// Of `links`, in the same order.
        var ids: [ParticipantID] = []
    }

    private struct State {
        var security: [ParticipantID: PeerSecurity] = [:]
        var references: [ParticipantID: StrongLink] = [:]
        var receivers = Receivers()
        /// The last one that was asked for, and its participant: most senders talk to one at a time.
        var recent: (participant: ParticipantID, reference: StrongLink)?
        var hasJoined = false
        /// The error of whoever sends from now on; nil while the room has not ended.
        var end: RoomError?
    }

    let feed: EventFeed
    /// Bounded by the machine of each link.
    let incomingStreams = Mailbox<RoomIncomingStream>(limit: StreamLimits.untaken)
    /// In the order of `RoomChannel.index`.
    let inboxes: [Mailbox<RoomMessage>]
    /// Topics and requests.
    let exchange: RoomExchange
    let pins = CertificatePins()
    private let loop: TransportLoop
    private let state = Locked(State())
    private var handler: (@Sendable (borrowing BorrowedMessage) -> Void)?
    private var paused: [[PeerLink]] = [[], [], []]

    init(room: String, loop: TransportLoop, receiveLimit: Int, handlerGrace: Duration) {
        self.loop = loop
        feed = EventFeed(room: room)
        exchange = RoomExchange(loop: loop, grace: handlerGrace)
        inboxes = RoomChannel.allCases.map { _ in Mailbox(limit: receiveLimit) }
        for channel in RoomChannel.allCases {
            inboxes[channel.index].setOnDrained { [weak self] in
                guard let self else { return }
                loop.execute { self.resume(channel) }
            }
        }
    }

    // MARK: From anywhere

    func security(of participant: ParticipantID) -> PeerSecurity? { state.withLock { $0.security[participant] } }

    /// Nil: the room is not joined yet.
    func link(to participant: ParticipantID) throws(RoomError) -> PeerLink? { try reference(to: participant)?.link }

    /// Nil: the room is not joined yet.
    func reference(to participant: ParticipantID) throws(RoomError) -> StrongLink? {
        try state.withLock { state throws(RoomError) -> StrongLink? in
            if state.recent?.participant != participant {
                state.recent = state.references[participant].map { (participant, $0) }
            }
            // There is none after the end.
            if let reference = state.recent?.reference { return reference }
            if let end = state.end { throw end }
            guard !state.hasJoined else {
                throw RoomError(.peerNotFound, "\(participant) is not in the room (any more)")
            }
            return nil
        }
    }

    /// Everybody else. Nil: the room is not joined yet.
    func receivers() throws(RoomError) -> Receivers? {
        let (receivers, end) = state.withLock { ($0.hasJoined ? $0.receivers : nil, $0.end) }
        if let end { throw end }
        return receivers
    }

    private static let left = RoomError(.left, "the room was left: join it again to send")

    // MARK: On the loop

    /// The room is joined, and there is a link to everybody in it.
    func joined() {
        exchange.joined(at: loop.turnTime)
        state.withLock { $0.hasJoined = true }
    }

    func setSecurity(_ security: PeerSecurity?, of participant: ParticipantID) {
        state.withLock { $0.security[participant] = security }
    }

    func setLink(_ link: PeerLink?, for participant: ParticipantID) {
        state.withLock { state in
            state.references[participant] = link.map(StrongLink.init)
            state.recent = nil
            let links = state.references.values.map(\.link).sorted { $0.participant < $1.participant }
            state.receivers = Receivers(links: links, ids: links.map(\.participant))
        }
    }

    func emit(_ event: RoomEvent) { feed.emit(event) }

    /// The room has ended: nothing more can be sent, what has come can still be read. A sender that comes after the
    /// refusal of a first join gets the same error as one that waited for it.
    func end(_ reason: EndReason) {
        state.withLock { state in
            let refusal = state.hasJoined ? nil : reason.error
            state.end = refusal ?? Self.left
            state.references = [:]
            state.recent = nil
            state.receivers = Receivers()
        }
        for inbox in inboxes { inbox.finish() }
        incomingStreams.finish()
        exchange.end()
        handler = nil
        paused = [[], [], []]
    }

    func setHandler(_ handler: (@Sendable (borrowing BorrowedMessage) -> Void)?) {
        self.handler = handler
        guard let handler else { return }
        for channel in RoomChannel.allCases {
            for message in inboxes[channel.index].takeNow() {
                message.payload.withUnsafeBytes { bytes in
                    handler(
                        BorrowedMessage(
                            from: message.from, channel: message.channel, isText: message.isText, bytes: bytes))
                }
            }
            resume(channel)
        }
    }

    func deliver(_ message: borrowing BorrowedMessage, link: PeerLink) {
        if let handler {
            handler(message)
            return
        }
        let channel = message.channel
        let inbox = inboxes[channel.index]
        if channel == .lossy, inbox.isFull { return }
        // The fixed part covers what an empty message costs.
        if !inbox.append(message.copy(), weight: message.count + 64), channel != .lossy {
            link.setReceiving(false, channel: channel)
            paused[channel.index].append(link)
        }
    }

    private func resume(_ channel: RoomChannel) {
        let links = paused[channel.index]
        paused[channel.index] = []
        for link in links { link.setReceiving(true, channel: channel) }
    }
}
