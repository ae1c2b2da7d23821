package import RoomConnection
package import TransportPluginAPI

/// All checks of `room doctor`, one after the other: this machine, the room server, STUN and TURN servers, and a trial
/// of a room.
package struct Examination: Sendable {
    /// Whether the configuration's room server is asked. It always is where a room is to be tried.
    package var asksServer = false
    /// The beginning of the name of the room to try. With a join token, which is for one room, its whole name. Nil:
    /// none is tried.
    package var room: String?
    private let configuration: RoomConfiguration
    private let registry: TransportRegistry
    private let environment: [String: String]

    /// `environment`: the variables of this process's environment, which may name a proxy.
    package init(_ configuration: RoomConfiguration, registry: TransportRegistry, environment: [String: String]) {
        self.configuration = configuration
        self.registry = registry
        self.environment = environment
    }

    /// Runs the checks and reports each finding as it comes.
    /// Throws `.invalidArgument` when the registry has no such backend as the configuration names.
    package func run(_ report: (Finding) -> Void) async throws {
        let watch = ClockWatch()
        let signaling = try registry.signalingPlugin(named: configuration.signaling.name)
        let peer = try registry.peerPlugin(named: configuration.peer.name)
        for descriptor in registry.signaling.map(\.descriptor) + registry.peer.map(\.descriptor) {
            let isChosen = [signaling.descriptor.name, peer.descriptor.name].contains(descriptor.name)
            report(
                Judgement.library(
                    of: descriptor.name, unavailability: descriptor.unavailability(), isChosen: isChosen))
        }
        await checkMachine(report)
        let network = NetworkChecks(configuration: configuration, environment: environment)
        var clockAhead = 0.0
        var isReached = false
        if asksServer || room != nil {
            let (findings, ahead) = await network.server(signaling)
            findings.forEach(report)
            clockAhead = ahead ?? 0
            isReached = findings.contains { $0.check == "handshake" && $0.status == .ok }
        }
        func check(_ servers: [ICEServer]) async {
            for server in servers {
                for url in server.urls { report(await network.check(url, server, peer, clockAhead: clockAhead)) }
            }
        }
        await check(configuration.iceServers)
        if let room {
            if isReached {
                let trials = RoomTrials(configuration, registry: registry, name: room)
                let first = try await trials.first()
                await check(first.record.iceServers.filter { !configuration.iceServers.contains($0) })
                first.findings.forEach(report)
                try await trials.byRelay(after: first.record).forEach(report)
            } else {
                report(Judgement.roomNotTried())
            }
        }
        let (drift, elapsed) = watch.stop()
        report(Judgement.clockStability(drift: drift, elapsed: elapsed))
    }

    private func checkMachine(_ report: (Finding) -> Void) async {
        report(
            Judgement.interfaces(
                LocalAddress.all(), preferring: LocalAddress.preferred(), netlinkRefusal: LocalAddress.netlinkRefusal())
        )
        report(Judgement.udp(failure: await blocking { Probes.udpFailure() }))
        report(Judgement.receiveBuffers(maximum: Probes.receiveBufferMaximum()))
        report(Judgement.descriptors(limit: Probes.descriptorLimit()))
    }
}
