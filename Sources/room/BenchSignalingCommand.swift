internal import ArgumentParser
internal import Foundation
internal import Logging
internal import TransportBenchmark
internal import TransportPluginAPI

/// One end of the scenario `signaling`, in a process of its own; prints JSON Lines for `bench`. Not for people.
struct BenchSignalingCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "bench-signaling", shouldDisplay: false)

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
            // Until whoever started us is gone.
            await withCheckedContinuation { continuation in
                Thread.detachNewThread {
                    while readLine() != nil {}
                    continuation.resume()
                }
            }
            return
        }
        let plugin = try Backends.registry().signalingPlugin(named: signaling)
        let transport = try plugin.make(PluginContext(logger: Logger(label: "bench")))
        Output.line(try await SignalingBenchmark(url: url, seconds: seconds).run(transport, onLoop: onLoop))
        await transport.shutdown()
    }
}
