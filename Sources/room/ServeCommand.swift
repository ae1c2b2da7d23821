internal import ArgumentParser
internal import CLinux
internal import CommandLineIO
internal import Foundation
internal import Logging
internal import RoomServer
internal import TransportPluginAPI

struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "serve", abstract: "Run a room server.")

    @OptionGroup var common: CommonOptions

    @Flag(help: "One JSON object a line, as without this flag.") var json = false
    @Option(help: "The address to listen on. Default: 127.0.0.1.") var host: String?
    @Option(help: "The port to listen on; 0: any free port. Default: 8080.") var port: Int?

    @Option(help: "The number of threads; a room lives on one of them. Default: one for each processor.")
    var threads: Int?

    @Option(help: "The certificate chain for https and wss, PEM.") var tlsCert: String?
    @Option(help: "The private key for https and wss, PEM.") var tlsKey: String?

    @Flag(
        help:
            """
            https and wss with a certificate that signs itself, made at the first start and kept in the state \
            directory. Browsers warn once: compare the fingerprint that is printed.
            """
    )
    var tlsSelfSigned = false

    @OptionGroup var tokens: ServeTokens

    @OptionGroup var state: ServeState

    @OptionGroup var iceServers: ICEServerOptions

    @OptionGroup var monitoring: MonitoringOptions

    @OptionGroup var clusterNode: ClusterOptions

    @Option(help: "Seconds for which a lost participant can return unnoticed. Default: 60.") var grace: Double?

    @Option(
        help:
            """
            A newcomer with the name of a participant: reject (while that one is connected; default) or replace (the \
            newest wins).
            """
    )
    var duplicateNames: String?

    @Option(help: "An origin whose pages may connect: https://example.org. Repeatable. Default: every origin.")
    var allowedOrigin: [String] = []

    @Flag(help: "Serve no page for browsers, and not the module that it is made with.") var noPage = false

    @OptionGroup var limits: ServeLimits
    @OptionGroup var admin: AdminOptions

    func run() async throws {
        let environment = ProcessInfo.processInfo.environment
        ServiceManager.forget()
        let settings = try common.settings()
        let logger = try LogLevels.logger(logLevel(settings), monitoring.logFormat(settings))
        do {
            var configuration = try configuration(settings, logger)
            configuration.listeningDescriptor = try ServiceManager.listeningDescriptor(environment)
            checkDescriptors(configuration.limits, logger)
            let run = ServeRun(configuration, ServiceManager(environment), logger) {
                let settings = try common.settings()
                return (try self.configuration(settings, logger), try LogLevels.checked(logLevel(settings)))
            }
            if try await run.untilSignal() { throw ExitStatus.interrupted }
        } catch let error as RoomServerError {
            throw CommandError(error.isTransient ? .undelivered : .usage, error.message)
        } catch let error where !(error is ExitStatus || error is CommandError) {
            throw CommandError(.undelivered, "the server has ended: \(error)")
        }
    }

    private func logLevel(_ settings: Settings) throws -> String {
        try common.logLevel ?? settings.string("logLevel") ?? "warning"
    }

    private func checkDescriptors(_ limits: RoomServerConfiguration.Limits, _ logger: Logger) {
        let limit = CLinux_raise_descriptor_limit(.max)
        guard limit < UInt64(limits.connections + limits.handshakes + 64) else { return }
        logger.warning(
            """
            fewer descriptors than connections: those over the limit wait; raise the hard limit (ulimit -Hn, \
            LimitNOFILE)
            """,
            metadata: ["descriptors": "\(limit)", "connections": "\(limits.connections)"])
    }

    private func configuration(_ settings: Settings, _ logger: Logger) throws -> RoomServerConfiguration {
        var configuration = RoomServerConfiguration()
        configuration.host = try host ?? settings.string("host") ?? "127.0.0.1"
        configuration.port = try settings.integer("port", 0...65_535, flag: "--port", port) ?? 8080
        configuration.threads =
            try settings.integer("threads", 1...256, flag: "--threads", threads)
            ?? min(ProcessInfo.processInfo.activeProcessorCount, 256)
        let certificate = try tlsCert ?? settings.string("tlsCert")
        let key = try tlsKey ?? settings.string("tlsKey")
        if let certificate, let key {
            configuration.tls = .init(certificateChainFile: certificate, privateKeyFile: key)
        } else if certificate != nil || key != nil {
            throw CommandError(.usage, "--tls-cert and --tls-key belong together: one of them is missing")
        }
        if try tlsSelfSigned || settings.boolean("tlsSelfSigned") ?? false {
            guard configuration.tls == nil else {
                throw CommandError(.usage, "--tls-self-signed and --tls-cert exclude each other")
            }
            configuration.tls = .init(try selfSignedCertificate(settings, logger))
        }
        try tokens.apply(to: &configuration, settings)
        try state.apply(to: &configuration, settings, logger) { try monitoring.warn($0, settings, logger) }
        configuration.cluster = try clusterNode.node(settings)
        let origins = try allowedOrigin + settings.strings("allowedOrigins")
        if !origins.isEmpty { configuration.allowedOrigins = origins }
        let stun = try urls(iceServers.stunUri, "--stun-uri", "stunUris", settings, [.stun, .stuns])
        if !stun.isEmpty { configuration.ice.servers.append(.init(urls: stun)) }
        let turn = try urls(iceServers.turnUri, "--turn-uri", "turnUris", settings, [.turn, .turns])
        if let path = try iceServers.turnSecretFile ?? settings.string("turnSecretFile") {
            guard !turn.isEmpty else { throw CommandError(.usage, "--turn-secret-file needs a --turn-uri") }
            configuration.ice.turn = .init(urls: turn, secret: try SecretFile.secret(path, logger))
        } else if !turn.isEmpty {
            throw CommandError(.usage, "--turn-uri needs --turn-secret-file: the secret shared with the TURN server")
        }
        if let seconds = try settings.seconds("grace", 0...86_400, flag: "--grace", grace) {
            configuration.limits.grace = .milliseconds(Int(seconds * 1000))
        }
        if let policy = try duplicateNames ?? settings.string("duplicateNames") {
            guard let policy = RoomServerConfiguration.DuplicateNames(rawValue: policy) else {
                throw CommandError(.usage, "--duplicate-names must be reject or replace")
            }
            configuration.duplicateNames = policy
        }
        configuration.servesMetrics = try monitoring.servesMetrics(settings)
        configuration.servesPage = try !noPage && settings.boolean("page") ?? true
        try limits.apply(to: &configuration, settings)
        try admin.apply(to: &configuration, settings, logger)
        return configuration
    }

    /// The URLs of the flag and of the file.
    private func urls(
        _ given: [String], _ flag: String, _ key: String, _ settings: Settings, _ schemes: [ICEServerURL.Scheme]
    ) throws -> [String] {
        func fault(_ text: String) -> String? { RoomServerConfiguration.ICE.fault(of: text, schemes) }
        for text in given { if let reason = fault(text) { throw CommandError(.usage, "\(flag): \(reason)") } }
        let listed = try settings.strings(key)
        for text in listed {
            if let reason = fault(text) { throw settings.invalid(key, "has a URL that cannot be used: \(reason)") }
        }
        return given + listed
    }

    /// Returns the certificate that is kept, or a new one for this start when none can be kept.
    private func selfSignedCertificate(_ settings: Settings, _ logger: Logger) throws -> SelfSignedCertificate {
        let host = ProcessInfo.processInfo.hostName
        let addresses = LocalAddress.all().map { String($0.address.prefix { $0 != "%" }) }
        var names = ["localhost", host, host + ".local", "127.0.0.1", "::1"]
        for name in addresses where !names.contains(name) { names.append(name) }
        guard let environment = try state.environment(settings) else { return try SelfSignedCertificate(for: names) }
        do throws(RoomServerError) {
            return try .persistent(for: names, in: environment, logger)
        } catch {
            try monitoring.warn(
                "the certificate cannot be kept, so the next start makes another one: \(error.message)", settings,
                logger)
            return try SelfSignedCertificate(for: names)
        }
    }
}

/// The ICE servers that a room server names to its participants.
struct ICEServerOptions: ParsableArguments {
    @Option(help: "stun:host:port, sent to every participant. Repeatable.") var stunUri: [String] = []
    @Option(help: "turn:host:port?transport=udp, sent to every participant. Repeatable.") var turnUri: [String] = []

    @Option(help: "A file with the secret shared with the TURN server (coturn: use-auth-secret).")
    var turnSecretFile: String?
}
