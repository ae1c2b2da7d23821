internal import RoomCore
internal import RoomProtocol
internal import TransportPluginAPI

/// Makes, feeds and closes peer connections as the room's machine says, and tells it what comes of them. It owns the
/// links, which outlive the connections; payloads go from connection to link and past it.
///
/// SAFETY of `@unchecked Sendable`: all state is touched only on the loop.
final class PeerManager<Transport: PeerTransport>: @unchecked Sendable {
    typealias Report = (RoomMachine.Event) -> Void

    private struct Entry {
        let id: PeerConnectionID
        let connection: Transport.Connection
        /// Of the transport. The machine hears that it is `connected` when the channel of `.reliable` is open, too.
        var state = PeerConnectionState.new
        /// The machine's network was missing when something was last asked of the connection.
        var noNetwork: TransportError?
    }

    private let transport: Transport
    private let hub: RoomHub
    private let icePolicy: ICEPolicy
    private let limits: PeerLink.Limits
    private let metrics: RoomMetrics
    private var connections: [ParticipantID: Entry] = [:]
    private var links: [ParticipantID: PeerLink] = [:]
    private var roster: [ParticipantID: RoomParticipant] = [:]
    private var memory = DeliveryMemory()
    private var ownSession: SessionID?
    private var isClosing: [ObjectIdentifier: PeerConnectionObserver] = [:]
    private var onAllClosed: [() -> Void] = []
    var report: Report = { _ in }

    init(transport: Transport, hub: RoomHub, configuration: RoomConfiguration, metrics: RoomMetrics) {
        self.transport = transport
        self.hub = hub
        self.metrics = metrics
        icePolicy = configuration.icePolicy
        limits = PeerLink.Limits(
            send: configuration.sendLimit, message: configuration.maximumMessageSize,
            outgoing: configuration.maximumMessageSize, acknowledgement: configuration.recovery.stall)
    }

    // MARK: Who is there

    /// Our session: when it is another one than before, delivery starts afresh with everybody.
    func joined(session: SessionID) {
        guard ownSession != session else { return }
        ownSession = session
        for participant in roster.values { makeLink(participant) }
    }

    func peerJoined(_ participant: RoomParticipant) {
        roster[participant.id] = participant
        if links[participant.id]?.session != participant.session { makeLink(participant) }
    }

    func peerChanged(_ participant: RoomParticipant) { roster[participant.id] = participant }

    func peerLeft(_ participant: ParticipantID) {
        roster[participant] = nil
        dropLink(participant)
        hub.setLink(nil, for: participant)
        hub.setSecurity(nil, of: participant)
        hub.pins.remove(participant)
    }

    private func makeLink(_ participant: RoomParticipant) {
        dropLink(participant.id)
        guard let ownSession else { return }
        let streams = memory.take(session: ownSession, peerSession: participant.session)
        var limits = limits
        limits.outgoing = min(limits.outgoing, participant.maximumMessageSize ?? limits.outgoing)
        let link = PeerLink(
            participant: participant.id, streams: streams, level: DeliveryLevel(of: participant),
            loop: transport.loop, limits: limits, receiver: hub, onLossyDropped: metrics.lossyDropped)
        if link.level == .exchange {
            link.streams = PeerStreams(link: link, record: streams.record) { [hub] stream in
                guard !hub.incomingStreams.isFull else { return false }
                hub.incomingStreams.append(stream, weight: 1)
                return true
            }
        }
        link.onHint = { [weak self, weak link] hint in
            guard let self, let id = connections[participant.id]?.id else { return }
            let fact: PeerFact =
                switch hint {
                case .serverIsBack: .serverIsBack
                case .leaving: .leaving
                case .unheard: .unheard
                }
            // Not from inside the transport's call: who leaves has its connection closed.
            transport.loop.execute { [weak self, weak link] in
                guard let self, let link, links[participant.id] === link else { return }
                report(.peer(participant.id, id, fact))
            }
        }
        link.onData = { [weak self, weak link, loop = transport.loop] in
            // Not from inside the transport's call.
            loop.execute { [weak self, weak link] in
                guard let self, let link, links[participant.id] === link, let id = connections[participant.id]?.id
                else { return }
                report(.peer(participant.id, id, .dataArrived))
            }
        }
        link.onUnusable = { [weak self, weak link] in
            guard let self, let link, links[participant.id] === link, let id = connections[participant.id]?.id else {
                return
            }
            if !link.isReady { report(.peer(participant.id, id, .channelClosed)) }
        }
        link.onAcknowledgement = { [weak self] isMissing in
            guard let self, let id = connections[participant.id]?.id else { return }
            report(.peer(participant.id, id, isMissing ? .unacknowledged : .acknowledged))
        }
        let exchange = PeerExchange(link, room: hub.exchange, record: streams.exchange)
        link.onExchange = { exchange.received($0, on: $1) }
        hub.exchange.setPeer(exchange, for: participant.id)
        links[participant.id] = link
        hub.setLink(link, for: participant.id)
    }

    private func dropLink(_ participant: ParticipantID) {
        guard let link = links.removeValue(forKey: participant) else { return }
        let lost = link.close()
        link.onExchange = { _, _ in }
        let record = hub.exchange.peer(participant)?.close()
        hub.exchange.setPeer(nil, for: participant)
        var streams = link.delivery.streams
        if let record { streams.exchange = record }
        if let record = link.streams?.close() { streams.record = record }
        memory.store(streams)
        if lost > 0 { hub.emit(.undelivered(participant, count: lost)) }
    }

    /// A participant's status has changed: what was given up while its connection was broken is told once it works
    /// again.
    func statusChanged(_ participant: ParticipantID, _ status: PeerStatus) {
        guard let lost = links[participant]?.statusChanged(status), lost > 0 else { return }
        hub.emit(.undelivered(participant, count: lost))
    }

    // MARK: The machine's commands

    func perform(_ command: PeerCommand, _ participant: ParticipantID, _ id: PeerConnectionID) {
        if case .create(let isOfferer, let iceServers) = command {
            create(participant, id, isOfferer: isOfferer, iceServers)
            return
        }
        guard let entry = connections[participant], entry.id == id else { return }
        let connection = entry.connection
        do throws(TransportError) {
            switch command {
            case .create: break
            case .close:
                connections[participant] = nil
                links[participant]?.detach()
                connection.close()
            case .makeOffer: try connection.offer()
            case .setRemoteDescription(let description): try connection.setRemoteDescription(description)
            case .addRemoteCandidate(let candidate): try? connection.addRemoteCandidate(candidate)
            case .restartPath(let iceServers): try connection.restart(iceServers: iceServers)
            case .updateICEServers(let iceServers): connection.updateICEServers(iceServers)
            case .probe: connection.probe()
            case .diagnose:
                let noNetwork = entry.noNetwork.map { PeerStall(PeerFailure($0)) }
                let noChannel = entry.state == .connected && links[participant]?.isReady == false
                report(
                    .peer(
                        participant, id,
                        .diagnosed(connection.stall ?? noNetwork ?? (noChannel ? .channelNotOpen : nil))))
            case .sendHint(let hint):
                // Without it, the other side would count what it has sent as undelivered.
                if hint == .leaving { links[participant]?.sendAcks() }
                links[participant]?.send(hint)
            }
            if case .restartPath = command { connections[participant]?.noNetwork = nil }
        } catch {
            // This machine has no network at this moment. The ladder tries again when it has one; a new connection
            // would not help.
            if error.code == .unreachable {
                connections[participant]?.noNetwork = error
                return
            }
            if error.code == .resourceExhausted {
                report(.peer(participant, id, .notPrepared(PeerFailure(error))))
                return
            }
            var failure = PeerFailure(error)
            if case .setRemoteDescription = command {
                failure.isRefusal = [.protocolViolation, .notSupported].contains(error.code)
            }
            report(.peer(participant, id, .descriptionRefused(failure)))
        }
    }

    private func create(
        _ participant: ParticipantID, _ id: PeerConnectionID, isOfferer: Bool, _ iceServers: [ICEServer]
    ) {
        if let old = connections.removeValue(forKey: participant) {
            links[participant]?.detach()
            old.connection.close()
        }
        var configuration = PeerConnectionConfiguration()
        configuration.icePolicy = icePolicy
        configuration.iceServers = iceServers
        configuration.label = participant.rawValue
        let observer = PeerConnectionObserver()
        isClosing[ObjectIdentifier(observer)] = observer
        observer.onEvent = { [weak self, weak observer] event in
            guard let self, let observer else { return }
            self.emitted(event, participant, id, observer)
        }
        observer.onViolation = { [weak self] in
            self?.end(participant, id, "\(participant) broke the delivery protocol")
        }
        do throws(TransportError) {
            let connection = try transport.makeConnection(configuration, handler: observer)
            connections[participant] = Entry(id: id, connection: connection)
            if let link = links[participant] {
                observer.link = link
                try link.attach(connection, opensChannels: isOfferer)
            }
        } catch {
            if connections[participant] == nil { isClosing[ObjectIdentifier(observer)] = nil }
            report(.peer(participant, id, .closed(PeerFailure(error))))
        }
    }

    // MARK: What connections tell

    private func emitted(
        _ event: PeerConnectionEvent, _ participant: ParticipantID, _ id: PeerConnectionID,
        _ observer: PeerConnectionObserver
    ) {
        if case .closed = event {
            observer.onEvent = { _ in }
            isClosing[ObjectIdentifier(observer)] = nil
        }
        if let entry = connections[participant], entry.id == id {
            tell(event, participant, id, observer)
        }
        if isClosing.isEmpty, !onAllClosed.isEmpty {
            let waiting = onAllClosed
            onAllClosed = []
            for resume in waiting { resume() }
        }
    }

    private func tell(
        _ event: PeerConnectionEvent, _ participant: ParticipantID, _ id: PeerConnectionID,
        _ observer: PeerConnectionObserver
    ) {
        func fact(_ fact: PeerFact) { report(.peer(participant, id, fact)) }
        switch event {
        case .localDescription(let description): fact(.localDescription(description))
        case .localCandidate(let candidate): fact(.localCandidate(candidate))
        case .endOfLocalCandidates(let fragment): fact(.endOfLocalCandidates(usernameFragment: fragment))
        case .state(let state):
            connections[participant]?.state = state
            guard state == .connected else { return fact(.state(state)) }
            let security = connections[participant]?.connection.security
            hub.setSecurity(security, of: participant)
            guard hub.pins.accept(security, of: participant) else {
                return end(participant, id, "\(participant) has another certificate than it had proved")
            }
            guard let link = observer.link else { return fact(.state(state)) }
            link.connected()
            if link.isReady { fact(.state(.connected)) }
        case .liveness(let liveness): fact(.liveness(liveness))
        case .pathChecked: fact(.checked)
        case .gatheringFailed(let error): fact(.gatheringFailed(PeerFailure(error)))
        case .pathChanged(let path): fact(.pathChanged(path))
        case .channelOpened(let channel, let parameters, _):
            guard let link = observer.link else { return }
            let wasReady = link.isReady
            link.channelOpened(channel, parameters)
            if !wasReady, link.isReady, connections[participant]?.state == .connected { fact(.state(.connected)) }
        case .channelWritable(let channel): observer.link?.channelWritable(channel)
        case .channelClosed(let channel):
            guard let link = observer.link else { return }
            link.channelClosed(channel)
            if !link.isReady { fact(.channelClosed) }
        case .closed(let error):
            connections[participant] = nil
            observer.link?.detach()
            // It is no outage: the end comes right behind the word, and would overtake it.
            if error == nil, observer.link?.delivery.isLeaving == true { fact(.leaving) }
            fact(.closed(error.map(PeerFailure.init)))
        }
    }

    /// Ends a connection that must not go on, whatever the transport thinks of it.
    private func end(_ participant: ParticipantID, _ id: PeerConnectionID, _ reason: String) {
        guard let entry = connections[participant], entry.id == id else { return }
        connections[participant] = nil
        links[participant]?.detach()
        // Not from inside the transport's call.
        transport.loop.execute { entry.connection.close() }
        report(.peer(participant, id, .closed(PeerFailure(reason))))
    }

    // MARK: The end

    /// Closes everything; `done` is called when the last connection is closed, on the loop.
    func closeAll(_ done: @escaping () -> Void) {
        for participant in links.keys.sorted() { dropLink(participant) }
        let open = connections
        connections = [:]
        for entry in open.values { entry.connection.close() }
        if isClosing.isEmpty { done() } else { onAllClosed.append(done) }
    }

    func statistics() -> [ParticipantID: PeerConnectionStatistics] { connections.mapValues(\.connection.statistics) }
}

extension PeerStall {
    fileprivate static let channelNotOpen = PeerStall(
        .channelNotOpen,
        "the connection is up, but the other side has not opened the channel for messages, or closes it",
        cure: "check that its program opens the room's channels and leaves them open")
}

extension PeerFailure {
    fileprivate init(_ error: TransportError) { self.init(error.message, code: error.code) }
}

/// Stands between one peer connection and the manager: events to the manager, messages straight to the link.
///
/// SAFETY of `@unchecked Sendable`: touched only on the loop.
final class PeerConnectionObserver: PeerConnectionHandler, @unchecked Sendable {
    var link: PeerLink?
    var onEvent: (PeerConnectionEvent) -> Void = { _ in }
    var onViolation: () -> Void = {}

    func peerConnection(didEmit event: PeerConnectionEvent) { onEvent(event) }

    func peerConnection(didReceive bytes: UnsafeRawBufferPointer, isText: Bool, on channel: ChannelID) {
        guard let link else { return }
        if !link.received(bytes, isText: isText, on: channel) {
            self.link = nil
            onViolation()
        }
    }
}
