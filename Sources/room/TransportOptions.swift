internal import ArgumentParser
internal import Foundation
internal import RoomConnection
internal import TransportPluginAPI

/// The options for reaching the server and the peers: shared by all commands that join a room.
struct TransportOptions: ParsableArguments {
    @Option(help: "The room server, ws://… or wss://…. Default: the configuration's, or ws://127.0.0.1:8080/.")
    var server: String?

    @Option(help: "The signaling backend; `room plugins` lists them.") var signaling: String?
    @Option(help: "The peer backend; `room plugins` lists them.") var peer: String?
    @Option(help: "all, or relay: TURN only; this machine reveals no address to others.") var icePolicy: String?

    @Option(help: "A file with a join token, if the server requires one; read again for each join that needs it.")
    var tokenFile: String?

    @Option(
        help:
            """
            A join token. It is visible in the shell's history, and for a moment in the list of processes: prefer \
            --token-file or ROOM_TOKEN.
            """
    )
    var token: String?

    @Option(help: "stun:host:port, added to the server's. Repeatable; relays with credentials go into the file.")
    var iceServer: [String] = []

    @Option(
        help:
            """
            An HTTP proxy on the way to the server, http://host:port or http://user:password@host:port; none: no \
            proxy. Default: what the environment names (https_proxy, http_proxy, all_proxy, no_proxy).
            """
    )
    var proxy: String?

    @Option(help: "A PEM file with the authorities to trust for wss. Default: the system's.")
    var tlsAuthorities: String?

    /// Returns the configuration. With `checksICEServers`, an unusable one is refused; the doctor reports it among its
    /// findings instead.
    func configuration(
        _ settings: Settings, _ common: CommonOptions, checksICEServers: Bool = true
    ) throws -> RoomConfiguration {
        let url = try server ?? settings.string("server") ?? "ws://127.0.0.1:8080/"
        var configuration = try RoomConfiguration(server: url)
        configuration.server.tls.authoritiesFile = tlsAuthorities
        configuration.server.proxy = try proxy(settings, configuration.server)
        if let name = try signaling ?? settings.string("signaling") { configuration.signaling.name = name }
        if let name = try peer ?? settings.string("peer") { configuration.peer.name = name }
        configuration.signaling.options = try settings.options(
            "signalingOptions", ofBackend: "signaling", configuration.signaling.name)
        configuration.peer.options = try settings.options("peerOptions", ofBackend: "peer", configuration.peer.name)
        if let policy = try icePolicy ?? settings.string("icePolicy") {
            guard let policy = ICEPolicy(rawValue: policy) else {
                throw CommandError(.usage, "'\(policy)' is not an ICE policy: write all or relay")
            }
            configuration.icePolicy = policy
        }
        configuration.iceServers =
            try settings.iceServers(checksURLs: checksICEServers)
            + iceServer.map { url in
                let server = ICEServer(urls: [url])
                if checksICEServers, let reason = server.fault {
                    throw CommandError(
                        .usage, "--ice-server: \(reason); credentials can be set in the configuration file")
                }
                return server
            }
        configuration.token = try tokenProvider(settings)
        configuration.logger = try common.logger(settings)
        return configuration
    }

    /// Returns the requested proxy, or else the one that the environment names.
    private func proxy(_ settings: Settings, _ server: SignalingEndpoint) throws -> SignalingEndpoint.Proxy? {
        do {
            guard let text = try proxy ?? settings.string("proxy") else {
                return try server.proxy(inEnvironment: ProcessInfo.processInfo.environment)
            }
            return text == "none" ? nil : try SignalingEndpoint.Proxy(url: text)
        } catch let error as TransportError {
            throw CommandError(.usage, "\(error.message); --proxy none connects without one")
        }
    }

    private func tokenProvider(
        _ settings: Settings
    ) throws -> (@Sendable (TokenRequest) async throws -> any JoinCredentialConvertible)? {
        if token != nil, tokenFile != nil {
            throw CommandError(.usage, "--token and --token-file are both given: keep one, preferably the file")
        }
        let hasFlag = token != nil || tokenFile != nil
        let token = try hasFlag ? token : settings.string("token")
        guard let path = try hasFlag ? tokenFile : settings.string("tokenFile") else {
            guard let token else { return nil }
            return { _ in token }
        }
        if token != nil {
            throw CommandError(
                .usage, "both 'token' and 'tokenFile' are set (keys, or ROOM_TOKEN and ROOM_TOKEN_FILE): keep one")
        }
        _ = try Self.token(inFile: path)
        return { _ in try Self.token(inFile: path) }
    }

    private static func token(inFile path: String) throws -> String {
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
            throw CommandError(.usage, "\(path): cannot be read; name a file that holds a join token")
        }
        let token = text.trimmingCharacters(in: .whitespacesAndNewlines)
        guard !token.isEmpty else {
            throw CommandError(.usage, "\(path): the file is empty; it must hold a join token")
        }
        return token
    }
}
