internal import ArgumentParser
internal import CommandLineIO
internal import InProcessTransport
internal import RoomConnection
internal import TransportBenchmark
internal import TransportPluginAPI

/// One end of a measured pair, in a process of its own; speaks JSON Lines with `bench`. Not for people.
struct BenchPeerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "bench-peer", shouldDisplay: false)

    @OptionGroup var common: CommonOptions
    @OptionGroup var transport: TransportOptions
    @Option var name: String
    @Flag var asHost = false
    /// The peer transport alone, without a room; signals travel over standard input and output.
    @Flag var bare = false
    /// Obey `cut` and `restore`.
    @Flag var faultInjection = false

    func run() async throws {
        do { try await serve() } catch {
            var line = JSONLine(event: "failed")
            line.add("reason", (error as? CommandError)?.message ?? "\(error)")
            Output.line(line)
            throw error
        }
    }

    private func serve() async throws {
        let settings = try common.settings()
        let configuration = try transport.configuration(settings, common)
        let faults = faultInjection ? ICEFaultControl() : nil
        let registry = try Backends.registry(faults: faults, plugins: settings.strings("plugins"))
        let peer = BenchmarkPeer(output: .init(line: { Output.line($0) }, printError: { Output.printError($0) }))
        if bare {
            let plugin = try registry.peerPlugin(named: configuration.peer.name)
            let transport = try plugin.make(
                PluginContext(options: configuration.peer.options, logger: configuration.logger))
            try await peer.serve(transport, isOfferer: asHost)
            await transport.shutdown()
        } else {
            try await TransportRuntime.withRunning(configuration, registry: registry) { runtime in
                let room = try await runtime.open(room: "bench", as: name, host: HostRole(asHost))
                try await peer.serve(room) { isUp in
                    if isUp { faults?.restore() } else { faults?.cut() }
                }
            }
        }
    }
}
