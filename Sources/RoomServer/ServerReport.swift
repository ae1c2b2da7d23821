internal import RoomProtocol
internal import TransportPluginAPI

/// The metrics and the health of a server: the sums over its loops. Every thread may read them.
struct ServerReport: Sendable {
    let shared: SharedLoad
    let loops: [ServerMetrics]
    let limits: RoomServerConfiguration.Limits
    private let webhooks: WebhookTotals
    private let parts = Locked<[Part]>([])

    /// A part of the server with metrics of its own.
    struct Part: Sendable {
        /// Returns the part's metrics. Called on any thread, once for each scrape.
        var families: @Sendable () -> [MetricFamily] = { [] }
        /// Returns the part's state, in one line. It never makes the server unready.
        var state: @Sendable () -> String? = { nil }
    }

    /// Creates the report of a server with so many loops.
    init(loops count: Int, _ limits: RoomServerConfiguration.Limits, webhooks: WebhookTotals = WebhookTotals()) {
        shared = SharedLoad()
        loops = (0..<count).map { _ in ServerMetrics() }
        self.limits = limits
        self.webhooks = webhooks
    }

    /// Adds another part of the server.
    func add(_ part: Part) { parts.withLock { $0.append(part) } }

    /// The state of the other parts of the server, one line each.
    var states: [String] { parts.withLock { $0 }.compactMap { $0.state() } }

    /// Returns all metrics as text. Takes milliseconds where thousands of descriptors are open, so not for an event
    /// loop.
    func text(_ format: MetricsText.Format) -> String {
        MetricsText.text(families() + Self.process(.read()), format)
    }

    /// Returns the metrics, without those of the process.
    func families() -> [MetricFamily] {
        let parts = parts.withLock { $0 }
        let build = MetricFamily(
            "room_server_build_info", .gauge, "The version of the server.",
            [.init(labels: [.init(name: "version", value: RoomServer.version)], value: .integer(1))])
        return [build] + load() + sizes() + connections() + messages() + loopFigures()
            + webhooks.families + parts.flatMap { $0.families() }
    }

    /// The number of refusals since the start, by reason.
    var refusals: [(RepeatedEvents.Event, Int)] {
        let codes = counts {
            $0.refusals
        } name: {
            $0.rawValue
        }
        let statuses = counts {
            $0.responses
        } name: {
            $0
        }
        let failures = counts {
            $0.failures
        } name: {
            $0.rawValue
        }
        return codes.filter { $0.0 != ProtocolError.Code.replaced.rawValue }
            .map { (.init(text: "refused", key: "code", value: $0), $1) }
            // 404 and 426 are for scanners.
            + statuses.filter { ["400", "401", "403", "429", "431", "503"].contains($0.0) }
            .map { (.init(text: "request refused", key: "status", value: $0), $1) }
            + failures.map { (.init(text: "handshake failed", key: "reason", value: $0), $1) }
            + [
                (.init(text: "refused", key: "reason", value: "address"), sum { $0.addressRefusals.value }),
                (.init(text: "disconnected", key: "reason", value: "slow"), sum { $0.slowClients.value }),
                (.init(text: "disconnected", key: "reason", value: "silent"), sum { $0.silentClients.value }),
                (.init(text: "disconnected", key: "reason", value: "violation"), sum { $0.violations.value }),
            ]
    }

    private func sum(_ number: (ServerMetrics) -> Int) -> Int { loops.reduce(0) { $0 + number($1) } }

    private func sum(_ numbers: (ServerMetrics) -> [Int]) -> [Int] {
        loops.map(numbers).reduce([]) { sum, more in sum.isEmpty ? more : zip(sum, more).map { $0 + $1 } }
    }

    private func load() -> [MetricFamily] {
        let load = shared.value
        let waiting = sum { $0.waiting.value }
        let sockets = sum { $0.sockets.value }
        return [
            MetricFamily("room_server_rooms", .gauge, "Rooms.", load.rooms),
            MetricFamily(
                "room_server_participants", .gauge, "Participants, with those within their grace period.",
                load.participants),
            MetricFamily(
                "room_server_connections", .gauge,
                "Open sockets: in or after their HTTP request, WebSocket without a hello, waiting for a room, joined.",
                by: "state",
                [
                    ("http", max(0, sockets - load.connections)), ("hello", load.handshakes), ("waiting", waiting),
                    ("joined", max(0, load.connections - load.handshakes - waiting)),
                ]),
            MetricFamily("room_server_draining", .gauge, "1 while the server drains.", isDraining ? 1 : 0),
        ]
    }

    private func sizes() -> [MetricFamily] {
        [
            MetricFamily("room_server_limit_rooms", .gauge, "The limit of rooms.", limits.rooms),
            MetricFamily(
                "room_server_limit_connections", .gauge, "The limit of WebSocket connections.", limits.connections),
            MetricFamily(
                "room_server_limit_handshakes", .gauge, "The limit of WebSocket connections without a hello.",
                limits.handshakes),
            MetricFamily(
                "room_server_buffered_bytes", .gauge, "Memory of output that waits and of incomplete messages.",
                sum { $0.buffered.value }),
            MetricFamily(
                "room_server_limit_buffered_bytes", .gauge, "The limit of room_server_buffered_bytes.",
                limits.totalBuffer),
            MetricFamily(
                "room_server_stream_bytes", .gauge, "Messages that are kept until participants acknowledge them.",
                sum { $0.streamBytes.value }),
            MetricFamily(
                "room_server_limit_stream_bytes", .gauge, "The limit of room_server_stream_bytes.",
                limits.totalStreamBytes),
        ]
    }

    private func connections() -> [MetricFamily] {
        [
            MetricFamily(
                "room_server_http_responses", .counter, "Answers to HTTP requests, by status; 101 opens a connection.",
                by: "code",
                counts {
                    $0.responses
                } name: {
                    $0
                }),
            MetricFamily(
                "room_server_handshake_failures", .counter, "Sockets that were closed without an answer, by reason.",
                by: "reason",
                counts {
                    $0.failures
                } name: {
                    $0.rawValue
                }),
            histogram(
                "room_server_handshake_seconds", "From the accepted socket to the WebSocket connection, TLS included."
            ) { $0.handshakes },
            histogram("room_server_tls_handshake_seconds", "From the accepted socket to the end of the TLS handshake.")
            { $0.tlsHandshakes },
            histogram(
                "room_server_join_seconds", "From hello to joined, without participants that wait for their room."
            ) { $0.joinTimes },
            MetricFamily(
                "room_server_joins", .counter,
                "Participants that came in: for the first time, into the same session, or into one of a new epoch.",
                by: "kind",
                counts {
                    $0.joins
                } name: {
                    $0.rawValue
                }),
            MetricFamily(
                "room_server_address_refusals", .counter, "Sockets and requests over the limits of their address.",
                sum { $0.addressRefusals.value }),
            MetricFamily(
                "room_server_slow_clients", .counter, "Connections that were closed because too much waited for them.",
                sum { $0.slowClients.value }),
            MetricFamily(
                "room_server_silent_clients", .counter, "Connections that were closed because a ping got no answer.",
                sum { $0.silentClients.value }),
        ]
    }

    private func messages() -> [MetricFamily] {
        [
            MetricFamily(
                "room_server_messages_received", .counter, "Messages from clients.", sum { $0.messagesReceived.value }),
            MetricFamily("room_server_messages_sent", .counter, "Messages to clients.", sum { $0.messagesSent.value }),
            MetricFamily(
                "room_server_signals", .counter, "Signals to participants.", sum { $0.signals.value }),
            MetricFamily(
                "room_server_received_bytes", .counter, "Bytes from clients, without TLS.",
                sum { $0.bytesReceived.value }),
            MetricFamily(
                "room_server_sent_bytes", .counter, "Bytes to clients, without TLS.", sum { $0.bytesSent.value }),
            MetricFamily(
                "room_server_refusals", .counter, "Errors to clients, by code of the wire protocol.", by: "code",
                counts {
                    $0.refusals
                } name: {
                    $0.rawValue
                }),
            MetricFamily(
                "room_server_websocket_violations", .counter, "Connections that broke RFC 6455.",
                sum { $0.violations.value }),
        ]
    }

    private func loopFigures() -> [MetricFamily] {
        let now = Timestamp.now()
        let lag = loops.map { $0.pulse.lag(at: now).inSeconds }.max() ?? 0
        return [
            MetricFamily(
                "room_server_loop_lag_seconds", .gauge, "The longest delay of an event loop within the last minute.",
                max(0, lag)),
            MetricFamily(
                "room_server_loop_cpu_seconds", .counter, "CPU time of each event loop.",
                loops.enumerated().map { index, loop in
                    .init(
                        labels: [.init(name: "loop", value: "\(index)")], value: .number(loop.pulse.cpuSeconds))
                }),
        ]
    }

    /// Returns the sums over all loops by label. What has no label of its own is `other`.
    private func counts<Label>(
        _ counts: (ServerMetrics) -> LabelledCounts<Label>, name: (Label) -> String
    ) -> [(String, Int)] {
        let labels = loops.first.map { counts($0).labels.map(name) } ?? []
        let values: [Int] = sum { counts($0).values }
        return Array(zip(labels + ["other"], values))
    }

    private func histogram(
        _ name: String, _ help: String, _ counts: (ServerMetrics) -> DurationCounts
    ) -> MetricFamily {
        let values = loops.map { counts($0).value }
        let sample = MetricFamily.Value.histogram(
            limits: loops.first.map { counts($0).limits } ?? [], buckets: sum { counts($0).value.buckets } as [Int],
            sum: values.reduce(0) { $0 + $1.seconds })
        return MetricFamily(name, .histogram, help, [.init(value: sample)])
    }

    private static func process(_ figures: ProcessFigures) -> [MetricFamily] {
        var families = [
            MetricFamily("process_cpu_seconds", .counter, "User and system CPU time.", figures.cpuSeconds)
        ]
        if let time = figures.startTime {
            families.append(
                MetricFamily("process_start_time_seconds", .gauge, "Start of the process since 1970.", time))
        }
        let gauges: [(String, String, Int?)] = [
            ("process_resident_memory_bytes", "Resident memory.", figures.residentBytes),
            ("process_virtual_memory_bytes", "Virtual memory.", figures.virtualBytes),
            ("process_open_fds", "Open descriptors.", figures.openDescriptors),
            ("process_max_fds", "The limit of open descriptors.", figures.maximumDescriptors),
        ]
        for (name, help, value) in gauges {
            if let value { families.append(MetricFamily(name, .gauge, help, value)) }
        }
        return families
    }
}
