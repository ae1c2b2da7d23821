internal import ArgumentParser
internal import RoomServer

/// The settings of a server that is one node of a cluster.
struct ClusterOptions: ParsableArguments {
    @Option(
        help:
            """
            The Redis or Valkey server that the nodes of a cluster share: redis://user:password@host:6379/0, rediss:// \
            with TLS, redis+sentinel://host:26379,host:26379/NAME. A password is safer in ROOM_REDIS or in the file.
            """
    )
    var redis: String?

    @Option(help: "A PEM file with the authorities of the Redis server's certificate. Default: the system's.")
    var redisAuthorities: String?

    @Option(help: "The name of this node, the same after a restart.") var node: String?
    @Option(help: "The address at which the other nodes reach this one: link://host:port.") var advertise: String?
    @Option(help: "The address to listen on for other nodes. Default: all of this machine.") var linkHost: String?
    @Option(help: "The name of the cluster, for several that share a Redis server. Default: room.") var cluster: String?

    /// Returns the node; nil without a Redis server.
    func node(_ settings: Settings) throws -> RoomServerConfiguration.Cluster? {
        let node = try node ?? settings.string("node")
        let advertise = try advertise ?? settings.string("advertise")
        guard let redis = try redis ?? settings.string("redis") else {
            guard node == nil, advertise == nil else {
                throw CommandError(.usage, "--node and --advertise need --redis: the server that the nodes share")
            }
            return nil
        }
        guard let node else { throw CommandError(.usage, "--redis needs --node: the name of this node") }
        guard let advertise else {
            throw CommandError(
                .usage, "--redis needs --advertise: the address of this node for others, link://host:port")
        }
        var cluster = RoomServerConfiguration.Cluster(redis: redis, node: node, advertise: advertise)
        cluster.redisAuthoritiesFile = try redisAuthorities ?? settings.string("redisAuthorities")
        cluster.listenHost = try linkHost ?? settings.string("linkHost")
        if let name = try self.cluster ?? settings.string("cluster") { cluster.name = name }
        return cluster
    }
}
