internal import TransportPluginAPI

/// The events and messages of one connection, for tasks to wait on.
final class PeerLog: PeerConnectionHandler, Sendable {
    struct Message: Sendable, Equatable {
        var payload: Payload
        var isText: Bool
        var channel: ChannelID
    }
    struct State: Sendable {
        var states: [PeerConnectionState] = []
        var opened: [(id: ChannelID, parameters: ChannelParameters, isRemote: Bool)] = []
        var closedChannels: [ChannelID] = []
        var writable: [ChannelID] = []
        var messages: [Message] = []
        var received = 0
        var paths = 0
        var hasClosed = false
        var closeError: TransportError?
        var eventsAfterClose = 0
        var fragments: Set<String> = []
        var events = 0
        /// Messages on channels that were not reported as open before.
        var earlyMessages = 0
        var suspectCount = 0
        /// Evidence of life after a suspicion.
        var aliveCount = 0
    }
    /// Called on the loop when a channel has opened, before the next event.
    let whenOpened = Locked<(@Sendable (ChannelID) -> Void)?>(nil)
    let state = Locked(State())
    /// Passes descriptions and candidates to the other side. Called on the connection's loop.
    let forward: @Sendable (PeerConnectionEvent) -> Void
    let keepsMessages: Bool

    init(keepsMessages: Bool = true, forward: @escaping @Sendable (PeerConnectionEvent) -> Void) {
        self.keepsMessages = keepsMessages
        self.forward = forward
    }

    var now: State { state.withLock { $0 } }

    func peerConnection(didEmit event: PeerConnectionEvent) {
        state.withLock { state in
            if state.hasClosed { state.eventsAfterClose += 1 }
            state.events += 1
            switch event {
            case .state(let new): state.states.append(new)
            case .pathChanged: state.paths += 1
            case .channelOpened(let id, let parameters, let isRemote): state.opened.append((id, parameters, isRemote))
            case .channelWritable(let id): state.writable.append(id)
            case .channelClosed(let id): state.closedChannels.append(id)
            case .closed(let error):
                state.hasClosed = true
                state.closeError = error
            case .endOfLocalCandidates(let fragment): state.fragments.insert(fragment)
            case .liveness(.suspect): state.suspectCount += 1
            case .liveness(.alive): state.aliveCount += 1
            case .pathChecked, .gatheringFailed, .localDescription, .localCandidate: break
            }
        }
        if case .channelOpened(let id, _, _) = event { whenOpened.withLock { $0 }?(id) }
        forward(event)
    }

    func peerConnection(didReceive bytes: UnsafeRawBufferPointer, isText: Bool, on channel: ChannelID) {
        let payload = keepsMessages ? Payload(copying: bytes) : Payload([])
        state.withLock { state in
            if state.hasClosed { state.eventsAfterClose += 1 }
            state.received += 1
            if !state.opened.contains(where: { $0.id == channel }) { state.earlyMessages += 1 }
            if keepsMessages { state.messages.append(Message(payload: payload, isText: isText, channel: channel)) }
        }
    }
}
