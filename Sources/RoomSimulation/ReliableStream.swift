internal import RoomCore
internal import RoomProtocol
internal import TransportValues

/// What one session has told another, from end to end.
struct Ledger {
    var sent: UInt64 = 0
    var delivered: UInt64 = 0
    /// What the sender was told that it had given up.
    var givenUp: [ClosedRange<UInt64>] = []

    func isGivenUp(_ number: UInt64) -> Bool { givenUp.contains { $0.contains(number) } }
}

/// A part of a message, or a whole one.
struct Body {
    var kind: DeliveryProtocol.Kind
    /// Index of the ledger that it is counted in.
    var ledger: Int
    /// Counts messages.
    var number: UInt64
    var part: UInt8
}

/// What an association carries.
enum Frame {
    /// The channel is opened (RFC 8832).
    case open
    case resume(Resume)
    case data(Body, sequence: UInt32, ack: UInt32)
    case ack(UInt32)

    /// In a box, since it is large and rare.
    final class Resume {
        let frame: DeliveryProtocol.ResumeFrame
        init(_ frame: DeliveryProtocol.ResumeFrame) { self.frame = frame }
    }
}

/// One direction of an association: ordered, and as long as the association lives nothing is lost.
final class Pipe {
    var frames = Fifo<Frame>()
    var isScheduled = false
    /// What still comes through while nothing comes back.
    var credit = Pipe.window

    static let window = 8
    /// Frames at which it takes no more.
    static let highWater = 48
    static let lowWater = 16
}

/// One end of the reliable stream between two sessions, as the shell drives it (`PeerLink`). It outlives peer connections.
final class ReliableStream {
    let node: Node
    let life: Int
    let remote: ParticipantID
    var machine: DeliveryMachine
    let outgoing: Int
    let incoming: Int
    /// Accepted and not yet acknowledged, the oldest first.
    var kept = Fifo<Body>()
    /// Its peer connection. They own each other until they are detached.
    var endpoint: Endpoint?
    /// Messages of the unordered channel that wait for a connection, or for room in it.
    var waiting = Fifo<UInt64>()
    var isOpen = false
    /// The next frame is told to the participant's machine.
    var isAwaited = false
    var isBlocked = false
    /// Counts ack timers; nil: none is set.
    var ackTimer: UInt64?
    /// Parts of a message.
    var parts: [Body]
    /// The latest frames that were sent.
    var sent: [(body: Body, sequence: UInt64)] = []

    /// Frames that are kept; above it an application would wait.
    static let limit = 200

    init(node: Node, remote: ParticipantID, machine: DeliveryMachine, parts: [Body], outgoing: Int, incoming: Int) {
        self.node = node
        life = node.life
        self.remote = remote
        self.machine = machine
        self.parts = parts
        self.outgoing = outgoing
        self.incoming = incoming
    }

    /// The number of the first frame that is kept.
    var first: UInt64 { machine.accepted - UInt64(kept.count) + 1 }
}
