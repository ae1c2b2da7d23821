internal import Glibc
internal import TransportPluginAPI

/// One sentence of a transport's contract, as a test. Run one clause per test case, under any test framework:
///
/// ```swift
/// @Test(arguments: SignalingConformance.clauses(of: subject))
/// func keepsTheContract(_ clause: ConformanceClause) async throws { try await clause.run() }
/// ```
public struct ConformanceClause: Sendable, CustomStringConvertible {
    /// The stable identifier, such as `signaling.connect.03`.
    public let id: String
    /// The sentence of the contract.
    public let sentence: String
    /// The reason why the clause does not apply to the subject, such as a capability that it does not declare. Nil: it
    /// applies.
    public internal(set) var omission: String?
    private let limit: Duration
    private let body: @Sendable () async throws -> Void

    init(
        _ id: String, _ sentence: String, limit: Duration = .seconds(60),
        _ body: @escaping @Sendable () async throws -> Void
    ) {
        self.id = id
        self.sentence = sentence
        self.limit = limit
        self.body = body
    }

    /// Returns when the transport keeps the clause, or when the clause does not apply. Otherwise throws a
    /// `ConformanceFailure`, after 60 s at the latest (240 s for clauses that make a thousand connections).
    public func run() async throws {
        guard omission == nil else { return }
        do {
            try await within(limit, "the whole clause", body)
        } catch let failure as ConformanceFailure {
            throw ConformanceFailure("\(id) (\(sentence)): \(failure.message)", reason: failure.message)
        } catch {
            let reason = "unexpected error: \(error)"
            throw ConformanceFailure("\(id) (\(sentence)): \(reason)", reason: reason)
        }
    }

    public var description: String { "\(id): \(sentence)" }
}

extension [ConformanceClause] {
    /// Returns the clauses, marked as not applying when there is a reason.
    func omitted(_ reason: String?) -> [ConformanceClause] {
        guard let reason else { return self }
        return map { clause in
            var clause = clause
            clause.omission = clause.omission ?? reason
            return clause
        }
    }

    /// Returns the clauses, marked as not applying to a subject that does not declare the capability.
    func requiring(_ capability: Capabilities, in declared: Capabilities) -> [ConformanceClause] {
        omitted(
            declared.isSuperset(of: capability) ? nil : "\(capability.names.joined(separator: ", ")) is not declared")
    }
}

/// The error of a clause that a transport does not keep.
public struct ConformanceFailure: Error, CustomStringConvertible {
    /// The clause, and the behaviour that was observed instead.
    public let message: String
    /// The observed behaviour, without the clause.
    public let reason: String

    init(_ message: String, reason: String? = nil) {
        self.message = message
        self.reason = reason ?? message
    }

    public var description: String { message }
}

func expect(_ condition: Bool, _ message: @autoclosure () -> String) throws {
    if !condition { throw ConformanceFailure(message()) }
}

/// Runs `body`, which must throw a `TransportError` with one of `codes` within `limit`, and returns the error.
@discardableResult
func expectError(
    _ codes: TransportError.Code..., from operation: String, within limit: Duration = .seconds(30),
    _ body: @escaping @Sendable () async throws -> some Sendable
) async throws -> TransportError {
    let result: any Sendable
    do { result = try await within(limit, "\(operation), which must throw \(codes),", body) } catch let error
        as TransportError
    {
        try expect(codes.contains(error.code), "\(operation) must throw \(codes), but threw \(error)")
        return error
    }
    throw ConformanceFailure("\(operation) must throw \(codes), but returned \(description(of: result))")
}

/// Runs `body`, and checks that it took less than `limit`.
func expectLess(than limit: Duration, for what: String, _ body: () async throws -> Void) async throws {
    let start = Timestamp.now()
    try await body()
    let elapsed = Timestamp.now() - start
    try expect(elapsed < limit, "\(what) took \(elapsed)")
}

/// Describes a result in a sentence, without the bytes of a message.
private func description(of result: any Sendable) -> String {
    switch result {
    case is Void: "()"
    case let message as SignalingMessage?:
        switch message {
        case .text(let payload): "a text of \(payload.count) bytes"
        case .binary(let payload): "a binary message of \(payload.count) bytes"
        case nil: "nil"
        }
    default: String("\(result)".prefix(120))
    }
}

/// Shuts the transport down, within a short time limit.
func shutDown(_ transport: some SignalingTransport) async throws {
    try await within(.seconds(20), "shutdown()") { await transport.shutdown() }
}

/// Runs `body`, and fails when it has not returned after `limit`. A body that ignores cancellation is left running, so
/// that a transport that hangs cannot hang the suite.
func within<Result: Sendable>(
    _ limit: Duration, _ operation: String, _ body: @escaping @Sendable () async throws -> Result
) async throws -> Result {
    let outcome = PendingOutcome<Swift.Result<Result, any Error>>()
    let work = Task {
        do {
            outcome.settle(.success(.success(try await body())))
        } catch {
            outcome.settle(.success(.failure(error)))
        }
    }
    let timer = Task {
        try await Task.sleep(for: limit)
        outcome.settle(.success(.failure(ConformanceFailure("\(operation) did not finish within \(limit)"))))
    }
    defer {
        work.cancel()
        timer.cancel()
    }
    return try await outcome.value { work.cancel() }.get()
}

/// Waits until `condition` holds, polling it, and fails after `limit`.
func eventually(
    within limit: Duration = .seconds(10), _ operation: String, _ condition: @Sendable () async throws -> Bool
) async throws {
    let deadline = Timestamp.now() + limit
    while try await !condition() {
        try expect(Timestamp.now() < deadline, "\(operation) did not come true within \(limit)")
        try await Task.sleep(for: .milliseconds(5))
    }
}

/// Waits until `value` has not changed for a while, and returns it.
func stableValue(of value: @Sendable () -> Int) async throws -> Int {
    var last = value()
    var unchanged = 0
    while unchanged < 15 {
        try await Task.sleep(for: .milliseconds(20))
        let now = value()
        unchanged = now == last ? unchanged + 1 : 0
        last = now
    }
    return last
}

/// A counter that tasks and threads share.
final class Counter: Sendable {
    private let count = Locked(0)
    var value: Int { count.withLock { $0 } }
    func add(_ amount: Int = 1) { count.withLock { $0 += amount } }
}
