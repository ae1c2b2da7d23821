internal import CommandLineIO
internal import Glibc
internal import Logging
internal import RoomServer
internal import TransportPluginAPI

/// A server that runs until a signal ends it: SIGTERM drains it, SIGINT stops it, SIGHUP reloads what can be reloaded.
/// SIGHUP drains the server, too, when the terminal that it was started from is gone.
struct ServeRun: Sendable {
    private let server: RoomServer
    private let configuration: RoomServerConfiguration
    private let manager: ServiceManager?
    private let logger: Logger
    /// Reads the settings again.
    private let settings: @Sendable () throws -> (RoomServerConfiguration, Logger.Level)
    private let terminal = ControllingTerminal()
    private let isDraining = Locked(false)

    init(
        _ configuration: RoomServerConfiguration, _ manager: ServiceManager?, _ logger: Logger,
        settings: @escaping @Sendable () throws -> (RoomServerConfiguration, Logger.Level)
    ) {
        server = RoomServer(configuration: configuration, logger: logger)
        self.configuration = configuration
        self.manager = manager
        self.logger = logger
        self.settings = settings
    }

    /// Returns whether SIGINT has ended the server, which it does also while the server drains.
    func untilSignal() async throws -> Bool {
        let (signals, feed) = AsyncStream.makeStream(of: Int32.self)
        let watches = [SIGINT, SIGTERM, SIGHUP].map { SignalWatch($0) { feed.yield($0) } }
        defer { for watch in watches { watch.cancel() } }
        return try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask {
                try await server.run()
                return false
            }
            group.addTask { try await handle(signals) }
            if let manager { group.addTask { await keepInformed(manager) } }
            let wasInterrupted = try await group.next() ?? false
            group.cancelAll()
            return wasInterrupted
        }
    }

    private func handle(_ signals: AsyncStream<Int32>) async throws -> Bool {
        let address = try await server.address
        await announce(address)
        let status = "Listening at \(address.url)"
        manager?.tell(.ready(status))
        for await signal in signals {
            if signal == SIGINT { return true }
            if signal == SIGHUP, !terminal.isGone {
                manager?.tell(.reloading(.now()))
                await reload()
                manager?.tell(.ready(status))
            } else {
                isDraining.withLock { $0 = true }
                manager?.tell(.stopping("Draining"), .needsTime(configuration.limits.closeTimeout + .seconds(30)))
                server.shutdown()
            }
        }
        return false
    }

    private func announce(_ address: RoomServer.Address) async {
        var line = JSONLine(event: "listening")
        line.add("url", address.url)
        let links = PageLinks(to: address)
        if configuration.servesPage { line.add("pages", links.all) }
        let fingerprint = configuration.tls?.certificate?.fingerprint
        if let fingerprint { line.add("fingerprint", fingerprint) }
        if let url = await server.adminURL { line.add("admin", url) }
        Output.line(line)
        if configuration.servesPage, isatty(1) == 1 { links.show(fingerprint: fingerprint) }
    }

    /// Takes over what can change while the server runs. What cannot be used changes nothing.
    private func reload() async {
        do {
            let (configuration, level) = try settings()
            try await server.reload(configuration)
            LogLevels.use(level)
            logger.notice("the settings were read again")
        } catch {
            logger.error(
                "the new settings cannot be used, the old ones stay: mend them, and send SIGHUP again",
                metadata: ["error": "\((error as? CommandError)?.message ?? "\(error)")"])
        }
    }

    /// Gives signs of life, each only when every thread of the server has answered, and asks for time while the server
    /// drains. Ends with the task.
    private func keepInformed(_ manager: ServiceManager) async -> Bool {
        let interval = min(manager.watchdog.map { $0 / 2 } ?? .seconds(10), .seconds(10))
        while (try? await Task.sleep(for: interval)) != nil {
            await server.heartbeat()
            if manager.watchdog != nil { manager.tell(.alive) }
            if isDraining.withLock({ $0 }) { manager.tell(.needsTime(interval * 3)) }
        }
        return false
    }
}

/// The terminal that this process was started from. Made before the first `SignalWatch`.
struct ControllingTerminal: Sendable {
    private let wasThere = Self.isThere
    private let isHangUpIgnored = SignalWatch.isIgnored(SIGHUP)

    /// Whether there was one and it has closed. Always false without one, as in a service, and for a process that
    /// `nohup` has started.
    var isGone: Bool { wasThere && !Self.isThere && !isHangUpIgnored }

    private static var isThere: Bool {
        let descriptor = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC)
        guard descriptor >= 0 else { return false }
        close(descriptor)
        return true
    }
}
