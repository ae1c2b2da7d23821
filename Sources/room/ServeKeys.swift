internal import ArgumentParser
internal import Foundation
internal import Logging
internal import RoomServer

/// The keys of join tokens of `room serve`.
struct ServeTokens: ParsableArguments {
    @Option(
        help: "A file with a secret of join tokens (HS256). Repeatable. Without any key everybody may join.")
    var tokenSecretFile: [String] = []

    @Option(
        help: "A file with public keys of join tokens: PEM (Ed25519, RSA, P-256) or a JSON Web Key Set. Repeatable.")
    var tokenKeyFile: [String] = []

    @Option(help: "The issuer (iss) that join tokens must have. Default: any.") var tokenIssuer: String?
    @Option(help: "The audience (aud) that join tokens must have. Default: any.") var tokenAudience: String?

    func apply(to configuration: inout RoomServerConfiguration, _ settings: Settings) throws {
        configuration.joinTokens.secretFiles = try files(tokenSecretFile, "tokenSecretFile", settings)
        configuration.joinTokens.keyFiles = try files(tokenKeyFile, "tokenKeyFile", settings)
        configuration.joinTokens.issuer = try tokenIssuer ?? settings.string("tokenIssuer")
        configuration.joinTokens.audience = try tokenAudience ?? settings.string("tokenAudience")
    }

    private func files(_ given: [String], _ key: String, _ settings: Settings) throws -> [String] {
        try given.isEmpty ? settings.strings(key) : given
    }
}

/// The options for what `room serve` keeps over restarts.
struct ServeState: ParsableArguments {
    @Option(
        help:
            """
            The folder of what is kept: the key that signs sessions, who left or was kicked, a certificate of the \
            server's own. none: nothing is kept. Default: $STATE_DIRECTORY, $XDG_STATE_HOME/room or \
            ~/.local/state/room.
            """
    )
    var stateDir: String?

    @Option(
        help:
            """
            A file with the key that signs sessions, created when it does not exist: by it, a restarted server \
            recognises its participants. none: a new key for each start. Default: session.key in the state directory.
            """
    )
    var sessionKeyFile: String?

    @Option(
        help:
            """
            A file with a key that signed sessions before, and still verifies them. Repeatable. The one with .previous \
            after the name of the session key's file needs not be named.
            """
    )
    var previousSessionKeyFile: [String] = []

    func apply(
        to configuration: inout RoomServerConfiguration, _ settings: Settings, _ logger: Logger,
        warn: (String) throws -> Void
    ) throws {
        let previous = try settings.strings("previousSessionKeyFile")
        configuration.previousSessionKeyFiles = previousSessionKeyFile.isEmpty ? previous : previousSessionKeyFile
        configuration.sessionKey = try sessionKey(settings, logger, warn)
        configuration.requiresDeparturesFile = hasOwnFolder(settings)
        switch configuration.sessionKey {
        // Without the key, no session can return anyway.
        case .generated: return
        // What is remembered belongs to the sessions of a key.
        case .file(let path) where !hasOwnFolder(settings): configuration.departuresFile = path + ".departures"
        default:
            guard let environment = try environment(settings) else { return }
            configuration.departuresFile = try RoomServerConfiguration.departuresFile(in: environment)
        }
    }

    private func folder(_ settings: Settings) throws -> String? { try stateDir ?? settings.string("stateDir") }

    private func hasOwnFolder(_ settings: Settings) -> Bool { (try? folder(settings)) != nil }

    /// Returns the environment that names the state directory; nil when nothing is kept.
    func environment(_ settings: Settings) throws -> [String: String]? {
        var environment = ProcessInfo.processInfo.environment
        guard let folder = try folder(settings) else { return environment }
        guard folder != "none" else { return nil }
        guard !folder.contains(":") else {
            throw CommandError(.usage, "--state-dir \(folder): a state directory cannot have a colon in its name")
        }
        environment["STATE_DIRECTORY"] = URL(fileURLWithPath: folder).standardizedFileURL.path
        return environment
    }

    /// Returns the session key. A restart costs nothing when the key is kept, so it is kept unless that is impossible:
    /// then the server continues with a new one.
    private func sessionKey(
        _ settings: Settings, _ logger: Logger, _ warn: (String) throws -> Void
    ) throws -> RoomServerConfiguration.SessionKey {
        if let path = try sessionKeyFile ?? settings.string("sessionKeyFile") {
            return path == "none" ? .generated : .file(path)
        }
        guard let environment = try environment(settings) else { return .generated }
        do throws(RoomServerError) {
            return try .persistent(in: environment, logger)
        } catch {
            guard !hasOwnFolder(settings) else { throw error }
            try warn(
                """
                the key that signs sessions cannot be kept, so after a restart of this server everybody \
                will be new to it: \(error.message). Name a file with --session-key-file (none: as it is now, without \
                this warning)
                """)
            return .generated
        }
    }
}
