internal import Foundation

/// The results of one run of `room bench`, and the machine: the content of its JSON file.
package struct BenchmarkReport: Sendable, Equatable, Codable {
    /// One combination of backends in one scenario.
    package struct Result: Sendable, Equatable {
        package var subject: String
        package var signaling: String
        package var peer: String
        package var scenario: String
        /// The values of its rounds, by metric. Those that could not be measured are left out.
        package var values: [String: [Double]] = [:]
        /// The latencies of all rounds together, in the scenarios that have them.
        package var histogram: LatencyHistogram?

        package var isReference: Bool { subject == BenchmarkReport.reference }

        /// The median over the rounds.
        package func median(_ metric: String) -> Double? {
            guard let values = values[metric]?.sorted(), !values.isEmpty else { return nil }
            return values[values.count / 2]
        }

        /// The smallest and the largest value of the rounds.
        package func range(_ metric: String) -> ClosedRange<Double>? {
            guard let values = values[metric], let low = values.min(), let high = values.max() else { return nil }
            return low...high
        }

        package mutating func add(_ round: Measured) {
            for (metric, value) in round.metrics where value.isFinite { values[metric, default: []].append(value) }
            guard let more = round.histogram else { return }
            if histogram == nil { histogram = more } else { histogram?.merge(more) }
        }
    }

    /// The machine of a run, and its load.
    package struct Machine: Sendable, Equatable, Codable {
        package var cores: Int
        package var memory: UInt64
        package var system: String
        package var busyLoopBeside: Bool
        /// The build: `debug` or `release`.
        package var build: String
        /// The processor's name, if the system has it.
        package var processor: String?
        package var kernel: String?
        /// The average number of runnable threads over the minute before.
        package var loadBefore: Double?
    }

    /// The parameters of a run.
    package struct Run: Sendable, Equatable, Codable {
        /// The seconds of each measurement that runs for a time.
        package var seconds: Double
        package var rounds: Int
        /// The time of the start, as ISO 8601 in UTC.
        package var began: String
        package var version: String
    }

    /// A subject that could not be measured, at least not in all rounds.
    package struct Failure: Sendable, Equatable, Codable {
        package var subject: String
        package var reason: String
    }

    /// The name of the C programs among the subjects.
    package static let reference = "C reference"

    package var machine: Machine
    /// The parameters of the run. Reports of older versions have none.
    package var run: Run?
    package var results: [Result]
    package var failures: [Failure]?

    /// The names in the order of their first appearance.
    package var scenarios: [String] { unique(results.map(\.scenario)) }
    package var subjects: [String] { unique(results.map(\.subject)) }

    package func result(_ subject: String, _ scenario: String) -> Result? {
        results.first { $0.subject == subject && $0.scenario == scenario }
    }

    private func unique(_ names: [String]) -> [String] {
        var seen: Set<String> = []
        return names.filter { seen.insert($0).inserted }
    }
}

/// One round of one scenario.
package struct Measured: Sendable {
    package var scenario: String
    package var metrics: [String: Double]
    package var histogram: LatencyHistogram?

    package init(_ scenario: String, _ metrics: [String: Double], _ histogram: LatencyHistogram? = nil) {
        self.scenario = scenario
        self.metrics = metrics
        self.histogram = histogram
    }
}

extension BenchmarkReport.Result: Codable {
    private enum Key: String, CodingKey { case subject, signaling, peer, scenario, metrics, rounds, histogram }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Key.self)
        try container.encode(subject, forKey: .subject)
        try container.encode(signaling, forKey: .signaling)
        try container.encode(peer, forKey: .peer)
        try container.encode(scenario, forKey: .scenario)
        let medians = values.keys.compactMap { metric in median(metric).map { (metric, rounded($0)) } }
        try container.encode(Dictionary(uniqueKeysWithValues: medians), forKey: .metrics)
        let count = values.values.map(\.count).max() ?? 0
        let rounds = (0..<count).map { round in
            values.compactMapValues { round < $0.count ? rounded($0[round]) : nil }
        }
        try container.encode(rounds, forKey: .rounds)
        try container.encodeIfPresent(histogram, forKey: .histogram)
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Key.self)
        self.init(
            subject: try container.decode(String.self, forKey: .subject),
            signaling: try container.decode(String.self, forKey: .signaling),
            peer: try container.decode(String.self, forKey: .peer),
            scenario: try container.decode(String.self, forKey: .scenario))
        for round in try container.decode([[String: Double?]].self, forKey: .rounds) {
            for (metric, value) in round { if let value { values[metric, default: []].append(value) } }
        }
        histogram = try container.decodeIfPresent(LatencyHistogram.self, forKey: .histogram)
    }

    /// No value here is known to more than a thousandth of its unit.
    private func rounded(_ value: Double) -> Double { (value * 1000).rounded() / 1000 }
}

extension BenchmarkReport {
    /// The text of the JSON file.
    package func json() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(self), as: UTF8.self) + "\n"
    }

    /// Reads the output of `json`, of this version or an older one.
    package init(contentsOf file: String) throws {
        guard let data = FileManager.default.contents(atPath: file) else {
            throw BenchmarkError(
                "\(file) cannot be read: name a file that room bench --json has written", isUsage: true)
        }
        do {
            self = try JSONDecoder().decode(Self.self, from: data)
        } catch {
            throw BenchmarkError("\(file) is no report of room bench --json: \(Self.reason(error))", isUsage: true)
        }
    }

    private static func reason(_ error: any Error) -> String {
        func path(_ context: DecodingError.Context) -> String {
            context.codingPath.map { $0.intValue.map(String.init) ?? $0.stringValue }.joined(separator: ".")
        }
        switch error as? DecodingError {
        case .keyNotFound(let key, let context):
            return "'\(key.stringValue)' is missing" + (context.codingPath.isEmpty ? "" : " in '\(path(context))'")
        case .typeMismatch(_, let context), .valueNotFound(_, let context):
            return "'\(path(context))' has a value of another type"
        case .dataCorrupted(let context) where !context.codingPath.isEmpty:
            return "'\(path(context))': \(context.debugDescription)"
        default: return "it is not valid JSON"
        }
    }
}

extension BenchmarkReport.Machine {
    /// The machine that this process runs on.
    package static func current(busyLoopBeside: Bool) -> Self {
        let information = ProcessInfo.processInfo
        let processors = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
        let model = processors.split(separator: "\n").first { $0.hasPrefix("model name") }?
            .split(separator: ":", maxSplits: 1).last?.trimmingCharacters(in: .whitespaces)
        let kernel = (try? String(contentsOfFile: "/proc/sys/kernel/osrelease", encoding: .utf8))?
            .trimmingCharacters(in: .whitespacesAndNewlines)
        var load = [0.0]
        let hasLoad = getloadavg(&load, 1) == 1
        #if DEBUG
            let build = "debug"
        #else
            let build = "release"
        #endif
        return Self(
            cores: information.activeProcessorCount, memory: information.physicalMemory,
            system: information.operatingSystemVersionString, busyLoopBeside: busyLoopBeside, build: build,
            processor: model, kernel: kernel, loadBefore: hasLoad ? (load[0] * 100).rounded() / 100 : nil)
    }
}
