package import RoomProtocol
internal import TransportValues

/// The numbered messages of this side, in order. They are kept until the server has acknowledged them.
///
/// A message gets its number when it is first sent. Before that it may still be taken back; afterwards it is part of
/// the stream until a rejoin starts a new one.
package struct OutgoingStream: Sendable {
    private struct Entry: Sendable {
        var sequence: SequenceNumber?
        var message: ClientMessage
        var size: Int
    }
    private let countLimit: Int
    private let byteLimit: Int
    /// Numbered ones first.
    private var entries: [Entry] = []
    private var bytes = 0
    private var lastSequence: SequenceNumber = 0
    private var acknowledged: SequenceNumber = 0

    package init(countLimit: Int, byteLimit: Int) {
        self.countLimit = countLimit
        self.byteLimit = byteLimit
    }

    package var count: Int { entries.count }

    /// Appends a message. False, and nothing done, when the queue is at its limit.
    package mutating func append(_ message: ClientMessage) -> Bool {
        let size = message.estimatedSize
        guard entries.count < countLimit, bytes + size <= byteLimit else { return false }
        entries.append(Entry(sequence: nil, message: message, size: size))
        bytes += size
        return true
    }

    /// Numbers what was not sent yet and hands it out.
    package mutating func takeUnsent() -> [Envelope<ClientMessage>] {
        var unsent: [Envelope<ClientMessage>] = []
        for index in entries.indices where entries[index].sequence == nil {
            lastSequence += 1
            entries[index].sequence = lastSequence
            unsent.append(Envelope(sequence: lastSequence, entries[index].message))
        }
        return unsent
    }

    /// The server has everything up to `sequence`. False: it cannot have.
    package mutating func acknowledge(_ sequence: SequenceNumber) -> Bool {
        guard sequence <= lastSequence else { return false }
        guard sequence > acknowledged else { return true }
        acknowledged = sequence
        let arrived = entries.prefix { ($0.sequence ?? .max) <= sequence }
        bytes -= arrived.reduce(0) { $0 + $1.size }
        entries.removeFirst(arrived.count)
        return true
    }

    /// The stream goes on over a new connection: what the server has not got is sent again, under its old number.
    /// Nil: the server's place in the stream is not ours.
    package mutating func resume(received: SequenceNumber) -> [Envelope<ClientMessage>]? {
        guard received >= acknowledged, acknowledge(received) else { return nil }
        let again = entries.compactMap { entry in entry.sequence.map { Envelope(sequence: $0, entry.message) } }
        return again + takeUnsent()
    }

    /// A new stream begins. Kicks and the latest metadata are sent again. Signals are not: whatever they negotiated is
    /// negotiated anew.
    package mutating func restart() {
        var latestUpdate: Int?
        for (index, entry) in entries.enumerated() {
            if case .update = entry.message { latestUpdate = index }
        }
        entries = entries.enumerated().compactMap { index, entry in
            var entry = entry
            entry.sequence = nil
            switch entry.message {
            case .kick, .closeRoom: return entry
            case .update: return index == latestUpdate ? entry : nil
            // The host says the room's attributes again where the server does not know them.
            case .signal, .updateRoom, .hello, .ack, .ping, .pong, .leave: return nil
            }
        }
        bytes = entries.reduce(0) { $0 + $1.size }
        lastSequence = 0
        acknowledged = 0
    }

    /// Takes back signals that were not sent yet.
    package mutating func removeUnsentSignals(where isSuperseded: (Signal) -> Bool) {
        entries.removeAll { entry in
            guard entry.sequence == nil, case .signal(let signal) = entry.message, isSuperseded(signal) else {
                return false
            }
            bytes -= entry.size
            return true
        }
    }
}

extension Signal {
    /// Whether the other signal is worthless once this one is sent: this is a new description for the same participant,
    /// and the other one belongs to another connection or an older round.
    func supersedes(_ other: Signal) -> Bool {
        guard case .description = body, other.peer == peer else { return false }
        return other.connection != connection || other.negotiation < negotiation
    }
}

extension ClientMessage {
    /// Bytes, roughly as encoded; for the queue's limit.
    var estimatedSize: Int {
        switch self {
        case .signal(let signal):
            let frame = 160
            return switch signal.body {
            case .description(let description): frame + description.text.utf8.count
            case .candidate(let candidate): frame + candidate.text.utf8.count
            case .endOfCandidates: frame
            case .restartRequest(let reason), .rebuildRequest(let reason): frame + reason.utf8.count
            }
        case .kick(_, let reason): return 64 + reason.utf8.count
        case .closeRoom(let reason): return 64 + reason.utf8.count
        case .update(let metadata): return metadata.estimatedSize
        case .updateRoom(let attributes): return attributes.values.estimatedSize
        case .hello, .ack, .ping, .pong, .leave: return 64
        }
    }
}

extension [String: String] {
    fileprivate var estimatedSize: Int { reduce(64) { $0 + $1.key.utf8.count + $1.value.utf8.count + 8 } }
}
