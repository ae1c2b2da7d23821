#if Libwebsockets
    internal import CLibwebsockets
    internal import Glibc
    internal import TransportPluginAPI

    /// The thread that runs libwebsockets, and everything that libwebsockets owns.
    ///
    /// **Why a thread with `lws_service`, not a `TransportLoop` through GLib.** libwebsockets' own poll loop is its
    /// best tested one. It needs no event library that is loaded at run time (`libwebsockets-evlib-glib`), and no
    /// source per socket in a second event loop. It lacks our timers and work from other threads; these take a queue,
    /// `lws_cancel_service` and one entry in its timer list. Nothing else shares a thread with signaling, so a common
    /// loop would have no advantage.
    ///
    /// **Why one for all transports of the process.** Each libwebsockets context sets OpenSSL's ex_data indices again,
    /// which are global variables of libwebsockets. With a second context, handshakes of the first fail, and its TLS
    /// contexts leak.
    ///
    /// **Why it stays.** When the last transport has left, the thread ends, and the context waits for the next one.
    /// It is never destroyed, because `lws_context_destroy` leaves the descriptor of the context's event pipe open from
    /// libwebsockets 4.3.4 to 4.3.6 and in 4.4.0 and 4.4.1: each transport that came and went would cost one. Nobody
    /// else can close it, since its number is private. Others, such as 4.3.9 and 4.5.0, close it twice; by then it may
    /// be another thread's. What stays is one context: two or three descriptors besides the anchor, and some 200 kB.
    ///
    /// **Late callbacks.** libwebsockets identifies a connection by a number. A number that is no longer in `drivers`
    /// is ignored. A driver stays in `drivers` until libwebsockets has destroyed it.
    // SAFETY: `shared` has its lock. `context` is set once, before anybody else has the service. Everything else
    // belongs to the thread; one thread hands it to the next under the lock of `current`.
    final class Service: @unchecked Sendable {
        enum Command {
            case start(LibwebsocketsDriver)
            case write(LibwebsocketsDriver)
            /// A job of a task that prefers this thread.
            case job(UnownedJob, ServiceExecutor)
            /// The inbound buffer has room again.
            case resume(LibwebsocketsDriver)
            case close(LibwebsocketsDriver, SignalingClose, Timestamp)
            case abort(LibwebsocketsDriver)
            case release(Owner, @Sendable () -> Void)
        }

        private struct Shared {
            var commands: [Command] = []
            /// Whether the thread waits, or is about to: only then must it be woken, and only once.
            var isAsleep = false
            /// Whether there is a thread that takes commands.
            var isRunning = false
        }

        private struct Current {
            var service: Service?
            /// The transports that have not been released. The thread runs while there is one.
            var users = 0
        }
        /// The service of the process, once there is one. The lock is held while the context is made, since there must
        /// never be two, and while a thread starts or ends.
        private static let current = Locked(Current())

        private let shared = Locked(Shared())
        private var context: OpaquePointer!
        private let protocols: UnsafeMutablePointer<lws_protocols>
        private let alarm: UnsafeMutablePointer<CLibwebsockets_alarm>
        private var hasAlarm = false
        private let scratch: UnsafeMutablePointer<UInt8>
        private static let chunk = 65_536
        private let protocolName = strdup("signaling")
        /// The socket that libwebsockets connects to until it gets the connected one, and its address.
        private let anchor: Int32
        private let anchorName = UnsafeMutablePointer<CChar>.allocate(capacity: Int(CLibwebsockets_anchor_size))

        private(set) var drivers: [UInt: LibwebsocketsDriver] = [:]
        private var lastID: UInt = 0
        private var releases: [(owner: Owner, done: @Sendable () -> Void)] = []
        private let trust = TrustStore()
        /// A time not later than the first deadline of a driver.
        private var nextDeadline = Timestamp.distantFuture
        private var running: [Command] = []

        // MARK: Life

        static func acquire() throws(TransportError) -> Service {
            try current.withLock { current throws(TransportError) in
                let service: Service
                if let existing = current.service { service = existing } else { service = try Service() }
                current.service = service
                if current.users == 0 { try service.startThread() }
                current.users += 1
                return service
            }
        }

        /// Ends the owner's connections, and the thread with the last owner; then calls `done`, on the thread.
        func release(owner: Owner, _ done: @escaping @Sendable () -> Void) {
            owner.isReleased.withLock { $0 = true }
            post(.release(owner, done))
        }

        private init() throws(TransportError) {
            protocols = .allocate(capacity: 2)
            protocols.initialize(repeating: lws_protocols(), count: 2)
            protocols[0].name = UnsafePointer(protocolName)
            protocols[0].callback = { wsi, reason, user, input, length in
                guard let wsi else { return 0 }
                return Service.handle(wsi, reason, user, input, length)
            }
            protocols[0].rx_buffer_size = 32_768
            alarm = .allocate(capacity: 1)
            alarm.initialize(to: CLibwebsockets_alarm())
            scratch = .allocate(capacity: Int(CLibwebsockets_pre) + Self.chunk)

            anchor = CLibwebsockets_anchor(anchorName)

            lws_set_log_level(0, nil)
            var info = Self.makeInfo(protocols)
            info.options = CLibwebsockets_option_tls | CLibwebsockets_option_explicit_vhosts
            // Ownership: unretained; `current` keeps the service as long as the context, which is for ever.
            info.user = Unmanaged.passUnretained(self).toOpaque()
            // The limits of requests and answers; a request of ours has at most 20 kB (`SignalingEndpoint.validate`).
            info.pt_serv_buf_size = 65_792
            info.max_http_header_data2 = 24_576
            info.fd_limit_per_thread = 4096
            // The service has its own deadlines.
            info.timeout_secs = 3600
            info.connect_timeout_secs = 3600
            guard anchor >= 0 else { throw Self.outOfResources() }
            context = lws_create_context(&info)
            guard context != nil else { throw Self.outOfResources() }
            alarm.pointee.context = context
            trust.context = context
            trust.protocols = protocols
        }

        private static func outOfResources() -> TransportError {
            TransportError(
                .resourceExhausted, "libwebsockets could not start: no descriptor, memory or thread is left",
                isRetryable: true)
        }

        /// Called while `current` is locked and no thread runs.
        private func startThread() throws(TransportError) {
            guard trust.makePlainHost(), DetachedThread.start({ self.run() }) else { throw Self.outOfResources() }
            // Only now: a job that was posted to a thread that did not start would never run.
            shared.withLock { $0.isRunning = true }
        }

        /// Only of a service whose context could not be made.
        deinit {
            protocols.deallocate()
            alarm.deallocate()
            scratch.deallocate()
            free(protocolName)
            if anchor >= 0 { close(anchor) }
            anchorName.deallocate()
        }

        static func makeInfo(_ protocols: UnsafeMutablePointer<lws_protocols>) -> lws_context_creation_info {
            var info = lws_context_creation_info()
            info.port = -1  // CONTEXT_PORT_NO_LISTEN
            info.protocols = UnsafePointer(protocols)
            // Nobody else. The types are signed in older versions and unsigned in newer ones.
            info.gid = .init(truncatingIfNeeded: -1)
            info.uid = .init(truncatingIfNeeded: -1)
            return info
        }

        // MARK: From any thread

        /// Posts a command. Returns false when the thread has ended.
        @discardableResult
        func post(_ command: Command) -> Bool {
            shared.withLock { shared in
                guard shared.isRunning else { return false }
                shared.commands.append(command)
                if shared.isAsleep {
                    shared.isAsleep = false
                    lws_cancel_service(context)
                }
                return true
            }
        }

        // MARK: The thread

        private func run() {
            while true {
                runCommands()
                checkDeadlines()
                if finishReleases() { break }
                setAlarm()
                let hasWork = shared.withLock { shared in
                    shared.isAsleep = shared.commands.isEmpty
                    return !shared.isAsleep
                }
                // -1: processes the sockets without waiting.
                _ = lws_service(context, hasWork ? -1 : 0)
            }
        }

        private func runCommands() {
            shared.withLock { shared in
                shared.isAsleep = false
                swap(&shared.commands, &running)
            }
            for command in running {
                switch command {
                case .start(let driver): start(driver)
                case .write(let driver): driver.writeNow()
                case .job(let job, let executor): job.runSynchronously(on: executor.asUnownedTaskExecutor())
                case .resume(let driver): if let wsi = driver.wsi { lws_rx_flow_control(wsi, 1) }
                case .close(let driver, let reason, let deadline):
                    if !driver.startClosing(reason, deadline: deadline) { abort(driver) }
                case .abort(let driver): abort(driver)
                case .release(let owner, let done):
                    releases.append((owner, done))
                    for driver in drivers.values where driver.owner === owner {
                        driver.connection.abandon()
                        abort(driver, atOnce: true)
                    }
                }
            }
            running.removeAll(keepingCapacity: running.count <= 1024)
        }

        /// Records that a driver has a deadline.
        func note(deadline: Timestamp) { nextDeadline = min(nextDeadline, deadline) }

        private func checkDeadlines() {
            guard nextDeadline != .distantFuture, case let now = Timestamp.now(), nextDeadline <= now else { return }
            nextDeadline = .distantFuture
            for driver in drivers.values {
                guard let deadline = driver.deadline else { continue }
                if deadline <= now { deadlinePassed(driver) } else { note(deadline: deadline) }
            }
        }

        /// Notifies owners whose connections are gone. Returns true when the last owner has left: then the thread ends,
        /// and may have a successor already.
        private func finishReleases() -> Bool {
            guard !releases.isEmpty else { return false }
            let finished = releases.filter { release in !drivers.values.contains { $0.owner === release.owner } }
            guard !finished.isEmpty else { return false }
            releases.removeAll { release in finished.contains { $0.owner === release.owner } }
            let isLast = Self.current.withLock { current in
                current.users -= finished.count
                guard current.users == 0 else { return false }
                let late = shared.withLock { shared in
                    shared.isRunning = false
                    defer { shared.commands = [] }
                    return shared.commands
                }
                for command in late {
                    if case .start(let driver) = command {
                        driver.failed(TransportError(.closed, "the transport was shut down"))
                    }
                    if case .job(let job, let executor) = command { executor.runElsewhere(job) }
                }
                nextDeadline = .distantFuture
                setAlarm()
                trust.forget()
                return true
            }
            for release in finished { release.done() }
            return isLast
        }

        /// Sets the alarm. Done before every wait, since an alarm that fired just before its deadline is gone.
        private func setAlarm() {
            guard nextDeadline != .distantFuture else {
                if hasAlarm { CLibwebsockets_alarm_stop(alarm) }
                return hasAlarm = false
            }
            hasAlarm = true
            CLibwebsockets_alarm_set(alarm, ((nextDeadline - .now()).saturatedNanoseconds + 999) / 1000)
        }

        private func deadlinePassed(_ driver: LibwebsocketsDriver) {
            driver.deadline = nil
            if case .connecting = driver.phase {
                driver.failed(
                    TransportError(
                        .timedOut, "\(driver.endpoint.url) did not answer in time",
                        isRetryable: true))
            }
            abort(driver, atOnce: true)
        }

        private func start(_ driver: LibwebsocketsDriver) {
            guard case .connecting = driver.phase else { return }
            guard !driver.owner.isReleased.withLock({ $0 }) else {
                return driver.failed(TransportError(.closed, "the transport was shut down"))
            }
            let endpoint = driver.endpoint
            var info = lws_client_connect_info()
            do throws(TransportError) { info.vhost = try trust.host(for: endpoint) } catch {
                return driver.failed(error)
            }
            lastID += 1
            driver.id = lastID
            driver.deadline = driver.connection.openingDeadline
            drivers[driver.id] = driver
            info.context = context
            info.port = Int32(endpoint.port)
            info.ssl_connection = Int32(LCCSCF_HTTP_NO_FOLLOW_REDIRECT.rawValue)
            if endpoint.isSecure { info.ssl_connection |= Int32(LCCSCF_USE_SSL.rawValue) }
            info.ietf_version_or_minus_one = -1
            info.local_protocol_name = UnsafePointer(protocolName)
            info.opaque_user_data = UnsafeMutableRawPointer(bitPattern: driver.id)
            driver.isStarting = true
            defer { driver.isStarting = false }
            errno = 0
            info.address = UnsafePointer(anchorName)
            let wsi = endpoint.libwebsocketsHost.withCString { host in
                endpoint.path.withCString { path in
                    endpoint.subprotocols.joined(separator: ",").withCString { subprotocols in
                        "http/1.1".withCString { alpn in
                            info.host = host
                            info.path = path
                            info.alpn = alpn
                            if !endpoint.subprotocols.isEmpty { info.`protocol` = subprotocols }
                            return lws_client_connect_via_info(&info)
                        }
                    }
                }
            }
            if let wsi {
                driver.wsi = wsi
                // libwebsockets now waits for its connection to the anchor. In its next turn it finds that it is
                // connected, to the server.
                if CLibwebsockets_adopt(wsi, driver.descriptor) == 0 {
                    driver.failed(Failure.connecting(driver, errno: errno))
                    abort(driver, atOnce: true)
                }
                driver.closeDescriptor()
            } else {
                let error = errno
                driver.failed(Failure.connecting(driver, errno: error))
                forget(driver)
            }
        }

        /// Ends the connection without a handshake. One that is lingering gets another moment for its last frame,
        /// unless `atOnce`.
        private func abort(_ driver: LibwebsocketsDriver, atOnce: Bool = false) {
            guard let wsi = driver.wsi else {
                driver.phase = .ended
                return
            }
            if driver.isLingering, !atOnce {
                driver.deadline = min(driver.deadline ?? .distantFuture, .now() + .seconds(1))
                return
            }
            driver.deadline = nil
            driver.phase = .ended
            CLibwebsockets_reset_on_close(lws_get_socket_fd(wsi))
            // As a timeout: without a close handshake, and without flushing.
            lws_set_timeout(wsi, PENDING_TIMEOUT_KILLED_BY_PARENT, LWS_TO_KILL_ASYNC)
        }

        func forget(_ driver: LibwebsocketsDriver) {
            drivers[driver.id] = nil
            driver.destroyed()
        }

        /// Writes one frame of the message from `offset` on, and returns where the next one begins.
        func write(_ message: SignalingMessage, from offset: Int, to wsi: OpaquePointer) -> (Bool, Int) {
            let payload = message.payload
            let end = min(payload.count, offset + Self.chunk)
            // libwebsockets writes the header before the payload and masks in place, which needs a copy for each write.
            let start = scratch + Int(CLibwebsockets_pre)
            payload.withUnsafeBytes { bytes in
                UnsafeMutableRawBufferPointer(start: start, count: end - offset).copyMemory(
                    from: UnsafeRawBufferPointer(rebasing: bytes[offset..<end]))
            }
            var flags: UInt32
            switch message {
            case _ where offset > 0: flags = LWS_WRITE_CONTINUATION.rawValue
            case .text: flags = LWS_WRITE_TEXT.rawValue
            case .binary: flags = LWS_WRITE_BINARY.rawValue
            }
            if end < payload.count { flags |= LWS_WRITE_NO_FIN.rawValue }
            return (lws_write(wsi, start, end - offset, lws_write_protocol(flags)) >= 0, end)
        }
    }
#endif
