internal import RoomCore
internal import RoomProtocol
internal import RoomServerCore
internal import TransportValues

/// One signaling connection between a participant and the server, as TCP carries it: in order, and retransmitted while
/// the network is cut, as long as both ends exist.
final class SignalingConnection {
    enum Frame {
        case message(Envelope<ClientMessage>)
        case closed
    }
    enum ServerFrame {
        case message(Envelope<ServerMessage>)
        /// Nil: in order.
        case closed(SignalingFailure?)
    }
    let id: ConnectionID
    let node: Int
    let life: Int
    let generation: ConnectionGeneration
    /// Which server it leads to; nil before it is there.
    var server: Server?
    /// The address that it leaves from.
    var localAddress: String?
    var isOpenAtClient = false
    var isOpenAtServer = false
    /// The machine has abandoned the attempt or the connection.
    var isAbandoned = false
    /// Nothing comes through any more, and neither end is notified.
    var isDead = false
    /// By the participant's clock.
    var openedAt = Timestamp.zero
    var lastUp = Timestamp.zero
    var lastDown = Timestamp.zero
    /// Messages on their way take another one, and do not arrive before this time.
    var isLateUntil = Timestamp.zero
    /// The name in a `hello` that has reached the server, if it was that of a first join.
    var newName: String?
    /// The contents of its `hello`, and of the server's answer.
    var resume: Resume?
    var joined: (session: SessionID, epoch: Epoch)?
    /// On their way; the oldest first. They wait here while the network is cut.
    var up = Fifo<Frame>()
    var down = Fifo<ServerFrame>()

    init(id: ConnectionID, node: Int, life: Int, generation: ConnectionGeneration) {
        self.id = id
        self.node = node
        self.life = life
        self.generation = generation
    }
}
