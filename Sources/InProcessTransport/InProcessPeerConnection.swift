public import TransportPluginAPI

/// One end of an in-process peer connection.
// SAFETY: like every peer connection, touched only on its network's loop.
public final class InProcessPeerConnection: PeerConnection, @unchecked Sendable {
    let network: InProcessPeerNetwork
    private let configuration: PeerConnectionConfiguration
    private var handler: (any PeerConnectionHandler)?
    private var id: UInt64 = 0
    var onClosed: (() -> Void)?

    // Negotiation
    private enum Role { case undecided, offerer, answerer }
    private var role = Role.undecided
    private var generation = 0
    /// Whether an offer, made by `offer` or `restart`, has no answer yet.
    private var hasOpenOffer = false
    private var remote: InProcessDescription?
    private var remoteCandidates: Set<String> = []

    // Path
    private(set) var path: InProcessPath?
    private(set) weak var peer: InProcessPeerConnection?
    private var state = PeerConnectionState.new
    private var isClosed = false

    // Channels
    private var channels: [ChannelID: InProcessChannel] = [:]
    /// Channels of a connection that was closed here, with the messages that they had sent.
    private var leftovers: [InProcessChannel] = []
    private var nextChannel = 0
    private var counters = PeerConnectionStatistics()

    init(
        network: InProcessPeerNetwork, configuration: PeerConnectionConfiguration, handler: any PeerConnectionHandler
    ) {
        self.network = network
        self.configuration = configuration
        self.handler = handler
        id = network.add(self)
    }

    deinit { network.loop.execute { [network, id] in network.remove(id) } }

    var label: String { configuration.label }

    // MARK: Negotiation

    public func offer() throws(TransportError) {
        try checkOpen()
        guard role == .undecided else { throw invalidState("an offer was made or accepted before: use restart") }
        role = .offerer
        beginGeneration(.offer)
    }

    public func restart(iceServers: [ICEServer]) throws(TransportError) {
        try checkOpen()
        guard role == .offerer, remote != nil, !hasOpenOffer else {
            throw invalidState("only the offerer restarts, after the last negotiation is complete")
        }
        generation += 1
        beginGeneration(.offer)
    }

    public func updateICEServers(_ servers: [ICEServer]) {}

    public func setRemoteDescription(_ description: SessionDescription) throws(TransportError) {
        try checkOpen()
        let parsed = try InProcessDescription(parsing: description.text)
        switch description.kind {
        case .offer:
            guard role != .offerer else { throw invalidState("the offerer got an offer") }
            if let remote {
                guard parsed.connection == remote.connection, parsed.generation > remote.generation else {
                    throw invalidState("the offer is old, or for another connection")
                }
            }
            role = .answerer
            remote = parsed
            generation = parsed.generation
            beginGeneration(.answer)
        case .answer:
            guard role == .offerer, hasOpenOffer, parsed.generation == generation,
                remote.map({ $0.connection == parsed.connection }) ?? true
            else { throw invalidState("the answer matches no open offer") }
            hasOpenOffer = false
            remote = parsed
        }
        completeNegotiation()
    }

    public func addRemoteCandidate(_ candidate: PeerCandidate) throws(TransportError) {
        try checkOpen()
        guard !candidate.text.isEmpty else { return }
        guard candidate.text.hasPrefix("in-process "), candidate.text.utf8.count <= 128 else {
            throw TransportError(.protocolViolation, "this is not a candidate of an in-process connection")
        }
        let fragment = candidate.usernameFragment ?? String(candidate.text.dropFirst(11))
        if remoteCandidates.count < 64 { remoteCandidates.insert(fragment) }
        completeNegotiation()
    }

    private func beginGeneration(_ kind: SessionDescription.Kind) {
        hasOpenOffer = kind == .offer
        let description = InProcessDescription(
            connection: id, generation: generation, maximumMessageSize: configuration.maximumMessageSize)
        let fragment = description.usernameFragment
        emit(.localDescription(SessionDescription(kind: kind, text: description.text)))
        if state == .new { change(to: .connecting) }
        emit(.localCandidate(PeerCandidate(text: "in-process \(fragment)", mediaID: "0", usernameFragment: fragment)))
        emit(.endOfLocalCandidates(usernameFragment: fragment))
    }

    /// Puts the generation's path under both ends once both know each other and one has a candidate of the other.
    func completeNegotiation() {
        guard !isClosed, let remote, !hasOpenOffer, path?.generation != generation,
            let other = network.connection(remote.connection), other !== self, !other.isClosed, !other.hasOpenOffer,
            other.remote?.connection == id, other.generation == generation, !network.cutsNewPaths,
            remoteCandidates.contains(remote.usernameFragment)
                || other.remote.map({ other.remoteCandidates.contains($0.usernameFragment) }) ?? false
        else { return }
        let new = InProcessPath(generation: generation, isUp: true)
        for (end, partner) in [(self, other), (other, self)] {
            end.peer = partner
            end.path = new
            end.remoteCandidates = []
            end.emit(
                .pathChanged(PeerPath(local: .host, remote: .host, summary: "in-process \(end.id) → \(partner.id)")))
        }
        pathDidChange()
        other.pathDidChange()
    }

    func pathDidChange() {
        guard !isClosed, let path else { return }
        if path.isUp, peer?.isClosed == false {
            if state == .disconnected { emit(.liveness(.alive)) }
            change(to: .connected)
            for channel in channels.values.sorted(by: { $0.id.rawValue < $1.id.rawValue }) { settle(channel) }
        } else if state == .connected {
            emit(.liveness(.suspect(since: network.loop.turnTime)))
            change(to: .disconnected)
        }
    }

    private var isPathUp: Bool { !isClosed && path?.isUp == true && peer?.isClosed == false }

    // MARK: Channels

    public func openChannel(_ parameters: ChannelParameters) throws(TransportError) -> ChannelID {
        try checkOpen()
        guard parameters.label.utf8.count <= 65_535, parameters.protocol.utf8.count <= 65_535 else {
            throw TransportError(.invalidArgument, "a channel's label and protocol may have at most 65,535 bytes")
        }
        guard channels.count < 1024 else {
            throw TransportError(.resourceExhausted, "the connection has 1,024 channels")
        }
        if let wanted = parameters.negotiatedID,
            channels.values.contains(where: { $0.parameters.negotiatedID == wanted })
        {
            throw TransportError(.resourceExhausted, "channel id \(wanted) is taken")
        }
        let channel = makeChannel(parameters)
        settle(channel)
        return channel.id
    }

    private func makeChannel(_ parameters: ChannelParameters) -> InProcessChannel {
        nextChannel += 1
        let channel = InProcessChannel(id: ChannelID(rawValue: nextChannel), parameters: parameters)
        channels[channel.id] = channel
        return channel
    }

    /// Advances a channel as far as the path allows now: opens it, moves its messages, ends it.
    private func settle(_ channel: InProcessChannel) {
        guard isPathUp, let peer else { return }
        if channel.partner == nil, !channel.isEnded {
            if let wanted = channel.parameters.negotiatedID {
                guard let match = peer.channels.values.first(where: { $0.parameters.negotiatedID == wanted }) else {
                    return
                }
                link(channel, match, of: peer)
                peer.opened(match, isRemote: false)
            } else {
                let match = peer.makeChannel(channel.parameters)
                link(channel, match, of: peer)
                peer.opened(match, isRemote: true)
            }
            opened(channel, isRemote: false)
        }
        schedulePump(channel)
    }

    private func link(_ channel: InProcessChannel, _ match: InProcessChannel, of peer: InProcessPeerConnection) {
        channel.partner = match
        match.partner = channel
    }

    private func opened(_ channel: InProcessChannel, isRemote: Bool) {
        channel.isOpen = true
        emit(.channelOpened(channel.id, channel.parameters, isRemote: isRemote))
    }

    public func send(_ bytes: UnsafeRawBufferPointer, isText: Bool, on channel: ChannelID) throws(TransportError) {
        try checkOpen()
        guard let channel = channels[channel], !channel.isEnded else {
            throw TransportError(.closed, "the channel is closed")
        }
        guard channel.isOpen else { throw invalidState("the channel is not open yet: wait for channelOpened") }
        guard bytes.count <= maximumMessageSize else {
            throw TransportError(
                .messageTooLarge, "a message of \(bytes.count) bytes is over the maximum of \(maximumMessageSize)")
        }
        let cost = bytes.count + InProcessChannel.overhead
        guard channel.buffered == 0 || channel.buffered + cost <= max(configuration.sendHighWaterMark, 1) else {
            channel.mustReportWritable = true
            throw TransportError(
                .wouldBlock, "the channel's buffer is full: wait for channelWritable", isRetryable: true)
        }
        channel.queue.append((Payload(copying: bytes), isText))
        channel.buffered += cost
        counters.messagesSent += 1
        counters.bytesSent += UInt64(bytes.count)
        schedulePump(channel)
    }

    private func schedulePump(_ channel: InProcessChannel) {
        guard !channel.isPumpScheduled else { return }
        channel.isPumpScheduled = true
        network.loop.execute { [weak self, id = channel.id] in
            guard let self, let channel = channels[id] else { return }
            channel.isPumpScheduled = false
            pump(channel)
        }
    }

    /// Delivers the messages that the other end reads, then ends the channel if closing was requested.
    private func pump(_ channel: InProcessChannel) {
        while isPathUp, let peer, let match = channel.partner, match.isReceiving, let (payload, isText) = channel.next()
        {
            peer.counters.messagesReceived += 1
            peer.counters.bytesReceived += UInt64(payload.count)
            peer.counters.lastEvidence = network.loop.turnTime
            counters.lastEvidence = network.loop.turnTime
            if !match.isEnded {
                payload.withUnsafeBytes { bytes in
                    peer.handler?.peerConnection(didReceive: bytes, isText: isText, on: match.id)
                }
            }
        }
        if channel.mustReportWritable, channel.buffered <= configuration.sendHighWaterMark / 2 {
            channel.mustReportWritable = false
            emit(.channelWritable(channel.id))
        }
        if channel.isFlushing, channel.buffered == 0 {
            channel.isFlushing = false
            emit(.channelWritable(channel.id))
        }
        // Once the other end has closed the channel, nobody is left to read the rest.
        if channel.isEnded, isPathUp, channel.queue.isEmpty || channel.partner == nil { finish(channel) }
    }

    private func finish(_ channel: InProcessChannel) {
        guard channels.removeValue(forKey: channel.id) != nil else { return }
        emit(.channelClosed(channel.id))
        if let peer, let match = channel.partner, peer.channels[match.id] != nil {
            match.isEnded = true
            peer.schedulePump(match)
        }
    }

    public func bufferedAmount(of channel: ChannelID) -> Int { channels[channel]?.buffered ?? 0 }

    public func notifyWhenAcknowledged(_ channel: ChannelID) {
        guard let channel = channels[channel], channel.isOpen else { return }
        channel.isFlushing = true
        schedulePump(channel)
    }

    public func setReceiving(_ isReceiving: Bool, on channel: ChannelID) {
        guard let channel = channels[channel] else { return }
        channel.isReceiving = isReceiving
        if isReceiving, let peer, let match = channel.partner { peer.schedulePump(match) }
    }

    public func closeChannel(_ channel: ChannelID) {
        guard let channel = channels[channel], !channel.isEnded else { return }
        channel.isEnded = true
        if channel.partner == nil { finish(channel) } else { schedulePump(channel) }
    }

    func closeChannels(labelled label: String) {
        for channel in channels.values.filter({ $0.parameters.label == label }) { closeChannel(channel.id) }
    }

    // MARK: The rest

    public func probe() {
        guard isPathUp else { return }
        counters.lastEvidence = network.loop.turnTime
        emit(.liveness(.alive))
    }

    public var maximumMessageSize: Int {
        min(configuration.maximumMessageSize, remote?.maximumMessageSize ?? configuration.maximumMessageSize)
    }

    public var statistics: PeerConnectionStatistics { counters }

    public var stall: PeerStall? {
        guard !isPathUp, let remote, !hasOpenOffer else { return nil }
        if path != nil || network.cutsNewPaths {
            return PeerStall(
                .checksUnanswered, "the in-process network is cut between the two ends", cure: "restore the network")
        }
        guard !remoteCandidates.contains(remote.usernameFragment) else { return nil }
        return PeerStall(
            .noRemoteCandidates, "no candidate of the other end has arrived", cure: "pass its candidates to this end")
    }

    public func close() {
        guard !isClosed else { return }
        // The other side is notified only while there is a path, and after the messages that were sent.
        let peer = isPathUp ? peer : nil
        leftovers = channels.values.filter { !$0.queue.isEmpty }.sorted { $0.id.rawValue < $1.id.rawValue }
        end()
        network.loop.execute { [self] in
            for channel in leftovers { peer?.receiveRemaining(of: channel) }
            leftovers = []
            peer?.end()
        }
    }

    /// Takes over the messages that the other side sent before it closed, as far as they are read.
    private func receiveRemaining(of channel: InProcessChannel) {
        while !isClosed, let match = channel.partner, match.isReceiving, !match.isEnded,
            let (payload, isText) = channel.next()
        {
            counters.messagesReceived += 1
            counters.bytesReceived += UInt64(payload.count)
            payload.withUnsafeBytes { handler?.peerConnection(didReceive: $0, isText: isText, on: match.id) }
        }
    }

    func fail(_ error: TransportError) {
        let peer = peer
        end(error)
        peer?.end(error)
    }

    private func end(_ error: TransportError? = nil) {
        guard !isClosed else { return }
        isClosed = true
        for id in channels.keys.sorted(by: { $0.rawValue < $1.rawValue }) { emit(.channelClosed(id)) }
        channels = [:]
        network.remove(id)
        emit(.closed(error))
        // After the events above, which need the handler.
        network.loop.execute { [self] in
            handler = nil
            onClosed?()
            onClosed = nil
        }
    }

    private func change(to new: PeerConnectionState) {
        guard state != new else { return }
        state = new
        emit(.state(new))
    }

    /// Emits the event in a later turn of the loop, since no method may call the handler before it returns.
    private func emit(_ event: PeerConnectionEvent) {
        network.loop.execute { [self] in handler?.peerConnection(didEmit: event) }
    }

    private func checkOpen() throws(TransportError) {
        network.loop.preconditionIsCurrent()
        if isClosed { throw TransportError(.closed, "the connection is closed") }
    }

    private func invalidState(_ reason: String) -> TransportError { TransportError(.invalidState, reason) }
}
