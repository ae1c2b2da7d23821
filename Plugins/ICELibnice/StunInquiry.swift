internal import TransportPluginAPI

/// Decides which STUN servers are asked on which sockets, and when that is over. Pure.
///
/// All servers are asked at once, and for each socket the first answer counts: one that is down, or whose name does not
/// resolve, costs nothing.
struct StunInquiry {
    struct Server: Hashable {
        var address: IPAddress
        var port: UInt16
    }
    struct Question: Equatable {
        var transaction: UInt64
        var socket: Int
        var server: Server
    }
    private struct Socket {
        var isIPv6: Bool
        var isAnswered = false
    }

    private var sockets: [Socket] = []
    private var questions: [Question] = []
    private var rounds = 0
    /// Names that are being looked up.
    private var pendingNames = 0
    /// No answer is waited for.
    private(set) var isOver = true

    /// Milliseconds until the questions are repeated, and in the end given up.
    private static let pauses = [250, 250, 500, 500, 1000, 1000, 1000]
    /// Addresses that are asked; a name may have several.
    private static let maximumServers = 16

    /// `families`: for each socket, whether it is one of IPv6.
    mutating func begin(families: [Bool], names: Int) {
        sockets = families.map { Socket(isIPv6: $0) }
        pendingNames = names
        isOver = sockets.isEmpty
    }

    /// Adds a server. Returns the questions to be sent to it now.
    mutating func add(_ server: Server, transaction: () -> UInt64) -> [Question] {
        let known = Set(questions.map(\.server))
        guard !isOver, !known.contains(server), known.count < Self.maximumServers else { return [] }
        var new: [Question] = []
        for (index, socket) in sockets.enumerated() where socket.isIPv6 == server.address.isIPv6 {
            new.append(Question(transaction: transaction(), socket: index, server: server))
        }
        questions += new
        return new.filter { !sockets[$0.socket].isAnswered }
    }

    /// All servers that need no look-up were added.
    mutating func began() { settle() }

    /// A name was looked up, and its addresses were added.
    mutating func lookedUp() {
        pendingNames -= 1
        settle()
    }

    /// The pause is over. Returns the questions to be sent again, and the next pause.
    mutating func repeated() -> (questions: [Question], pause: Duration)? {
        guard !isOver else { return nil }
        guard rounds < Self.pauses.count else {
            isOver = true
            return nil
        }
        let pause = Duration.milliseconds(Self.pauses[rounds])
        rounds += 1
        return (questions.filter { !sockets[$0.socket].isAnswered }, pause)
    }

    /// An answer came. Returns its socket if it is the first there.
    mutating func answered(_ transaction: UInt64) -> Int? {
        guard !isOver, let question = questions.first(where: { $0.transaction == transaction }),
            !sockets[question.socket].isAnswered
        else { return nil }
        sockets[question.socket].isAnswered = true
        settle()
        return question.socket
    }

    /// The questions that were answered. Repeating them keeps the addresses alive in NATs.
    var answeredQuestions: [Question] { questions.filter { sockets[$0.socket].isAnswered } }

    mutating func end() { isOver = true }

    /// It is over when no socket waits for an answer, and none may get another server to wait for.
    private mutating func settle() {
        let isWaiting = sockets.indices.contains { index in
            !sockets[index].isAnswered && (pendingNames > 0 || questions.contains { $0.socket == index })
        }
        if !isWaiting { isOver = true }
    }
}
