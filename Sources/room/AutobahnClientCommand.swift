internal import ArgumentParser
internal import Foundation
internal import TransportPluginAPI
internal import TransportTestKit

/// Runs the cases of Autobahn's fuzzing server with a signaling backend (Tests/Autobahn). Not for people.
struct AutobahnClientCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "autobahn-client", shouldDisplay: false)

    @OptionGroup var common: CommonOptions
    @Option var signaling: String
    /// The URL of the fuzzing server.
    @Option var server: String

    func run() async throws {
        let registry = try Backends.registry()
        guard let plugin = registry.signaling.first(where: { $0.descriptor.name == signaling }) else {
            let names = registry.signaling.map(\.descriptor.name).joined(separator: ", ")
            throw CommandError(.usage, "no signaling backend is called '\(signaling)': there is \(names)")
        }
        if let reason = plugin.descriptor.unavailability() {
            throw CommandError(.unavailable, "'\(signaling)': \(reason)")
        }
        let context = PluginContext(logger: try LogLevels.logger(common.logLevel))
        do {
            try await run(try plugin.make(context))
        } catch let error as TransportError {
            throw CommandError(.checkFailed, error.message)
        }
    }

    private func run(_ transport: some SignalingTransport) async throws {
        try await AutobahnClient(server: server, agent: signaling).run(transport)
        await transport.shutdown()
    }
}
