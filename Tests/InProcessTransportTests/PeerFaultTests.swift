import InProcessTransport
import Testing
import TransportPluginAPI

// SAFETY: touched only on the loop.
private final class Peer: PeerConnectionHandler, @unchecked Sendable {
    var connection: InProcessPeerConnection?
    weak var other: Peer?
    var states: [PeerConnectionState] = []
    var texts: [String] = []
    var opened: [ChannelID] = []
    var isSuspect = false

    func peerConnection(didEmit event: PeerConnectionEvent) {
        switch event {
        case .localDescription(let description): try? other?.connection?.setRemoteDescription(description)
        case .localCandidate(let candidate): try? other?.connection?.addRemoteCandidate(candidate)
        case .state(let state): states.append(state)
        case .channelOpened(let id, _, _): opened.append(id)
        case .liveness(.suspect): isSuspect = true
        case .liveness(.alive): isSuspect = false
        default: break
        }
    }

    func peerConnection(didReceive bytes: UnsafeRawBufferPointer, isText: Bool, on channel: ChannelID) {
        texts.append(String(decoding: bytes, as: UTF8.self))
    }
}

@Suite struct InProcessPeerFaults {
    /// Runs everything that is queued on the loop, including what it queues in turn.
    private func settle(_ loop: TransportLoop) async {
        for _ in 0..<8 { await loop.run {} }
    }

    private func send(_ text: String, _ peer: Peer) throws(TransportError) {
        let payload = Payload(text)
        guard let connection = peer.connection, let channel = peer.opened.first else { return }
        try payload.withUnsafeBytes { (bytes) throws(TransportError) in
            try connection.send(bytes, isText: true, on: channel)
        }
    }

    @Test func aCutPathIsToldMessagesWaitAndARestartBringsThemOver() async throws {
        let loop = try TransportLoop(name: "peers")
        let network = InProcessPeerNetwork(loop: loop)
        let transport = InProcessPeerTransport(network: network)
        let (left, right) = (Peer(), Peer())
        try await loop.runThrowing { () throws(TransportError) in
            left.other = right
            right.other = left
            left.connection = try transport.makeConnection(PeerConnectionConfiguration(), handler: left)
            right.connection = try transport.makeConnection(PeerConnectionConfiguration(), handler: right)
            _ = try left.connection?.openChannel(ChannelParameters(label: "a"))
            try left.connection?.offer()
        }
        await settle(loop)
        await loop.run { #expect(left.states.last == .connected && right.states.last == .connected) }

        network.cut()
        await settle(loop)
        try await loop.runThrowing { () throws(TransportError) in
            #expect(left.states.last == .disconnected && left.isSuspect)
            try send("waits", left)
        }
        await settle(loop)
        try await loop.runThrowing { () throws(TransportError) in
            #expect(right.texts.isEmpty)
            try left.connection?.restart(iceServers: [])
        }
        await settle(loop)
        await loop.run { #expect(right.texts == ["waits"] && left.states.last == .connected && !left.isSuspect) }

        network.cut(newPathsToo: true)
        await settle(loop)
        try await loop.runThrowing { () throws(TransportError) in
            try send("again", left)
            try left.connection?.restart(iceServers: [])
        }
        await settle(loop)
        await loop.run { #expect(left.states.last == .disconnected && right.texts == ["waits"]) }
        network.restore()
        await settle(loop)
        await loop.run { #expect(left.states.last == .connected && right.texts == ["waits", "again"]) }
        await transport.shutdown()
        await loop.shutdown()
    }

    @Test func garbageNeverPairsConnections() async throws {
        let loop = try TransportLoop(name: "peers")
        let transport = InProcessPeerTransport(network: InProcessPeerNetwork(loop: loop))
        let peer = Peer()
        try await loop.runThrowing { () throws(TransportError) in
            let connection = try transport.makeConnection(PeerConnectionConfiguration(), handler: peer)
            for text in [
                "", "in-process", "in-process 1 2 3 4", "in-process -1 0 5", "in-process 1 -1 5", "in-process 1 0 0",
                "in-process 99999999999999999999 0 5",
            ] {
                #expect(throws: TransportError.self) {
                    try connection.setRemoteDescription(SessionDescription(kind: .offer, text: text))
                }
            }
            // First a connection that does not exist, then the connection itself.
            try connection.setRemoteDescription(SessionDescription(kind: .offer, text: "in-process 999 0 100"))
        }
        await settle(loop)
        await loop.run { #expect(peer.states == [.connecting]) }
        await transport.shutdown()
        await loop.shutdown()
    }
}
