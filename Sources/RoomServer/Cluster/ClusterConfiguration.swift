extension RoomServerConfiguration {
    /// A node of a cluster, whose nodes share a Redis or Valkey server and the session key.
    public struct Cluster: Sendable, Hashable {
        /// The store: `redis://user:password@host:6379/0`, `rediss://…` with TLS,
        /// `redis+sentinel://host:26379,host:26379/NAME`, or `redis+unix:///path`.
        public var redis: String
        /// A PEM file with the authorities of the store's certificate. Nil: the system's.
        public var redisAuthoritiesFile: String?
        /// The name of this node: 1 to 64 characters of `A-Z a-z 0-9 - _ .`, the same after a restart.
        public var node: String
        /// The address at which the other nodes reach this one: `link://host:port`. With port 0, any free port is used.
        public var advertise: String
        /// The address to listen on for other nodes. Nil: all addresses of this machine, at the advertised port.
        public var listenHost: String?
        /// The name of the cluster, which separates those that share a store: 1 to 64 characters of
        /// `A-Z a-z 0-9 - _ .`.
        public var name = "room"

        /// Creates the settings of a node.
        public init(redis: String, node: String, advertise: String) {
            self.redis = redis
            self.node = node
            self.advertise = advertise
        }
    }
}

/// The address of a node for other nodes.
struct LinkAddress: Sendable, Hashable {
    var host: String
    var port: Int

    var text: String { "link://" + (host.contains(":") ? "[\(host)]" : host) + ":\(port)" }

    init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// Reads `link://host:port`. Nil for anything else.
    init?(_ text: String) {
        guard text.hasPrefix("link://") else { return nil }
        let rest = text.dropFirst("link://".count)
        guard let colon = rest.lastIndex(of: ":"), let port = Int(rest[rest.index(after: colon)...]),
            0...65_535 ~= port
        else { return nil }
        var host = rest[..<colon]
        if host.hasPrefix("[") {
            guard host.hasSuffix("]") else { return nil }
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            return nil
        }
        guard !host.isEmpty, host.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "/") }) else {
            return nil
        }
        self.init(host: String(host), port: port)
    }
}

extension RoomServerConfiguration.Cluster {
    /// Whether the text can name a node or a cluster.
    static func isName(_ text: String) -> Bool {
        1...64 ~= text.utf8.count
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
                    true
                default: false
                }
            }
    }
}
