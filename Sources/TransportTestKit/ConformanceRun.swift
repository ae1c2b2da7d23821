internal import TransportPluginAPI

/// The outcome of clauses that were run one after the other.
package struct ConformanceRun: Sendable {
    package enum Outcome: String, Sendable {
        case passed
        case failed
        case skipped
    }

    /// One clause, and how it ended.
    package struct Result: Sendable {
        package let clause: ConformanceClause
        package let outcome: Outcome
        /// Why it failed or was skipped.
        package let reason: String?
        package let time: Duration
    }

    package private(set) var counts: [Outcome: Int] = [:]
    /// Clauses that were left out, since nothing works without the first.
    package private(set) var notRun = 0
    package private(set) var time = Duration.zero

    package var hasFailed: Bool { counts[.failed] != nil }

    /// Runs the clauses and reports each as it ends. When the first fails, the others say nothing and are left out.
    package init(_ clauses: [ConformanceClause], report: (Result) -> Void) async {
        let start = Timestamp.now()
        for (number, clause) in clauses.enumerated() {
            let result = await Self.result(of: clause)
            counts[result.outcome, default: 0] += 1
            report(result)
            if number == 0, result.outcome == .failed, clauses.count > 1, clause.id.hasSuffix(".01") {
                notRun = clauses.count - 1
                break
            }
        }
        time = Timestamp.now() - start
    }

    private static func result(of clause: ConformanceClause) async -> Result {
        let start = Timestamp.now()
        var outcome = clause.omission == nil ? Outcome.passed : .skipped
        var reason = clause.omission
        do { try await clause.run() } catch {
            outcome = .failed
            reason = (error as? ConformanceFailure)?.reason ?? "\(error)"
        }
        return Result(clause: clause, outcome: outcome, reason: reason, time: Timestamp.now() - start)
    }
}
