internal import Logging
internal import TransportPluginAPI

/// The queue of events from one connection to its handler.
///
/// Events are reported at the end of the turn, so that no method calls the handler before it returns. Messages are
/// reported as they are read, after the events that were queued before them.
final class ConnectionEvents {
    /// The handler; nil once the end was reported.
    @exclusivity(unchecked) private(set) var handler: (any PeerConnectionHandler)?
    @exclusivity(unchecked) private var queue: [PeerConnectionEvent] = []
    private var isDrainScheduled = false
    private var isDraining = false
    private let core: TransportCore

    init(_ core: TransportCore, handler: any PeerConnectionHandler) {
        self.core = core
        self.handler = handler
    }

    @inline(__always)
    var isEmpty: Bool { queue.isEmpty }

    func emit(_ event: PeerConnectionEvent) {
        guard handler != nil else { return }
        queue.append(event)
        guard !isDrainScheduled else { return }
        isDrainScheduled = true
        core.loop.atEndOfTurn { [self] in drain() }
    }

    /// Reports what is queued. Never called from inside a method of the API.
    func drain() {
        isDrainScheduled = false
        guard !isDraining, !queue.isEmpty else { return }
        isDraining = true
        defer { isDraining = false }
        while !queue.isEmpty {
            let batch = queue
            queue.removeAll()
            for event in batch {
                guard let handler else { return }
                if case .closed = event {
                    self.handler = nil
                    queue.removeAll()
                    core.connections[ObjectIdentifier(self)] = nil
                }
                handler.peerConnection(didEmit: event)
            }
        }
    }
}
