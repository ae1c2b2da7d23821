internal import ArgumentParser
internal import CommandLineIO
internal import Foundation
internal import InProcessTransport
internal import TransportPluginAPI
internal import TransportTestKit

struct ConformCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "conform",
        abstract: "Run the conformance kit against a backend: test whether it keeps the contract of transports.",
        discussion: """
            One line for each clause of the contract as it finishes. Clauses about what the backend does not declare, \
            or the kit cannot do to it from outside, are skipped and say so. A signaling backend is judged at a \
            WebSocket server over TCP; one that speaks something else runs the kit in tests of its own, which bring a \
            server. Exits with 5 when a clause fails, with 4 when the backend cannot run here.
            """)

    @OptionGroup var common: CommonOptions

    @Argument(help: "A backend's name (`room plugins` lists them), or a shared library: all that it registers.")
    var subject: String

    @Option(help: "Only the clauses whose identifiers begin with this, such as peer.end or signaling.life.04.")
    var only: String?

    @Flag(help: "One JSON object a line.") var json = false

    func run() async throws {
        let settings = try common.settings()
        let logger = try common.logger(settings)
        let faults = ICEFaultControl()
        let (signaling, peers) = try chosen(settings, faults)
        var report = ConformanceReport(json: json, isPartial: only != nil)
        if let only, !["signaling.", "peer."].contains(where: { only.hasPrefix($0) || $0.hasPrefix(only) }) {
            throw CommandError(.usage, "--only '\(only)': clauses are called signaling.… and peer.…")
        }
        var judged = 0
        for plugin in signaling {
            let context = PluginContext(options: try settings.options("signalingOptions"), logger: logger)
            let transport = try Self.made(plugin.descriptor) { () throws(TransportError) in try plugin.make(context) }
            judged += await judge(transport, plugin, context, &report)
        }
        for plugin in peers {
            let context = PluginContext(options: try settings.options("peerOptions"), logger: logger)
            let transport = try Self.made(plugin.descriptor) { () throws(TransportError) in try plugin.make(context) }
            judged += await judge(transport, plugin, context, faults, &report)
        }
        guard judged > 0 else {
            throw CommandError(
                .usage, "--only '\(only ?? "")': '\(subject)' has no clause whose identifier begins with this")
        }
        // Work that a clause left behind may still run: an orderly exit would remove what it uses.
        if report.hasFailed { _exit(ExitStatus.checkFailed.rawValue) }
    }

    // MARK: The subject

    private func chosen(
        _ settings: Settings, _ faults: ICEFaultControl
    ) throws -> (signaling: [SignalingPlugin], peers: [PeerPlugin]) {
        var registry: TransportRegistry
        let isFile = subject.contains("/") || subject.hasSuffix(".so")
        if isFile {
            registry = TransportRegistry()
            try Backends.load(subject, into: &registry)
            guard !registry.signaling.isEmpty || !registry.peer.isEmpty else {
                throw CommandError(.unavailable, "the plugin \(subject) registers no backend")
            }
        } else {
            registry = try Backends.registry(faults: faults, plugins: settings.strings("plugins"))
        }
        let signaling = registry.signaling.filter { isFile || $0.descriptor.name == subject }
        let peers = registry.peer.filter { isFile || $0.descriptor.name == subject }
        guard !signaling.isEmpty || !peers.isEmpty else {
            let names = registry.signaling.map(\.descriptor.name) + registry.peer.map(\.descriptor.name)
            throw CommandError(.usage, "no backend is called '\(subject)': there is \(names.joined(separator: ", "))")
        }
        return (signaling, peers)
    }

    /// Makes a transport. Exits with 4 when the backend cannot run here, and with 2 when its options are wrong.
    static func made<Transport>(
        _ descriptor: PluginDescriptor, _ make: () throws(TransportError) -> Transport
    ) throws -> Transport {
        if let reason = descriptor.unavailability() {
            throw CommandError(.unavailable, "'\(descriptor.name)': \(reason)")
        }
        do throws(TransportError) { return try make() } catch {
            let status = error.code == .invalidArgument ? ExitStatus.usage : .unavailable
            throw CommandError(status, "'\(descriptor.name)': \(error.message)")
        }
    }

    // MARK: The kit

    /// Runs the clauses of a backend; they make their own transports. `first` only determines the type. Returns the
    /// number of clauses.
    private func judge<Transport: SignalingTransport>(
        _ first: Transport, _ plugin: SignalingPlugin, _ context: PluginContext, _ report: inout ConformanceReport
    ) async -> Int {
        await first.shutdown()
        let subject = SignalingSubject<Transport>(
            capabilities: plugin.descriptor.capabilities,
            makeTransport: { try Self.cast(try plugin.make(context), plugin.descriptor) })
        let clauses = wanted(SignalingConformance.allClauses(of: subject))
        await report.run(
            clauses, of: plugin.descriptor.name, kind: "signaling",
            hint: "a transport that does not speak WebSocket over TCP needs its own tests, which bring a server"
        )
        return clauses.count
    }

    private func judge<Transport: PeerTransport>(
        _ first: Transport, _ plugin: PeerPlugin, _ context: PluginContext, _ faults: ICEFaultControl,
        _ report: inout ConformanceReport
    ) async -> Int {
        await first.shutdown()
        let make: @Sendable () throws -> Transport = { try Self.cast(try plugin.make(context), plugin.descriptor) }
        let setPath: @Sendable (Bool, Transport, Transport) async -> Void = { isUp, left, right in
            if isUp { faults.restore() } else { faults.cut() }
            // The agents are notified on their loops.
            await left.loop.run {}
            await right.loop.run {}
        }
        let subject = PeerSubject<Transport>(
            capabilities: plugin.descriptor.capabilities, makeTransports: { (try make(), try make()) },
            setPath: Backends.hasFaults(plugin.descriptor.name) ? setPath : nil)
        let clauses = wanted(PeerConformance.allClauses(of: subject))
        await report.run(
            clauses, of: plugin.descriptor.name, kind: "peer",
            hint: "two connections in this process did not connect to each other")
        return clauses.count
    }

    private func wanted(_ clauses: [ConformanceClause]) -> [ConformanceClause] {
        guard let only else { return clauses }
        return clauses.filter { $0.id.hasPrefix(only) }
    }

    private static func cast<Transport>(_ transport: Any, _ descriptor: PluginDescriptor) throws -> Transport {
        guard let transport = transport as? Transport else {
            throw TransportError(.invalidState, "'\(descriptor.name)' makes transports of several types")
        }
        return transport
    }
}

/// Prints each clause as it ends, and the verdict.
private struct ConformanceReport {
    let json: Bool
    /// Whether only some clauses were requested, which proves nothing about the contract as a whole.
    let isPartial: Bool
    private(set) var hasFailed = false

    init(json: Bool, isPartial: Bool) {
        self.json = json
        self.isPartial = isPartial
    }

    /// Runs the clauses. `hint` says what may be wrong where nothing works at all.
    mutating func run(_ clauses: [ConformanceClause], of name: String, kind: String, hint: String) async {
        guard !clauses.isEmpty else { return }
        let run = await ConformanceRun(clauses) { report($0, name, kind) }
        if run.hasFailed { hasFailed = true }
        summarize(run, name, kind, run.notRun > 0 ? hint : nil)
    }

    private func report(_ result: ConformanceRun.Result, _ name: String, _ kind: String) {
        let (clause, outcome) = (result.clause, result.outcome)
        if json {
            var line = JSONLine(event: "clause")
            line.add("kind", kind)
            line.add("backend", name)
            line.add("id", clause.id)
            line.add("sentence", clause.sentence)
            line.add("result", outcome.rawValue)
            if let reason = result.reason { line.add("reason", reason) }
            line.add("seconds", result.time.inSeconds, digits: 3)
            return Output.line(line)
        }
        let colour =
            switch outcome {
            case .passed: Output.green
            case .failed: Output.red
            case .skipped: Output.grey
            }
        let word = outcome == .failed ? "FAILED " : outcome.rawValue.padding(toLength: 7, withPad: " ", startingAt: 0)
        Output.line(
            Output.coloured(word, colour) + String(format: " %6.2f s  ", result.time.inSeconds)
                + "\(clause.id)  \(clause.sentence)")
        if let reason = result.reason { Output.line("                  " + Output.coloured(reason, colour)) }
    }

    private func summarize(_ run: ConformanceRun, _ name: String, _ kind: String, _ hint: String?) {
        let passed = run.counts[.passed] ?? 0
        let failed = run.counts[.failed] ?? 0
        let skipped = run.counts[.skipped] ?? 0
        if json {
            var line = JSONLine(event: "conform")
            line.add("kind", kind)
            line.add("backend", name)
            line.add("conforms", failed == 0)
            line.add("partial", isPartial)
            line.add("passed", passed)
            line.add("failed", failed)
            line.add("skipped", skipped)
            line.add("notRun", run.notRun)
            if let hint { line.add("hint", hint) }
            line.add("seconds", run.time.inSeconds, digits: 3)
            return Output.line(line)
        }
        let kept = isPartial ? "these clauses of the contract" : "the contract"
        let verdict = failed == 0 ? "keeps \(kept)" : "does not keep \(kept)"
        Output.line(
            Output.coloured("\(name) (\(kind)) \(verdict)", failed == 0 ? Output.green : Output.red)
                + ": \(passed) clauses passed, \(failed) failed, \(skipped) skipped"
                + (run.notRun > 0 ? ", \(run.notRun) not run" : "") + String(format: ", in %.1f s", run.time.inSeconds))
        if let hint { Output.line("    without the first clause nothing else works: \(hint)") }
    }
}
