internal import ArgumentParser
internal import CommandLineIO
internal import Foundation
internal import Logging
internal import TransportBenchmark
internal import TransportPluginAPI

/// One end of the scenario `signaling`, in a process of its own; prints JSON Lines for `bench`. Not for people.
struct BenchSignalingCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "bench-signaling", shouldDisplay: false)

    @OptionGroup var common: CommonOptions
    /// The echo server; ends with standard input.
    @Flag var serve = false
    @Option var signaling = "foundation"
    @Option var url = ""
    @Option var seconds = 1.0
    /// In a task that prefers the backend's executor.
    @Flag var onLoop = false

    func run() async throws {
        guard !serve else {
            let server = try await EchoServer()
            var line = JSONLine(event: "listening")
            line.add("port", Int(server.port))
            Output.line(line)
            // Standard input ends with the parent process.
            try await DetachedThread.run { while readLine() != nil {} }
            return
        }
        let settings = try common.settings()
        let plugin = try Backends.registry(plugins: settings.strings("plugins")).signalingPlugin(named: signaling)
        let context = PluginContext(
            options: try settings.options("signalingOptions", ofBackend: "signaling", signaling),
            logger: Logger(label: "bench"))
        do {
            let transport = try plugin.make(context)
            Output.line(try await SignalingBenchmark(url: url, seconds: seconds).run(transport, onLoop: onLoop))
            await transport.shutdown()
        } catch {
            var line = JSONLine(event: "failed")
            line.add("reason", "\(error)")
            Output.line(line)
            throw error
        }
    }
}
