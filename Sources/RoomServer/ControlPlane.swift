internal import Glibc
internal import Hashing
internal import Logging
internal import NIOCore
internal import NIOPosix
internal import RoomServerCore
internal import TransportPluginAPI

/// The thread of the admin API and the webhooks, apart from those of the rooms: neither stops the other.
struct ControlPlane: Sendable {
    let hub: NIOLoopBound<EventHub>
    private let group: MultiThreadedEventLoopGroup
    private let logger: Logger
    /// The state of the connections of the admin API, once it listens.
    private let admin: NIOLoopBoundBox<AdminHandler.Shared?>

    /// The time for events that wait for webhooks when the server ends.
    private static let deliveryLimit = TimeAmount.seconds(5)

    /// Starts the thread. Nil: the configuration has neither an admin API nor webhooks.
    static func start(
        _ configuration: RoomServerConfiguration, _ totals: WebhookTotals, _ logger: Logger
    ) async throws -> ControlPlane? {
        let webhooks = try configuration.checkControl()
        guard configuration.admin != nil || !webhooks.urls.isEmpty else { return nil }
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let eventLoop = group.next()
        let run = "evt_" + Crypto.randomBytes(9).map { String($0, radix: 36) }.joined()
        let hub = try await eventLoop.submit {
            let hub = EventHub(eventLoop: eventLoop, run: run, totals: totals, logger: logger)
            hub.use(webhooks)
            return NIOLoopBound(hub, eventLoop: eventLoop)
        }.get()
        return ControlPlane(hub: hub, group: group, logger: logger, admin: .makeEmptyBox(eventLoop: eventLoop))
    }

    /// Uses these webhooks, and this admin token, from now on. Connections stay open.
    func reload(_ webhooks: WebhookSettings, token: [UInt8]?) async {
        let (hub, admin) = (hub, admin)
        try? await hub.eventLoop.submit {
            hub.value.use(webhooks)
            if let token { admin.value?.useToken(token) }
        }.get()
    }

    /// Listens on the addresses of the admin API. Returns the URL of the port, if there is one.
    func listen(
        _ admin: RoomServerConfiguration.Admin, loops: [NIOLoopBound<ServerLoop>], facts: AdminAPI.Facts,
        peers: AdminPeers? = nil, routes: [AdminRoute], startDrain: @escaping @Sendable (Duration?) -> Void
    ) async throws -> String? {
        let (hub, logger, eventLoop, box) = (hub, logger, group.next(), self.admin)
        let shared = try await eventLoop.submit {
            let api = AdminAPI(
                eventLoop: eventLoop, loops: loops, hub: hub.value, facts: facts, peers: peers, logger: logger,
                startDrain: startDrain)
            let shared = AdminHandler.Shared(api: api, hub: hub.value, routes: routes, token: admin.token)
            box.value = shared
            return NIOLoopBound(shared, eventLoop: eventLoop)
        }.get()
        if let path = admin.socketPath {
            let socket = try AdminSocket.bind(path)
            let channel = try await bootstrap(shared, isTrusted: true).withBoundSocket(socket).get()
            channel.closeFuture.whenComplete { _ in unlink(path) }
            logger.info("the admin API listens", metadata: ["socket": "\(path)"])
        }
        guard let port = admin.port else { return nil }
        let channel: any Channel
        do {
            channel = try await bootstrap(shared, isTrusted: false).bind(host: admin.host, port: port).get()
        } catch {
            throw RoomServerError.cannotListen("The admin API cannot listen on \(admin.host), port \(port)", error)
        }
        let host = channel.localAddress?.ipAddress ?? admin.host
        if !host.hasPrefix("127."), host != "::1" {
            logger.warning(
                "the admin API is reachable from other machines, without TLS: its token can be read on the way",
                metadata: ["host": "\(host)"])
        }
        let url = "http://\(host.contains(":") ? "[\(host)]" : host):\(channel.localAddress?.port ?? port)"
        logger.info("the admin API listens", metadata: ["url": "\(url)"])
        return url
    }

    private func bootstrap(_ shared: NIOLoopBound<AdminHandler.Shared>, isTrusted: Bool) -> ServerBootstrap {
        let logger = logger
        return ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 128)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(AcceptPause(logger))
                }
            }
            .childChannelInitializer { channel in
                Self.remote(of: channel, isTrusted: isTrusted).flatMapThrowing { remote in
                    try channel.pipeline.syncOperations.addHandler(
                        AdminHandler(shared.value, isTrusted: isTrusted, remote: remote))
                }
            }
    }

    /// Returns the address of the other side; of a Unix socket, the user and the process that have opened it.
    private static func remote(of channel: any Channel, isTrusted: Bool) -> EventLoopFuture<String> {
        guard isTrusted, let options = channel as? any SocketOptionProvider else {
            return channel.eventLoop.makeSucceededFuture(channel.remoteAddress?.ipAddress ?? "unknown")
        }
        let credentials: EventLoopFuture<SocketCredentials> = options.unsafeGetSocketOption(
            level: .socket, name: NIOBSDSocket.Option(rawValue: SO_PEERCRED))
        return credentials.map { "unix (user \($0.user), process \($0.process))" }.recover { _ in "unix" }
    }

    /// Waits until all events are delivered, for some seconds at most.
    func finish() async {
        let eventLoop = hub.eventLoop
        let done = eventLoop.makePromise(of: Void.self)
        let hub = hub
        // A turn later, so that what the loops have sent before has come.
        eventLoop.flatSubmit { hub.value.delivered() }.cascade(to: done)
        await done.settled(within: Self.deliveryLimit)
    }

    /// Ends the thread and all of its connections.
    func stop() async {
        let (hub, admin) = (hub, admin)
        try? await hub.eventLoop.submit {
            hub.value.stop()
            // It knows the loops of the rooms, which the server would keep for as long as it is kept.
            admin.value = nil
        }.get()
        try? await group.shutdownGracefully()
    }
}

/// `struct ucred` of unix(7).
private struct SocketCredentials: Sendable {
    var process: Int32 = 0
    var user: UInt32 = 0
    var group: UInt32 = 0
}

/// The Unix socket of the admin API.
enum AdminSocket {
    /// Returns a socket that is bound to a path, with the mode 0600. Replaces one that a server has left behind;
    /// refuses to replace one that is in use, and any other file.
    static func bind(_ path: String) throws(RoomServerError) -> Int32 {
        func failure(_ reason: String, isTransient: Bool = false) -> RoomServerError {
            RoomServerError(
                message: "The admin API cannot listen on the Unix socket \(path): \(reason).", isTransient: isTransient)
        }
        func failure(_ code: Int32) -> RoomServerError {
            failure(String(cString: strerror(code)), isTransient: RoomServerError.isTransient(code))
        }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard !bytes.isEmpty, bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
            throw failure("the path must have 1 to \(MemoryLayout.size(ofValue: address.sun_path) - 1) bytes")
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw failure(errno) }
        // The file gets the mode of the socket: it is never open to others.
        guard fchmod(descriptor, 0o600) == 0 else {
            let error = errno
            close(descriptor)
            throw failure(error)
        }
        if perform(Glibc.bind, descriptor, &address) { return descriptor }
        var error = errno
        var status = stat()
        if error == EADDRINUSE, lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK {
            guard !isInUse(&address) else {
                close(descriptor)
                throw failure("another process listens there", isTransient: true)
            }
            unlink(path)
            if perform(Glibc.bind, descriptor, &address) { return descriptor }
            error = errno
        }
        close(descriptor)
        throw failure(error)
    }

    private static func isInUse(_ address: inout sockaddr_un) -> Bool {
        let descriptor = socket(
            AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { return true }
        defer { close(descriptor) }
        // A full backlog is in use too.
        return perform(Glibc.connect, descriptor, &address) || errno == EAGAIN
    }

    private static func perform(
        _ call: (Int32, UnsafePointer<sockaddr>, socklen_t) -> Int32, _ descriptor: Int32, _ address: inout sockaddr_un
    ) -> Bool {
        withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                call(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0
            }
        }
    }
}
