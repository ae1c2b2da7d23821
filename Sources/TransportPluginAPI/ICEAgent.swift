public import TransportToolbox
public import TransportValues

/// Makes ICE agents for a peer transport: the part of WebRTC that finds a path (RFC 8445).
public protocol ICEAgentProvider: Sendable {
    /// The type of the agents.
    associatedtype Agent: ICEAgent

    /// Makes an agent on `loop`, the loop of the peer transport, on which it is called. Servers that the agent cannot
    /// use are left out. Throws `.unavailable`, `.resourceExhausted`.
    func makeAgent(
        _ configuration: ICEAgentConfiguration, on loop: TransportLoop, handler: any ICEAgentHandler
    ) throws(TransportError) -> Agent
}

/// Finds a path for ONE set of credentials, and carries datagrams over it. An ICE restart is a new agent.
///
/// Synchronous: every method is called on the loop, every event is emitted on it, and no method calls the handler
/// before it returns. An agent that has lost its path reports this and stays usable: it never gives up by itself.
public protocol ICEAgent: AnyObject {
    /// The agent's own credentials (RFC 8445 §5.3), known from the start.
    var localCredentials: ICECredentials { get }

    /// Starts gathering. Candidates are reported one by one, then `.gatheringDone`.
    func gather() throws(TransportError)

    /// Sets the other side's credentials, once. Checks start as soon as there is a pair.
    func setRemoteCredentials(_ credentials: ICECredentials) throws(TransportError)

    /// Adds a candidate of the other side: a line as in RFC 8839 §5.1, without `a=`. May be called before
    /// `setRemoteCredentials`. An unusable candidate is ignored; malformed text throws `.protocolViolation`.
    func addRemoteCandidate(_ candidate: String) throws(TransportError)

    /// Reports that the other side has no more candidates (RFC 8838). An agent without a working pair may fail from now
    /// on.
    func endOfRemoteCandidates()

    /// Sends the datagrams over the selected path, in order, and empties the batch. Without a path, or when the
    /// system's buffer is full, they are dropped, as in a network.
    func send(_ batch: DatagramBatch)

    /// The selected pair, nil until there is one.
    var selectedPath: PeerPath? { get }

    /// Ends the agent; no event follows. TURN allocations are released in the background. Idempotent.
    func close()
}

/// Receives the events and datagrams of one ICE agent, on its loop.
public protocol ICEAgentHandler: AnyObject {
    /// Called on the loop with each event of the agent.
    func iceAgent(didEmit event: ICEAgentEvent)

    /// Called with datagrams that arrived over the agent's paths, except STUN. The batch is valid until the call
    /// returns.
    func iceAgent(didReceive batch: DatagramBatch)
}

/// An event of an ICE agent. New cases may be added: always have a `default`.
public enum ICEAgentEvent: Sendable {
    /// A local candidate, as in RFC 8839 §5.1, without `a=`.
    case candidate(String)
    /// All local candidates have been reported.
    case gatheringDone
    /// The state changed.
    case state(ICEAgentState)
    /// A pair was selected or replaced.
    case selected(PeerPath)
}

/// The state of an ICE agent. New cases may be added: always have a `default`.
public enum ICEAgentState: Sendable, Hashable {
    /// Checks have not started.
    case new
    /// Checks are running; no pair works yet.
    case checking
    /// A pair was found; datagrams can be sent.
    case connected
    /// No pair works now. This may change.
    case failed
}

/// An ICE user name fragment and password (RFC 8445 §5.3). The password is a secret.
public struct ICECredentials: Sendable, Hashable, CustomStringConvertible {
    /// The user name fragment: 4 to 256 characters of `A-Z a-z 0-9 + /`. That of the other side may be any visible
    /// ASCII.
    public var usernameFragment: String
    /// The password: 22 to 256 characters of the same set. A secret.
    public var password: String

    /// Creates credentials with any text. The agent that uses them checks them.
    public init(usernameFragment: String, password: String) {
        self.usernameFragment = usernameFragment
        self.password = password
    }

    public var description: String { usernameFragment }
}

/// The configuration of a new ICE agent.
public struct ICEAgentConfiguration: Sendable {
    /// Whether the agent chooses the pair (RFC 8445 §6.1.1).
    public var isControlling: Bool
    /// The servers of the room server and of the configuration.
    public var servers: [ICEServer]
    /// The kinds of candidates that may be gathered.
    public var policy: ICEPolicy

    /// Creates the configuration of one agent.
    public init(isControlling: Bool, servers: [ICEServer] = [], policy: ICEPolicy = .all) {
        self.isControlling = isControlling
        self.servers = servers
        self.policy = policy
    }
}

/// Datagrams in one block of memory that is reused.
///
/// Belongs to one loop. Writers append, one reader looks at each datagram and empties the batch. Appended datagrams are
/// adjacent. A writer that lets the system fill several places of the block at once reports the places with
/// `commit(_:at:)`.
public final class DatagramBatch {
    /// The block's size in bytes, at most 2^31 - 1.
    public let capacity: Int
    /// The maximum number of datagrams.
    public let maximumCount: Int
    /// The number of datagrams in the batch.
    @exclusivity(unchecked) public private(set) var count = 0

    private let bytes: UnsafeMutableRawPointer
    private let places: UnsafeMutablePointer<(start: Int32, length: Int32)>
    /// The end of the last datagram.
    @exclusivity(unchecked) private var end = 0

    /// Creates an empty batch. `capacity` is at most 2^31 - 1 bytes, `maximumCount` the number of datagrams. Traps
    /// outside of these ranges.
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

    /// Whether the batch contains no datagram.
    public var isEmpty: Bool { count == 0 }

    /// The total size of all datagrams in bytes.
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

    /// The unused rest of the block, for writing a datagram in place; `commit` adds it to the batch. Empty when the
    /// batch is full.
    public var free: UnsafeMutableRawBufferPointer {
        guard count < maximumCount else { return UnsafeMutableRawBufferPointer(start: bytes, count: 0) }
        return UnsafeMutableRawBufferPointer(start: bytes + end, count: capacity - end)
    }

    /// The whole block, for a writer that fills several places at once.
    public var block: UnsafeMutableRawBufferPointer { UnsafeMutableRawBufferPointer(start: bytes, count: capacity) }

    /// Adds the first `length` bytes of `free` as the next datagram.
    public func commit(_ length: Int) { commit(length, at: end) }

    /// Adds `length` bytes of `block` from `offset` on as the next datagram. Traps when the batch has `maximumCount` of
    /// them.
    public func commit(_ length: Int, at offset: Int) {
        precondition(
            count < maximumCount && length >= 0 && offset >= 0 && offset <= capacity && length <= capacity - offset,
            "a datagram is too large for the batch")
        places[count] = (Int32(truncatingIfNeeded: offset), Int32(truncatingIfNeeded: length))
        count += 1
        end = offset + length
    }

    /// Copies a datagram into the batch. Returns false, without effect, when it does not fit.
    public func append(_ datagram: UnsafeRawBufferPointer) -> Bool {
        let free = free
        guard count < maximumCount, datagram.count <= free.count else { return false }
        free.copyMemory(from: datagram)
        commit(datagram.count)
        return true
    }

    /// Empties the batch; its memory is reused.
    public func removeAll() {
        count = 0
        end = 0
    }
}
