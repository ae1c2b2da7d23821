internal import Foundation
internal import TransportPluginAPI
internal import Yams

/// Values from a configuration file and the environment. The caller checks flags first, which win.
///
/// The file is YAML, and therefore also JSON. An unknown key is an error that names the key, the file and its line.
struct Settings {
    private var file: [String: Node] = [:]
    private var path = ""

    /// The keys of the file. The environment has the same names: `iceServers` is `ROOM_ICE_SERVERS`.
    static let keys: Set<String> = [
        "server", "proxy", "signaling", "peer", "signalingOptions", "peerOptions", "icePolicy", "iceServers", "token",
        "tokenFile", "name",
        "host",
        "port", "tlsCert", "tlsKey", "tlsSelfSigned", "tokenSecretFile", "tokenKeyFile", "tokenIssuer", "tokenAudience",
        "stateDir", "sessionKeyFile",
        "previousSessionKeyFile", "turnUris", "turnSecretFile",
        "stunUris",
        "allowedOrigins", "grace", "duplicateNames", "logLevel", "logFormat", "metrics",
        "maximumRooms", "maximumParticipants", "page",
        "maximumConnections", "addressConnections", "addressHandshakes", "addressConnectionRate", "addressRooms",
        "addressMessageRate", "unlimitedAddresses", "trustedProxies", "proxyProtocol",
        "admin", "adminToken", "adminHost", "adminPort", "adminSocket", "adminTokenFile", "webhookUrls",
        "webhookSecretFile", "webhookAuthorities",
        "plugins",
        "redis", "redisAuthorities", "node", "advertise", "linkHost", "cluster",
    ]

    init(path: String?) throws {
        Environment.warnOnce()
        guard let path else { return }
        self.path = path
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
            throw CommandError(.usage, "\(path): cannot be read; name a YAML or JSON file that exists")
        }
        let root: Node?
        do {
            root = try Yams.compose(yaml: text)
        } catch {
            throw CommandError(.usage, "\(path): not valid YAML or JSON: \(error)")
        }
        guard let root else { return }
        guard let mapping = root.mapping else {
            throw CommandError(
                .usage, "\(path):1: a configuration file must have keys with values, like 'server: ws://…'")
        }
        for (key, value) in mapping {
            let name = key.string ?? ""
            guard Self.keys.contains(name) else {
                let nearest = Self.keys.min { Self.distance($0, name) < Self.distance($1, name) } ?? ""
                throw CommandError(
                    .usage,
                    "\(path):\(key.mark?.line ?? 0): there is no key '\(name)'; did you mean '\(nearest)'? "
                        + "There are \(Self.keys.sorted().joined(separator: ", "))")
            }
            file[name] = value
        }
    }

    /// Returns text from the environment or else the file.
    func string(_ key: String) throws -> String? {
        if let value = environment(key) { return value }
        guard let node = file[key] else { return nil }
        guard let value = node.scalar?.string else { throw invalid(key, node, "must be text") }
        return value
    }

    /// Returns the flag's value, or else a whole number from the environment or the file.
    func integer(
        _ key: String, _ range: ClosedRange<Int>, flag: String = "", _ given: Int? = nil
    ) throws -> Int? {
        let requirement = "a whole number from \(range.lowerBound) to \(range.upperBound)"
        return try number(key, range, flag, given, requirement, Int.init)
    }

    /// Returns the flag's value, or else seconds from the environment or the file.
    func seconds(
        _ key: String, _ range: ClosedRange<Double>, flag: String, _ given: Double?
    ) throws -> Double? {
        let limits = "from \(Int(range.lowerBound)) to \(Int(range.upperBound))"
        let requirement = "a number of seconds \(limits), without a unit"
        return try number(key, range, flag, given, requirement, Double.init)
    }

    /// Returns a choice from the environment or else the file: `true`, `false`.
    func boolean(_ key: String) throws -> Bool? {
        guard let text = try string(key) else { return nil }
        guard let value = Bool(text) else { throw invalid(key, "must be true or false") }
        return value
    }

    private func number<Number: Comparable>(
        _ key: String, _ range: ClosedRange<Number>, _ flag: String, _ given: Number?, _ requirement: String,
        _ read: (String) -> Number?
    ) throws -> Number? {
        if let given {
            guard range.contains(given) else { throw CommandError(.usage, "\(flag) must be \(requirement)") }
            return given
        }
        guard let text = try string(key) else { return nil }
        guard let value = read(text), range.contains(value) else {
            throw invalid(key, file[key], "must be \(requirement)")
        }
        return value
    }

    /// Returns a list, or one text, from the file; a comma-separated list from the environment.
    func strings(_ key: String) throws -> [String] {
        if let value = environment(key) { return Environment.list(value) }
        guard let node = file[key] else { return [] }
        if let one = node.scalar?.string { return [one] }
        guard let list = node.sequence?.map({ $0.scalar?.string }), !list.contains(nil) else {
            throw invalid(key, node, "must be a list of texts")
        }
        return list.compactMap(\.self)
    }

    /// Returns a backend's options: a table.
    func options(_ key: String) throws -> [String: OptionValue] {
        guard let node = file[key] else { return [:] }
        guard case .table(let table) = try value(key, node) else { throw invalid(key, node, "must be a table") }
        return table
    }

    /// Returns the options under `key` for the backend `name`; none when the settings name another backend under
    /// `kind`, to which they belong.
    func options(_ key: String, ofBackend kind: String, _ name: String) throws -> [String: OptionValue] {
        if let named = try string(kind), named != name { return [:] }
        return try options(key)
    }

    /// Returns ICE servers: a list of URLs, or of tables with `urls`, `username`, `credential`.
    func iceServers(checksURLs: Bool = true) throws -> [ICEServer] {
        func checked(_ server: ICEServer, _ node: Node?) throws -> ICEServer {
            if checksURLs, let reason = server.fault {
                throw invalid("iceServers", node, "has a URL that cannot be used: \(reason)")
            }
            return server
        }
        if let value = environment("iceServers") {
            return try Environment.list(value).map { try checked(ICEServer(urls: [$0]), nil) }
        }
        guard let node = file["iceServers"] else { return [] }
        guard let list = node.sequence else { throw invalid("iceServers", node, "must be a list") }
        return try list.map { entry in
            if let url = entry.scalar?.string { return try checked(ICEServer(urls: [url]), entry) }
            guard let table = entry.mapping else {
                throw invalid("iceServers", entry, "must have URLs, or tables with urls")
            }
            var server = ICEServer(urls: [])
            for (key, value) in table {
                switch key.string {
                // A value that is not text becomes empty, and is refused below.
                case "urls": server.urls = value.sequence?.map { $0.string ?? "" } ?? [value.string ?? ""]
                case "username": server.username = value.string
                case "credential": server.credential = value.string
                default:
                    throw invalid(
                        "iceServers", key, "can have urls, username and credential, not '\(key.string ?? "")'")
                }
            }
            guard !server.urls.isEmpty, !server.urls.contains("") else {
                throw invalid("iceServers", entry, "needs urls")
            }
            return try checked(server, entry)
        }
    }

    private func value(_ key: String, _ node: Node) throws -> OptionValue {
        switch node {
        case .scalar(let scalar):
            if let boolean = Bool.construct(from: scalar) { return .boolean(boolean) }
            if let integer = Int.construct(from: scalar) { return .integer(integer) }
            if let number = Double.construct(from: scalar) { return .number(number) }
            return .string(scalar.string)
        case .sequence(let sequence): return .list(try sequence.map { try value(key, $0) })
        case .mapping(let mapping):
            var table: [String: OptionValue] = [:]
            for (name, node) in mapping { table[name.string ?? ""] = try value(key, node) }
            return .table(table)
        case .alias: throw invalid(key, node, "cannot hold an alias")
        }
    }

    func invalid(_ key: String, _ requirement: String) -> CommandError { invalid(key, file[key], requirement) }

    func invalid(_ key: String, _ node: Node?, _ requirement: String) -> CommandError {
        if environment(key) != nil { return CommandError(.usage, "\(Environment.variable(key)) \(requirement)") }
        return CommandError(.usage, "\(path):\(node?.mark?.line ?? 0): '\(key)' \(requirement)")
    }

    private func environment(_ key: String) -> String? { Environment.value(of: key) }

    /// Returns the Levenshtein distance, for "did you mean".
    static func distance(_ left: String, _ right: String) -> Int {
        let left = Array(left), right = Array(right)
        var row = Array(0...right.count)
        for i in left.indices {
            var diagonal = row[0]
            row[0] = i + 1
            for j in right.indices {
                let above = row[j + 1]
                row[j + 1] = min(above + 1, row[j] + 1, diagonal + (left[i] == right[j] ? 0 : 1))
                diagonal = above
            }
        }
        return row[right.count]
    }
}

extension ICEServer {
    /// The fault of the first of its URLs that cannot be used; nil when there is none.
    var fault: String? {
        for url in urls {
            do throws(TransportError) { _ = try ICEServerURL(url, of: self) } catch { return error.message }
        }
        return nil
    }
}
