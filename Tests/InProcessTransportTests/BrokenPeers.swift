import Glibc
import InProcessTransport
import TransportPluginAPI

/// A peer transport that breaks the contract in one way.
struct BrokenPeers: PeerTransport {
    enum Fault: String, Sendable, CaseIterable {
        case losesEmptyMessages, opensTooLate, takesGarbage, hasNoMaximum, leaksMemory, givesUpByItself
        case isRestartedByTheAnswerer, ignoresTheReader, forgetsWhatItHasSent

        /// The clauses that it breaks.
        var breaks: Set<String> {
            switch self {
            case .losesEmptyMessages: ["peer.channel.01"]
            case .opensTooLate: ["peer.channel.07"]
            case .takesGarbage: ["peer.negotiation.02"]
            case .hasNoMaximum: ["peer.channel.02"]
            case .leaksMemory: ["peer.end.04"]
            case .givesUpByItself: ["peer.path.01", "peer.path.02"]
            case .isRestartedByTheAnswerer: ["peer.restart.02"]
            case .forgetsWhatItHasSent: ["peer.end.06"]
            case .ignoresTheReader: ["peer.channel.07", "peer.pressure.01", "peer.pressure.02"]
            }
        }
    }

    /// Introduces each connection to that of the other side, since they are made one after the other.
    final class Pairs: Sendable {
        // SAFETY of `@unchecked Sendable`: touched only on the loop.
        final class Pair: @unchecked Sendable {
            var hasClosed = false
        }
        private let waiting = Locked<Pair?>(nil)

        func next() -> Pair {
            waiting.withLock { waiting in
                if let pair = waiting.take() { return pair }
                let pair = Pair()
                waiting = pair
                return pair
            }
        }
    }

    let base: InProcessPeerTransport
    let fault: Fault
    let pairs: Pairs
    var loop: TransportLoop { base.loop }

    func makeConnection(
        _ configuration: PeerConnectionConfiguration, handler: any PeerConnectionHandler
    ) throws(TransportError) -> BrokenPeerConnection {
        let pair = pairs.next()
        let filter = BrokenHandler(handler, fault, loop, pair)
        if fault == .leaksMemory { Leak.allocate() }
        let connection = BrokenPeerConnection(try base.makeConnection(configuration, handler: filter), fault, pair)
        filter.connection = connection
        return connection
    }

    nonisolated(nonsending) func shutdown() async { await base.shutdown() }
}

// SAFETY: like every peer connection, touched only on its loop.
final class BrokenPeerConnection: PeerConnection, @unchecked Sendable {
    private let base: InProcessPeerConnection
    private let fault: BrokenPeers.Fault
    private let pair: BrokenPeers.Pairs.Pair

    init(_ base: InProcessPeerConnection, _ fault: BrokenPeers.Fault, _ pair: BrokenPeers.Pairs.Pair) {
        self.base = base
        self.fault = fault
        self.pair = pair
    }

    func offer() throws(TransportError) { try base.offer() }

    func setRemoteDescription(_ description: SessionDescription) throws(TransportError) {
        do throws(TransportError) { try base.setRemoteDescription(description) } catch {
            if fault == .takesGarbage, error.code == .protocolViolation { return }
            throw error
        }
    }

    func addRemoteCandidate(_ candidate: PeerCandidate) throws(TransportError) {
        try base.addRemoteCandidate(candidate)
    }

    func restart(iceServers: [ICEServer]) throws(TransportError) {
        do throws(TransportError) { try base.restart(iceServers: iceServers) } catch {
            if fault == .isRestartedByTheAnswerer { return }
            throw error
        }
    }

    func updateICEServers(_ servers: [ICEServer]) { base.updateICEServers(servers) }
    func probe() { base.probe() }
    func openChannel(_ parameters: ChannelParameters) throws(TransportError) -> ChannelID {
        try base.openChannel(parameters)
    }

    func send(_ bytes: UnsafeRawBufferPointer, isText: Bool, on channel: ChannelID) throws(TransportError) {
        if fault == .hasNoMaximum, bytes.count > base.maximumMessageSize { return }
        try base.send(bytes, isText: isText, on: channel)
    }

    func bufferedAmount(of channel: ChannelID) -> Int { base.bufferedAmount(of: channel) }
    func setReceiving(_ isReceiving: Bool, on channel: ChannelID) {
        if fault != .ignoresTheReader { base.setReceiving(isReceiving, on: channel) }
    }
    func closeChannel(_ channel: ChannelID) { base.closeChannel(channel) }
    var maximumMessageSize: Int { base.maximumMessageSize }
    var statistics: PeerConnectionStatistics { base.statistics }
    func close() {
        pair.hasClosed = true
        base.close()
    }
}

/// Passes on the events of a connection, with the fault.
// SAFETY: like every handler, called only on the loop.
private final class BrokenHandler: PeerConnectionHandler, @unchecked Sendable {
    weak var connection: BrokenPeerConnection?
    private let base: any PeerConnectionHandler
    private let fault: BrokenPeers.Fault
    private let loop: TransportLoop
    private let pair: BrokenPeers.Pairs.Pair
    private var hasClosed = false

    init(
        _ base: any PeerConnectionHandler, _ fault: BrokenPeers.Fault, _ loop: TransportLoop,
        _ pair: BrokenPeers.Pairs.Pair
    ) {
        self.base = base
        self.pair = pair
        self.fault = fault
        self.loop = loop
    }

    func peerConnection(didEmit event: PeerConnectionEvent) {
        switch (event, fault) {
        case (.channelOpened(_, _, isRemote: true), .opensTooLate):
            loop.execute { [self] in
                // Late, but before the last event: after it would be another fault.
                loop.execute { [self] in if !hasClosed { base.peerConnection(didEmit: event) } }
            }
            return
        case (.closed, _):
            hasClosed = true
            base.peerConnection(didEmit: event)
        case (.liveness(.suspect), .givesUpByItself):
            base.peerConnection(didEmit: event)
            connection?.close()
            return
        default: base.peerConnection(didEmit: event)
        }
    }

    func peerConnection(didReceive bytes: UnsafeRawBufferPointer, isText: Bool, on channel: ChannelID) {
        if fault == .losesEmptyMessages, bytes.isEmpty { return }
        if fault == .forgetsWhatItHasSent, pair.hasClosed { return }
        base.peerConnection(didReceive: bytes, isText: isText, on: channel)
    }
}
