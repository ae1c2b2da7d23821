internal import ArgumentParser
internal import CommandLineIO
internal import Foundation
internal import RoomDoctor

struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Say what would stop this machine from connecting, and what to do about it.",
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

    @Flag(help: "One JSON object a line.") var json = false

    func run() async throws {
        let settings = try common.settings()
        let configuration = try transport.configuration(settings, common, checksICEServers: false)
        let registry = try Backends.registry(plugins: settings.strings("plugins"))
        var examination = Examination(
            configuration, registry: registry, environment: ProcessInfo.processInfo.environment)
        examination.asksServer = try transport.server ?? settings.string("server") != nil
        examination.room = room
        var counts: [Finding.Status: Int] = [:]
        try await examination.run { finding in
            counts[finding.status, default: 0] += 1
            report(finding)
        }
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
}
