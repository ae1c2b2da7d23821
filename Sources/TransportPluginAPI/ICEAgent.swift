public import TransportToolbox
public import TransportValues

/// Makes ICE agents for a peer transport: the part of WebRTC that finds a path (RFC 8445).
public protocol ICEAgentProvider: Sendable {
    /// What it makes.
    associatedtype Agent: ICEAgent

    /// Makes an agent on `loop`, the loop of the peer transport; called on it. Servers that it cannot use are left out. Throws
    /// `.unavailable`, `.resourceExhausted`.
    func makeAgent(
        _ configuration: ICEAgentConfiguration, on loop: TransportLoop, handler: any ICEAgentHandler
    ) throws(TransportError) -> Agent
}

/// Finds a path for ONE set of credentials, and carries datagrams over it. An ICE restart is a new agent.
///
/// Synchronous: every method is called on the loop, every event comes on it, and no method calls the handler back before it
/// returns. An agent that lost its path says so and stays usable: it never gives up by itself.
public protocol ICEAgent: AnyObject {
    /// The agent's own credentials (RFC 8445 §5.3), known from the start.
    var localCredentials: ICECredentials { get }

    /// Starts gathering. Candidates are told one by one, then `.gatheringDone`.
    func gather() throws(TransportError)

    /// Once. Checks begin as soon as there is a pair.
    func setRemoteCredentials(_ credentials: ICECredentials) throws(TransportError)

    /// A line as in RFC 8839 §5.1, without `a=`. May be called before `setRemoteCredentials`. What cannot be used is ignored;
    /// malformed text throws `.protocolViolation`.
    func addRemoteCandidate(_ candidate: String) throws(TransportError)

    /// No more candidates of the other side will come (RFC 8838): an agent without a working pair may fail from now on.
    func endOfRemoteCandidates()

    /// Sends the datagrams over the selected path, in order, and empties the batch. Without a path, or when the
    /// system's buffer is full, they are dropped, as a network would.
    func send(_ batch: DatagramBatch)

    /// The selected pair, nil until there is one.
    var selectedPath: PeerPath? { get }

    /// Ends the agent; no event comes afterwards. TURN allocations are given back in the background. Idempotent.
    func close()
}

/// Gets everything that happens to one ICE agent, on its loop.
public protocol ICEAgentHandler: AnyObject {
    /// Something happened to the agent. Called on the loop.
    func iceAgent(didEmit event: ICEAgentEvent)

    /// Datagrams that came over the agent's paths, STUN excluded. The batch is valid until the call returns.
    func iceAgent(didReceive batch: DatagramBatch)
}

/// What happens to an ICE agent. New cases may be added: always have a `default`.
public enum ICEAgentEvent: Sendable {
    /// A local candidate, as in RFC 8839 §5.1, without `a=`.
    case candidate(String)
    /// All local candidates were told.
    case gatheringDone
    /// The state changed.
    case state(ICEAgentState)
    /// A pair was selected or replaced.
    case selected(PeerPath)
}

/// How far an ICE agent is. New cases may be added: always have a `default`.
public enum ICEAgentState: Sendable, Hashable {
    /// Checks have not begun.
    case new
    /// Checks run; no pair works yet.
    case checking
    /// A pair was found; datagrams can be sent.
    case connected
    /// No pair works now. It may come back.
    case failed
}

/// An ICE user name fragment and password (RFC 8445 §5.3). The password is a secret.
public struct ICECredentials: Sendable, Hashable, CustomStringConvertible {
    /// 4 to 256 characters of `A-Z a-z 0-9 + /`; those of the other side may be of visible ASCII.
    public var usernameFragment: String
    /// 22 to 256 characters of the same. A secret.
    public var password: String

    /// Takes both as they are: they are checked by the agent that uses them.
    public init(usernameFragment: String, password: String) {
        self.usernameFragment = usernameFragment
        self.password = password
    }

    public var description: String { usernameFragment }
}

/// What a new ICE agent is given.
public struct ICEAgentConfiguration: Sendable {
    /// Whether the agent chooses the pair (RFC 8445 §6.1.1).
    public var isControlling: Bool
    /// Those of the room server and of the configuration.
    public var servers: [ICEServer]
    /// Which candidates may be gathered.
    public var policy: ICEPolicy

    /// The configuration of one agent.
    public init(isControlling: Bool, servers: [ICEServer] = [], policy: ICEPolicy = .all) {
        self.isControlling = isControlling
        self.servers = servers
        self.policy = policy
    }
}

/// Datagrams in one block of memory that is used again and again.
///
/// Belongs to one loop. Writers append, one reader looks at each and empties the batch. Datagrams that are appended lie one
/// behind the other; a writer that lets the system fill several places of the block at once names the places with
/// `commit(_:at:)`.
public final class DatagramBatch {
    /// The block's size in bytes, at most 2^31 - 1.
    public let capacity: Int
    /// The most datagrams that fit.
    public let maximumCount: Int
    /// Datagrams in the batch.
    @exclusivity(unchecked) public private(set) var count = 0

    private let bytes: UnsafeMutableRawPointer
    private let places: UnsafeMutablePointer<(start: Int32, length: Int32)>
    /// Where the last datagram ends.
    @exclusivity(unchecked) private var end = 0

    /// An empty batch. `capacity` in bytes, at most 2^31 - 1; `maximumCount` datagrams. Traps outside of these.
    public init(capacity: Int = 65_536 * 2, maximumCount: Int = 64) {
        precondition(capacity >= 0 && capacity <= Int(Int32.max) && maximumCount >= 0, "a batch's size is out of range")
        self.capacity = capacity
        self.maximumCount = maximumCount
        bytes = .allocate(byteCount: capacity, alignment: 64)
        places = .allocate(capacity: maximumCount)
    }

    deinit {
        bytes.deallocate()
        places.deallocate()
    }

    /// Whether there is no datagram in it.
    public var isEmpty: Bool { count == 0 }

    /// Bytes of all datagrams together.
    public var byteCount: Int {
        var sum = 0
        for index in 0..<count { sum += Int(places[index].length) }
        return sum
    }

    /// The datagram at `index`.
    public subscript(index: Int) -> UnsafeMutableRawBufferPointer {
        precondition(index >= 0 && index < count, "index out of the batch")
        let place = places[index]
        return UnsafeMutableRawBufferPointer(start: bytes + Int(place.start), count: Int(place.length))
    }

    /// The free rest of the block, for writing a datagram in place; `commit` makes it part of the batch.
    /// Empty when the batch is full.
    public var free: UnsafeMutableRawBufferPointer {
        guard count < maximumCount else { return UnsafeMutableRawBufferPointer(start: bytes, count: 0) }
        return UnsafeMutableRawBufferPointer(start: bytes + end, count: capacity - end)
    }

    /// The whole block, for a writer that fills several places at once.
    public var block: UnsafeMutableRawBufferPointer { UnsafeMutableRawBufferPointer(start: bytes, count: capacity) }

    /// Takes the first `length` bytes of `free` as the next datagram.
    public func commit(_ length: Int) { commit(length, at: end) }

    /// Takes `length` bytes of `block` from `offset` on as the next datagram. Traps when the batch has `maximumCount` of them.
    public func commit(_ length: Int, at offset: Int) {
        precondition(
            count < maximumCount && length >= 0 && offset >= 0 && offset <= capacity && length <= capacity - offset,
            "a datagram that does not fit the batch")
        places[count] = (Int32(truncatingIfNeeded: offset), Int32(truncatingIfNeeded: length))
        count += 1
        end = offset + length
    }

    /// Copies a datagram in. False, and nothing done, when it does not fit.
    public func append(_ datagram: UnsafeRawBufferPointer) -> Bool {
        let free = free
        guard count < maximumCount, datagram.count <= free.count else { return false }
        free.copyMemory(from: datagram)
        commit(datagram.count)
        return true
    }

    /// Empties the batch; its memory is used again.
    public func removeAll() {
        count = 0
        end = 0
    }
}
