internal import DequeModule
import RoomProtocol
internal import TransportValues

/// The numbered messages for one participant, kept until they are acknowledged.
///
/// At its limit the oldest messages are dropped, and all of them when the streams together exceed their limit. A
/// participant that returns without having received them must rejoin. Every method updates `total`, the sum over all
/// streams.
struct OutboundStream: Sendable {
    private let countLimit: Int
    private let byteLimit: Int
    private let totalLimit: Int
    private var entries: Deque<(message: ServerMessage, size: Int)> = []
    /// The number of bytes kept.
    private(set) var bytes = 0
    /// The number of the first entry.
    private var first: SequenceNumber = 1

    init(limits: RoomServerLimits) {
        countLimit = limits.streamMessages
        byteLimit = limits.streamBytes
        totalLimit = limits.totalStreamBytes
    }

    /// The number of the last message; 0 before the first.
    var last: SequenceNumber { first + SequenceNumber(entries.count) - 1 }

    mutating func append(_ message: ServerMessage, _ total: inout Int) -> SequenceNumber {
        let size = message.estimatedSize
        entries.append((message, size))
        bytes += size
        total += size
        while entries.count > countLimit || bytes > byteLimit { removeFirst(&total) }
        if total > totalLimit { removeAll(&total) }
        return last
    }

    mutating func removeAll(_ total: inout Int) { while !entries.isEmpty { removeFirst(&total) } }

    /// Returns false if the number was never used.
    mutating func acknowledge(_ sequence: SequenceNumber, _ total: inout Int) -> Bool {
        guard sequence <= last else { return false }
        while first <= sequence { removeFirst(&total) }
        return true
    }

    /// Returns the messages after `received`, or nil if some of them were dropped or never existed.
    mutating func replay(
        after received: SequenceNumber, _ total: inout Int
    ) -> [(SequenceNumber, ServerMessage)]? {
        guard received >= first - 1, acknowledge(received, &total) else { return nil }
        return entries.enumerated().map { (first + SequenceNumber($0.offset), $0.element.message) }
    }

    private mutating func removeFirst(_ total: inout Int) {
        let size = entries.removeFirst().size
        bytes -= size
        total -= size
        first += 1
        // Most participants are silent most of the time: what is empty takes no memory.
        if entries.isEmpty { entries = [] }
    }
}

extension ServerMessage {
    /// The approximate encoded size in bytes.
    fileprivate var estimatedSize: Int {
        switch self {
        case .signal(let signal):
            switch signal.body {
            case .description(let description): 256 + description.text.utf8.count
            case .candidate(let candidate): 256 + candidate.text.utf8.count
            case .endOfCandidates, .restartRequest, .rebuildRequest: 512
            }
        case .peerJoined, .peerChanged: 512 + Limits.metadataBytes
        case .hostChanged: 512 + Limits.sessionToken / 4
        default: 512
        }
    }
}
