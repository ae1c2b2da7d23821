package import RoomConnection
package import TransportPluginAPI

/// The trials of a room server, one after the other: direct, and relayed if there is a relay.
package struct RoomTrials: Sendable {
    private let configuration: RoomConfiguration
    private let registry: TransportRegistry
    private let name: String

    /// Creates trials in rooms whose names begin with `name`. With a token, which is for one room, `name` is the whole
    /// name of the room.
    package init(_ configuration: RoomConfiguration, registry: TransportRegistry, name: String) {
        self.configuration = configuration
        self.registry = registry
        self.name = name
    }

    /// Runs the first trial: as the configuration says, direct or relayed only. Throws `.invalidArgument` when the
    /// registry does not have the configuration's peer backend.
    package func first() async throws(TransportError) -> (record: TrialRecord, findings: [Finding]) {
        let record = try await record(isRelayOnly: configuration.icePolicy == .relay)
        return (record, Judgement.trial(record) + [Judgement.relays(record)].compactMap { $0 })
    }

    /// Returns the findings of the second trial, by relay only. Empty when the first one was relayed, or there is no
    /// relay.
    package func byRelay(after first: TrialRecord) async throws(TransportError) -> [Finding] {
        let plugin = try registry.peerPlugin(named: configuration.peer.name)
        guard !first.isRelayOnly, first.hasRelays, plugin.descriptor.capabilities.contains(.relay) else { return [] }
        return Judgement.trial(try await record(isRelayOnly: true))
    }

    private func record(isRelayOnly: Bool) async throws(TransportError) -> TrialRecord {
        let room = configuration.token == nil ? RoomTrial.uniqueRoomName(named: name) : name
        return await (try RoomTrial(configuration, registry: registry, room: room, isRelayOnly: isRelayOnly)).run()
    }
}
