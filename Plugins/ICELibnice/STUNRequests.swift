internal import TransportPluginAPI

/// Decides which STUN requests go out from which sockets, and when to stop waiting for answers. Pure.
///
/// All servers are asked at once, and the first answer for each socket counts. A server that is down, or whose name
/// does not resolve, costs no time.
struct STUNRequests {
    struct Request: Equatable {
        var transaction: UInt64
        var socket: Int
        var server: IPEndpoint
    }
    private struct Socket {
        var isIPv6: Bool
        var isAnswered = false
    }

    private var sockets: [Socket] = []
    private var requests: [Request] = []
    private var rounds = 0
    /// Names that are being looked up.
    private var pendingNames = 0
    /// Whether no further answer is expected.
    private(set) var isOver = true

    /// The milliseconds before each repetition, and after the last one.
    private static let pauses = [250, 250, 500, 500, 1000, 1000, 1000]
    /// The maximum number of addresses that are asked; a name may have several.
    private static let maximumServers = 16

    /// Begins. `families` says for each socket whether it is of IPv6; `names` is the number of names to look up.
    mutating func begin(families: [Bool], names: Int) {
        sockets = families.map { Socket(isIPv6: $0) }
        pendingNames = names
        isOver = sockets.isEmpty
    }

    /// Adds a server. Returns the requests to be sent to it now.
    mutating func add(_ server: IPEndpoint, transaction: () -> UInt64) -> [Request] {
        let known = Set(requests.map(\.server))
        guard !isOver, !known.contains(server), known.count < Self.maximumServers else { return [] }
        var new: [Request] = []
        for (index, socket) in sockets.enumerated() where socket.isIPv6 == server.host.isIPv6 {
            new.append(Request(transaction: transaction(), socket: index, server: server))
        }
        requests += new
        return new.filter { !sockets[$0.socket].isAnswered }
    }

    /// All servers that need no look-up have been added.
    mutating func began() { settle() }

    /// A name has been looked up, and its addresses have been added.
    mutating func lookedUp() {
        pendingNames -= 1
        settle()
    }

    /// The pause has passed. Returns the requests to send again, and the next pause; nil after the last one.
    mutating func repeated() -> (requests: [Request], pause: Duration)? {
        guard !isOver else { return nil }
        guard rounds < Self.pauses.count else {
            isOver = true
            return nil
        }
        let pause = Duration.milliseconds(Self.pauses[rounds])
        rounds += 1
        return (requests.filter { !sockets[$0.socket].isAnswered }, pause)
    }

    /// An answer has arrived. Returns its socket if it is the first for that socket.
    mutating func answered(_ transaction: UInt64) -> Int? {
        guard !isOver, let request = requests.first(where: { $0.transaction == transaction }),
            !sockets[request.socket].isAnswered
        else { return nil }
        sockets[request.socket].isAnswered = true
        settle()
        return request.socket
    }

    /// The requests that were answered. Repeating them keeps the addresses alive in NATs.
    var answeredRequests: [Request] { requests.filter { sockets[$0.socket].isAnswered } }

    mutating func end() { isOver = true }

    /// Ends when no socket waits for an answer, and no name that is still being looked up could change that.
    private mutating func settle() {
        let isWaiting = sockets.indices.contains { index in
            !sockets[index].isAnswered && (pendingNames > 0 || requests.contains { $0.socket == index })
        }
        if !isWaiting { isOver = true }
    }
}
