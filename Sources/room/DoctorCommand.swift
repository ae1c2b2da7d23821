internal import ArgumentParser
internal import Foundation
internal import RoomConnection
internal import RoomDoctor
internal import TransportBenchmark
internal import TransportPluginAPI

struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor", abstract: "Say what would stop this machine from connecting, and what to do about it.",
        discussion: """
            Looks at the backends' libraries, the network interfaces, UDP, buffer and descriptor limits, the clock, \
            the room server (with --server, or one in the configuration) and each STUN and TURN server. With --room, \
            two participants in this process also join a room, connect directly and by relay, and exchange messages. \
            Exits with 5 when something would stop it.
            """)

    @OptionGroup var common: CommonOptions
    @OptionGroup var transport: TransportOptions

    @Option(
        help:
            """
            Join a room whose name begins with this, and try everything in it. With a token: the room of exactly this \
            name, which must be empty.
            """
    )
    var room: String?

    @Flag(help: "One JSON object a line.")
    var json = false

    func run() async throws {
        let settings = try Settings(path: common.configFile)
        let configuration = try transport.configuration(settings, common, checksICEServers: false)
        let watch = ClockWatch()
        let registry = try Backends.registry(plugins: settings.strings("plugins"))
        var counts: [Finding.Status: Int] = [:]
        func tell(_ findings: [Finding]) {
            for finding in findings {
                counts[finding.status, default: 0] += 1
                report(finding)
            }
        }
        let signaling = try registry.signalingPlugin(named: configuration.signaling.name)
        let peer = try registry.peerPlugin(named: configuration.peer.name)
        for descriptor in registry.signaling.map(\.descriptor) + registry.peer.map(\.descriptor) {
            let isChosen = [signaling.descriptor.name, peer.descriptor.name].contains(descriptor.name)
            tell([library(descriptor, isChosen: isChosen)])
        }
        tell([
            Judgement.interfaces(
                LocalAddress.all(), preferring: LocalAddress.preferred(),
                netlinkRefusal: LocalAddress.netlinkRefusal()),
            Judgement.udp(failure: await blocking { Probes.udpFailure() }),
            Judgement.receiveBuffers(maximum: Probes.receiveBufferMaximum()),
            Judgement.descriptors(limit: Probes.descriptorLimit()),
        ])
        let network = NetworkChecks(configuration: configuration)
        var clockAhead = 0.0
        var isReached = false
        if try room != nil || transport.server ?? settings.string("server") != nil {
            let (findings, ahead) = await network.server(signaling)
            tell(findings)
            clockAhead = ahead ?? 0
            isReached = findings.contains { $0.check == "handshake" && $0.status == .ok }
        }
        func check(_ servers: [ICEServer]) async {
            for iceServer in servers {
                for url in iceServer.urls {
                    tell([await network.check(url, iceServer, peer, clockAhead: clockAhead)])
                }
            }
        }
        await check(configuration.iceServers)
        if let room {
            if isReached {
                let trials = RoomTrials(configuration, registry: registry, name: room)
                let first = try await trials.first()
                await check(first.record.iceServers.filter { !configuration.iceServers.contains($0) })
                tell(first.findings)
                tell(try await trials.byRelay(after: first.record))
            } else {
                tell([Judgement.roomNotTried()])
            }
        }
        let (drift, elapsed) = watch.stop()
        tell([Judgement.steadiness(drift: drift, elapsed: elapsed)])
        let problems = counts[.problem] ?? 0
        summarize(problems: problems, warnings: counts[.warning] ?? 0)
        if problems > 0 { throw ExitStatus.checkFailed }
    }

    private func report(_ finding: Finding) {
        if json {
            var line = JSONLine(event: "check")
            line.add("check", finding.check)
            line.add("status", finding.status.rawValue)
            line.add("message", finding.message)
            if let cure = finding.cure { line.add("cure", cure) }
            return Output.line(line)
        }
        let colour = finding.status == .ok ? Output.green : finding.status == .warning ? Output.yellow : Output.red
        let word = finding.status.rawValue.padding(toLength: 8, withPad: " ", startingAt: 0)
        Output.line(Output.coloured(word, colour) + "\(finding.check): \(finding.message)")
        if let cure = finding.cure { Output.line("        → \(cure)") }
    }

    private func summarize(problems: Int, warnings: Int) {
        if json {
            var line = JSONLine(event: "doctor")
            line.add("problems", problems)
            line.add("warnings", warnings)
            return Output.line(line)
        }
        func count(_ number: Int, _ word: String) -> String { "\(number) \(word)\(number == 1 ? "" : "s")" }
        let extra = warnings == 0 ? "" : " (\(count(warnings, "warning")))"
        Output.line(
            problems == 0
                ? Output.coloured("nothing was found that would stop this machine from connecting", Output.green)
                    + extra
                : Output.coloured("\(count(problems, "problem")) would stop this machine from connecting", Output.red)
                    + extra)
    }

    /// Returns the finding about a backend. The message of one that cannot run names the package that provides the
    /// missing library.
    private func library(_ descriptor: PluginDescriptor, isChosen: Bool) -> Finding {
        guard let reason = descriptor.unavailability() else {
            return Finding("libraries", .ok, "\(descriptor.name) can run here")
        }
        return Finding(
            "libraries", isChosen ? .problem : .warning, "\(descriptor.name) cannot run here: \(reason)",
            cure: isChosen ? "install what is missing, or choose another backend" : nil)
    }
}

/// Runs blocking work on a separate thread.
func blocking<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
    await withCheckedContinuation { continuation in
        Thread.detachNewThread { continuation.resume(returning: body()) }
    }
}
