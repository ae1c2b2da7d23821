package import RoomConnection
package import TransportPluginAPI

/// The trials of a room server, one after the other: directly, and by relay where there is one.
package struct RoomTrials: Sendable {
    private let configuration: RoomConfiguration
    private let registry: TransportRegistry
    private let name: String

    /// `name`: what the rooms' names begin with. With a token, which is for one room, it is the room's whole name.
    package init(_ configuration: RoomConfiguration, registry: TransportRegistry, name: String) {
        self.configuration = configuration
        self.registry = registry
        self.name = name
    }

    /// The first trial: as the configuration says, directly or by relay only.
    /// Throws `.invalidArgument` when there is no such peer backend as the configuration names.
    package func first() async throws(TransportError) -> (record: TrialRecord, findings: [Finding]) {
        let record = try await record(isRelayOnly: configuration.icePolicy == .relay)
        return (record, Judgement.trial(record) + [Judgement.relays(record)].compactMap { $0 })
    }

    /// The findings of the second trial, by relay only. None where the first one was that, or there is no relay to try.
    package func byRelay(after first: TrialRecord) async throws(TransportError) -> [Finding] {
        let plugin = try registry.peerPlugin(named: configuration.peer.name)
        guard !first.isRelayOnly, first.hasRelays, plugin.descriptor.capabilities.contains(.relay) else { return [] }
        return Judgement.trial(try await record(isRelayOnly: true))
    }

    private func record(isRelayOnly: Bool) async throws(TransportError) -> TrialRecord {
        let room = configuration.token == nil ? RoomTrial.ownRoom(named: name) : name
        return await (try RoomTrial(configuration, registry: registry, room: room, isRelayOnly: isRelayOnly)).run()
    }
}
