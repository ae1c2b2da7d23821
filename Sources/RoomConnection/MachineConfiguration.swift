internal import RoomCore
internal import RoomProtocol
internal import RoomValues
internal import TransportPluginAPI

extension MachineConfiguration {
    /// The part of an application's configuration that the machine decides by.
    init(_ hello: Hello, _ configuration: RoomConfiguration, peer capabilities: Capabilities) {
        self.init(room: hello.room, role: hello.role, name: hello.name)
        waitsForRoom = hello.waitsForRoom
        metadata = hello.metadata
        self.capabilities = hello.capabilities
        hasCredentialProvider = configuration.token != nil
        hasICEServerProvider = configuration.iceServerProvider != nil
        ice.servers = configuration.iceServers
        ice.policy = configuration.icePolicy
        ice.usesServers = capabilities.contains(.relay)
        ice.usesTLS = capabilities.contains(.secureRelay)
        recovery.rejoinPolicy = configuration.rejoinPolicy
        recovery.budgets = configuration.recovery
        signaling.backoff.reconnect = configuration.reconnect
    }
}
