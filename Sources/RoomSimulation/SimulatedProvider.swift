internal import RoomCore
internal import TransportValues

/// A provider of an application as the room's shell calls it (`ProviderCalls`): one question at a time. A question that
/// takes too long is given up, and its answer is ignored.
struct SimulatedProvider {
    enum Answer {
        /// `isFresh`: not from the provider's cache.
        case value(isFresh: Bool)
        case failure
        /// The shell waits no longer.
        case timeout
    }

    /// As the shell's.
    static let patience = Duration.seconds(30)
    static let maximumCalls = 4

    /// How many faults make its calls hang, or fail.
    var hangs = 0
    var failures = 0
    /// The question that is waited for.
    private(set) var question: UInt64?
    private var lastQuestion: UInt64 = 0
    /// Calls that have not returned, those that were given up included.
    private var hangingCalls = 0
    /// The times of the questions of the last ten seconds.
    private(set) var recentQuestions: [Timestamp] = []

    /// So many calls hang that no other one is made.
    var isExhausted: Bool { hangingCalls >= Self.maximumCalls }

    /// Begins a question, and gives up the one before.
    mutating func ask(now: Timestamp) -> UInt64 {
        recentQuestions.append(now)
        recentQuestions.removeAll { now - $0 > .seconds(10) }
        lastQuestion += 1
        question = lastQuestion
        return lastQuestion
    }

    /// The call of the latest question does not return.
    mutating func hang() { hangingCalls += 1 }

    /// Ends a question. False: it was given up before.
    mutating func end(_ question: UInt64) -> Bool {
        guard self.question == question else { return false }
        self.question = nil
        return true
    }

    /// All calls return. Returns the question that one of them may answer.
    mutating func recover() -> UInt64? {
        defer { hangingCalls = 0 }
        return hangingCalls > 0 ? question : nil
    }

    /// Another room's shell calls it from now on.
    mutating func reset() {
        question = nil
        hangingCalls = 0
        recentQuestions = []
    }
}

/// The decision about one call of a provider.
enum ProviderCall {
    case refused
    case hanging
    case failing
    case answering(after: Duration)
}
