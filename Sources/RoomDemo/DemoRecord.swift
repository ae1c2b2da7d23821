internal import TransportPluginAPI

/// The record of a demo: what its processes have printed, and every message that was sent and received.
struct DemoRecord {
    /// The names of the two participants.
    static let names = ["alice", "bob"]

    /// The URL of the running server; nil until it listens.
    private(set) var serverURL: String?
    /// The number of times that each participant has joined.
    private(set) var joins: [String: Int] = [:]
    private var signaling: [String: String] = [:]
    private var isConnected: [String: Bool] = [:]
    /// The numbers of messages sent, by sender.
    private var sent: [String: Int] = [:]
    /// The numbers in the messages received, by receiver.
    private var received: [String: [Int]] = [:]
    /// The times of the last messages, by receiver.
    private var lastMessage: [String: Timestamp] = [:]
    private var isTalkOver = false
    /// The first error after which the demo cannot go on.
    private(set) var failure: String?

    /// The number of messages received by both.
    var messages: Int { received.values.reduce(0) { $0 + $1.count } }

    /// Forgets the server that ran before.
    mutating func serverStarts() { serverURL = nil }

    /// Adds a line of the server.
    mutating func serverPrinted(_ line: [String: any Sendable]) {
        if line["event"] as? String == "listening" { serverURL = line["url"] as? String }
    }

    /// Adds a line of a participant, printed at `now`.
    mutating func participantPrinted(_ line: [String: any Sendable], _ name: String, at now: Timestamp) {
        switch line["event"] as? String {
        case "joined": joins[name, default: 0] += 1
        case "signaling": signaling[name] = line["status"] as? String
        case "peer":
            switch line["state"] as? String {
            case "connected": isConnected[name] = true
            case "connecting", "recovering", "left": isConnected[name] = false
            default: break
            }
        case "message":
            guard let number = (line["text"] as? String).flatMap(Int.init) else { return }
            received[name, default: []].append(number)
            lastMessage[name] = now
        case "error":
            if line["retryable"] as? Double == 0 { failure = "\(name): \(line["message"] as? String ?? "an error")" }
        default: break
        }
    }

    /// Returns the number of the participant's next message: 1, 2, ….
    mutating func nextNumber(of name: String) -> Int {
        sent[name, default: 0] += 1
        return sent[name, default: 0]
    }

    /// Records that no further message is sent.
    mutating func talkEnded() { isTalkOver = true }

    // MARK: What is awaited

    func hasJoined(_ name: String) -> Bool { joins[name] != nil }

    /// Whether both participants are connected to each other.
    var areBothConnected: Bool { Self.names.allSatisfy { isConnected[$0] == true } }

    /// Whether a participant that was connected no longer is.
    var hasLostConnection: Bool { isConnected.values.contains(false) }

    /// Whether no participant is connected to the server.
    var hasLostServer: Bool { signaling.values.allSatisfy { $0 != "connected" } }

    /// Whether both participants have joined again since `earlier`.
    func haveBothRejoined(since earlier: DemoRecord) -> Bool {
        Self.names.allSatisfy { joins[$0, default: 0] > earlier.joins[$0, default: 0] }
    }

    /// Whether each participant has received `count` messages since `earlier`.
    func haveBothReceived(_ count: Int, since earlier: DemoRecord) -> Bool {
        Self.names.allSatisfy { received[$0, default: []].count >= earlier.received[$0, default: []].count + count }
    }

    /// Whether each participant has received a message after `time`.
    func haveBothReceived(after time: Timestamp) -> Bool {
        Self.names.allSatisfy { lastMessage[$0].map { $0 > time } ?? false }
    }

    /// Whether each participant has sent `count` messages since `earlier`.
    func haveBothSent(_ count: Int, since earlier: DemoRecord) -> Bool {
        Self.names.allSatisfy { sent[$0, default: 0] >= earlier.sent[$0, default: 0] + count }
    }

    /// Whether no further message is sent, and as many have arrived as were sent.
    var isEverythingReceived: Bool {
        isTalkOver
            && Self.pairs.allSatisfy { received[$0.receiver, default: []].count >= sent[$0.sender, default: 0] }
    }

    // MARK: The result

    private static let pairs = [(sender: "alice", receiver: "bob"), (sender: "bob", receiver: "alice")]

    /// Returns the result with the two times of recovery.
    func result(serverRecovery: Duration, pathRecovery: Duration) -> DemoResult {
        var result = DemoResult(messages: messages, serverRecovery: serverRecovery, pathRecovery: pathRecovery)
        for pair in Self.pairs {
            let numbers = received[pair.receiver, default: []]
            let distinct = Set(numbers)
            result.lost += sent[pair.sender, default: 0] - distinct.count
            result.duplicated += numbers.count - distinct.count
            result.disordered += zip(numbers, numbers.dropFirst()).count { $0 > $1 }
        }
        return result
    }
}

/// The result of a demo.
package struct DemoResult: Sendable {
    /// The number of messages received.
    package var messages: Int
    package var lost = 0
    package var duplicated = 0
    /// The number of messages that overtook another.
    package var disordered = 0
    /// The time from the server's return until both participants were back in the room.
    package var serverRecovery: Duration
    /// The time from the path's return until messages had arrived in both directions.
    package var pathRecovery: Duration

    package var hasPassed: Bool { lost == 0 && duplicated == 0 && disordered == 0 }
}
