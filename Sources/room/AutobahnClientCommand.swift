internal import ArgumentParser
internal import Foundation
internal import TransportPluginAPI

/// Runs the cases of Autobahn's fuzzing server with a signaling backend (Tests/Autobahn). Not for people.
struct AutobahnClientCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "autobahn-client", shouldDisplay: false)

    @OptionGroup var common: CommonOptions
    @Option var signaling: String
    /// The URL of the fuzzing server.
    @Option var server: String

    /// Autobahn's largest messages have 16 MiB.
    private static let largestMessage = 64 << 20

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
        try await goThroughCases(try plugin.make(context))
    }

    private func goThroughCases(_ transport: some SignalingTransport) async throws {
        let counter = try await transport.connect(to: try endpoint("/getCaseCount"))
        guard let text = try await counter.receive()?.payload.utf8Text, let count = Int(text) else {
            throw CommandError(.checkFailed, "\(server) did not say how many cases there are")
        }
        await counter.close(.normal, within: .seconds(5))
        for number in 1...max(1, count) {
            let connection = try await transport.connect(to: try endpoint("/runCase?case=\(number)&agent=\(signaling)"))
            await echo(connection)
            await connection.close(.normal, within: .seconds(5))
        }
        let last = try await transport.connect(to: try endpoint("/updateReports?agent=\(signaling)"))
        await echo(last)
        await last.close(.normal, within: .seconds(5))
        await transport.shutdown()
    }

    /// Echoes until the connection has ended; Autobahn judges how.
    private func echo(_ connection: some SignalingConnection) async {
        do {
            while let message = try await connection.receive() { try await connection.send(message) }
        } catch {}
    }

    private func endpoint(_ path: String) throws -> SignalingEndpoint {
        var endpoint = try SignalingEndpoint(url: server)
        endpoint.path = path
        // Autobahn writes the report of a large case before it answers again.
        endpoint.connectTimeout = .seconds(120)
        endpoint.maximumMessageSize = Self.largestMessage
        endpoint.bufferLimit = Self.largestMessage
        return endpoint
    }
}
