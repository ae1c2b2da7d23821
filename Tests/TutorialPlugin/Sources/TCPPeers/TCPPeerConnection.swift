import Glibc
import TransportPluginAPI

/// One end of a connection.
///
/// SAFETY of `@unchecked Sendable`: like every peer connection, touched only on its transport's loop.
public final class TCPPeerConnection: PeerConnection, @unchecked Sendable {
    private enum Role { case undecided, offerer, answerer }

    let loop: TransportLoop
    let configuration: PeerConnectionConfiguration
    private var handler: (any PeerConnectionHandler)?
    private var onClosed: ((TCPPeerConnection) -> Void)?

    // Negotiation
    private var role = Role.undecided
    private var local: PeerDescription?
    private var remote: PeerDescription?
    private var listener: PeerListener?
    /// Whether the other side has shown our token.
    private var hasHello = false

    // The way to the other side
    private(set) var link: PeerLink?
    private(set) var isConnected = false
    private(set) var isClosed = false
    private var events: [PeerConnectionEvent] = []
    private var isDrainScheduled = false

    var channels: [ChannelKey: PeerChannel] = [:]
    var channelsByID: [ChannelID: PeerChannel] = [:]
    /// Channels that both sides agreed on, and that only the other side has opened so far.
    var agreedByRemote: Set<UInt32> = []
    var nextNumber: UInt32 = 1
    var nextRemoteNumber: UInt32 = 1
    var nextID = 1
    var counters = PeerConnectionStatistics()

    init(
        _ loop: TransportLoop, _ configuration: PeerConnectionConfiguration, _ handler: any PeerConnectionHandler,
        onClosed: @escaping (TCPPeerConnection) -> Void
    ) {
        self.loop = loop
        self.configuration = configuration
        self.handler = handler
        self.onClosed = onClosed
    }

    // MARK: Negotiation

    public func offer() throws(TransportError) {
        try checkOpen()
        guard role == .undecided else { throw Self.invalidState("an offer was made or taken before") }
        let listener = try PeerListener(loop, configuration) { [unowned self] link, token in accepted(link, token) }
        self.listener = listener
        role = .offerer
        describe(.offer, try PeerDescription(port: listener.port, maximumMessageSize: configuration.maximumMessageSize))
    }

    public func setRemoteDescription(_ description: SessionDescription) throws(TransportError) {
        try checkOpen()
        let parsed = try PeerDescription(parsing: description.text)
        switch description.kind {
        case .offer:
            guard role == .undecided else { throw Self.invalidState("an offer came, and there was one before") }
            guard parsed.port != 0 else { throw TransportError(.protocolViolation, "an offer without a port came") }
            let answer = try PeerDescription(port: 0, maximumMessageSize: configuration.maximumMessageSize)
            let link = try PeerLink(connectingTo: parsed.port, loop, configuration)
            role = .answerer
            remote = parsed
            describe(.answer, answer)
            use(link)
            link.send(.hello(token: parsed.token))
        case .answer:
            guard role == .offerer, remote == nil else {
                throw Self.invalidState("an answer came that fits no open offer")
            }
            remote = parsed
            // The other side may have connected before its answer arrived.
            if hasHello { link?.send(.hello(token: parsed.token)) }
            connectIfComplete()
        }
    }

    private func describe(_ kind: SessionDescription.Kind, _ description: PeerDescription) {
        local = description
        emit(.localDescription(SessionDescription(kind: kind, text: description.text)))
        emit(.state(.connecting))
        emit(.endOfLocalCandidates(usernameFragment: String(description.token.prefix(8))))
    }

    /// Refuses every candidate: there are none, since the description has everything.
    public func addRemoteCandidate(_ candidate: PeerCandidate) throws(TransportError) {
        try checkOpen()
        guard candidate.text.isEmpty else {
            throw TransportError(.protocolViolation, "a candidate came, and this transport has none")
        }
    }

    public func restart(iceServers: [ICEServer]) throws(TransportError) {
        throw TransportError(.notSupported, "a TCP connection between peers has one path only")
    }

    public func updateICEServers(_ servers: [ICEServer]) {}

    /// Takes over a connection that showed a token. Returns whether the token was right.
    private func accepted(_ link: PeerLink, _ token: String) -> Bool {
        guard !isClosed, !hasHello, token == local?.token else { return false }
        listener?.close()
        listener = nil
        hasHello = true
        use(link)
        if let remote { link.send(.hello(token: remote.token)) }
        connectIfComplete()
        return true
    }

    private func use(_ link: PeerLink) {
        self.link = link
        link.start { [unowned self] frame throws(TransportError) in
            try take(frame)
        } onEnd: { [unowned self] error in
            end(error)
        } onRoom: { [unowned self] in
            pump()
        }
    }

    private func connectIfComplete() {
        guard hasHello, remote != nil, !isConnected, !isClosed else { return }
        isConnected = true
        emit(.pathChanged(PeerPath(local: .none, remote: .none, summary: "tcp 127.0.0.1")))
        emit(.state(.connected))
        for channel in channels.values.sorted(by: { $0.id.rawValue < $1.id.rawValue }) { announce(channel) }
        pump()
    }

    private func take(_ frame: PeerFrame) throws(TransportError) {
        counters.lastEvidence = loop.turnTime
        switch frame {
        case .hello(let token):
            guard role == .answerer, !hasHello, token == local?.token else {
                throw TransportError(.protocolViolation, "the other side showed a token that is not ours")
            }
            hasHello = true
            connectIfComplete()
        case .goodbye: end(nil)
        case .probe: link?.send(.alive)
        case .alive: emit(.liveness(.alive))
        default:
            // A side that has shown our token, and has seen ours, may use channels.
            guard hasHello, role == .answerer || remote != nil else {
                throw TransportError(.protocolViolation, "a frame came before the connection was made")
            }
            try takeChannelFrame(frame)
        }
    }

    // MARK: The rest of the contract

    public func probe() { if isConnected { link?.send(.probe) } }

    public var maximumMessageSize: Int {
        min(configuration.maximumMessageSize, remote?.maximumMessageSize ?? configuration.maximumMessageSize)
    }

    public var statistics: PeerConnectionStatistics { counters }

    public func close() {
        guard !isClosed else { return }
        link?.sendLast(.goodbye)
        end(nil)
    }

    func end(_ error: TransportError?) {
        guard !isClosed else { return }
        isClosed = true
        isConnected = false
        listener?.close()
        listener = nil
        link?.close()
        for id in channelsByID.keys.sorted(by: { $0.rawValue < $1.rawValue }) { emit(.channelClosed(id)) }
        channels = [:]
        channelsByID = [:]
        emit(.closed(error))
    }

    func checkOpen() throws(TransportError) {
        loop.preconditionIsCurrent()
        if isClosed { throw TransportError(.closed, "the connection is closed") }
    }

    static func invalidState(_ what: String) -> TransportError { TransportError(.invalidState, what) }

    // MARK: Events

    /// Emits an event in a later turn of the loop, or before the next message: no method calls the handler before it
    /// returns.
    func emit(_ event: PeerConnectionEvent) {
        events.append(event)
        guard !isDrainScheduled else { return }
        isDrainScheduled = true
        loop.execute { [self] in drain() }
    }

    func drain() {
        isDrainScheduled = false
        while !events.isEmpty {
            let event = events.removeFirst()
            handler?.peerConnection(didEmit: event)
            if case .closed = event {
                handler = nil
                onClosed?(self)
                onClosed = nil
            }
        }
    }

    /// Delivers the messages that the reader has room for. Never called from inside a method of the API.
    func deliver(_ channel: PeerChannel) {
        drain()
        var taken = 0
        while !isClosed, let (payload, isText) = channel.nextUnread() {
            counters.messagesReceived += 1
            counters.bytesReceived += UInt64(payload.count)
            taken += payload.count + PeerChannel.overhead
            payload.withUnsafeBytes { handler?.peerConnection(didReceive: $0, isText: isText, on: channel.id) }
            drain()
        }
        guard !isClosed else { return }
        if taken > 0 { link?.send(.taken(channel.key, taken)) }
        finishIfDone(channel)
    }
}
