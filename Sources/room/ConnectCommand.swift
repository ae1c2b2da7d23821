internal import ArgumentParser
internal import CommandLineIO
internal import FileTransfer
internal import Foundation
internal import InProcessTransport
internal import RoomConnection
internal import TransportPluginAPI

struct ConnectCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "connect", abstract: "Join a room: send lines from standard input, print messages and events.",
        discussion: """
            Standard input waits until the room is joined. Each line is sent to everybody who is in the room then, on \
            the reliable channel; with --json each line is a command. In an empty room there is nobody to send to, and \
            that is said.

            The exit status is 0 when the room was left, 1 when --leave-at-eof was given and something did not reach \
            everybody in the room (or nobody was there), 2 for wrong usage, 3 when the server refused, 4 when a \
            backend cannot run here, 130 after SIGINT, 141 when nobody reads standard output any more. SIGTERM and \
            SIGHUP leave the room; a second SIGINT ends at once.
            """)

    @OptionGroup var common: CommonOptions
    @OptionGroup var transport: TransportOptions

    @Argument(help: "The room's name.")
    var room: String

    @Option(help: "The name that the others see; unique in the room.")
    var name: String?

    @Flag(help: "Create the room and be its host.")
    var asHost = false

    @Flag(help: "Wait for the room's host when the room does not exist yet.")
    var waitForHost = false

    @Flag(help: "Create the room and be its host when it does not exist, else join it.")
    var hostIfFirst = false

    @Flag(help: "One JSON object a line, on standard input and output.")
    var json = false

    @Flag(
        help: "Leave the room when standard input has ended and everybody has the messages (after at most 30 seconds).")
    var leaveAtEof = false

    @Flag(help: .hidden)
    var faultInjection = false

    func validate() throws {
        guard [asHost, waitForHost, hostIfFirst].count(where: { $0 }) < 2 else {
            throw ValidationError("Give one of --as-host, --wait-for-host and --host-if-first.")
        }
    }

    private var role: HostRole {
        if waitForHost { return .awaited }
        return hostIfFirst ? .ifFirst : HostRole(asHost)
    }

    func run() async throws {
        let settings = try Settings(path: common.configFile)
        guard let name = try name ?? settings.string("name") else {
            throw CommandError(.usage, "there is no name: give --name, ROOM_NAME or 'name' in the configuration file")
        }
        let configuration = try transport.configuration(settings, common)
        let faults = faultInjection ? ICEFaultControl() : nil
        // Before joining anything that would have to be left.
        let stops = StopSignals()
        defer { stops.cancel() }
        let (pressure, pressureFeed) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let output = OutputQueue(
            descriptor: 1, onPressureChange: { pressureFeed.yield() }, onReaderGone: { stops.readerIsGone() })
        // Behind the last line of the output, whatever ends the command.
        let mode = json || leaveAtEof ? nil : TerminalMode()
        let terminal = mode.map { mode in
            TerminalView(
                room: room, name: name, messageLimit: configuration.maximumMessageSize, mode: mode, output: output)
        }
        defer { terminal?.close() }
        let resumed = terminal.map { terminal in SignalWatch(SIGCONT) { _ in terminal.drawInput() } }
        defer { resumed?.cancel() }
        let reporter = EventReporter(json: json, terminal: terminal, output: output)
        let status = try await TransportRuntime.withRunning(
            configuration,
            registry: try Backends.registry(faults: faults, plugins: settings.strings("plugins"))
        ) { runtime in
            reporter.ready()
            let room = try await runtime.open(
                room: room, as: name, host: role, metadata: terminal == nil ? [:] : RoomFiles.metadata)
            let session = ConnectSession(
                room: room, reporter: reporter, output: output, faults: faults, json: json, leaveAtEOF: leaveAtEof,
                messageLimit: configuration.maximumMessageSize,
                files: terminal.map { ConversationFiles(room, $0) })
            return await session.run(until: stops.stops, pressure)
        }
        // The room has been left. Waits for a reader that pauses, until a signal ends the wait.
        stops.isOver()
        terminal?.close()
        await output.finish(within: stops.hasStopped ? .seconds(1) : nil)
        if status != .done { throw status }
    }
}

/// The options for reaching the server and the peers: shared by `connect` and `bench`.
struct TransportOptions: ParsableArguments {
    @Option(help: "The room server, ws://… or wss://….")
    var server: String?

    @Option(help: "The signaling backend; `room plugins` lists them.")
    var signaling: String?

    @Option(help: "The peer backend; `room plugins` lists them.")
    var peer: String?

    @Option(help: "all, or relay: TURN only; this machine reveals no address to others.")
    var icePolicy: String?

    @Option(
        help: "A file with a join token, if the server requires one. It is read again for each join that needs a token."
    )
    var tokenFile: String?

    @Option(
        help:
            """
            A join token. It is visible in the shell's history, and for a moment in the list of processes: prefer \
            --token-file or ROOM_TOKEN.
            """
    )
    var token: String?

    @Option(
        help: "stun:host:port, added to the server's. Repeatable; relays with credentials go into the file.")
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
        configuration.logger = try LogLevels.logger(common.logLevel ?? settings.string("logLevel"))
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
