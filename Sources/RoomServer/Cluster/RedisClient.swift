internal import Logging
internal import NIOCore
internal import NIOPosix
internal import TransportValues

/// A connection to the master of a Redis or Valkey server that comes back after every loss. Lives on one event loop.
///
/// Commands are pipelined. They fail at once while there is no connection; none is sent twice.
final class RedisClient {
    typealias Completion = (Result<RESPValue, RedisFailure>) -> Void

    struct Times: Sendable {
        var connect = Duration.seconds(1)
        var login = Duration.seconds(1)
        /// How often Sentinels are asked whether the master is still the same one: a demoted master keeps connections.
        var sentinelPoll = Duration.seconds(5)
        /// The longest delay of the first attempt after a loss, which doubles up to the maximum.
        var delay = Duration.milliseconds(50)
        var maximumDelay = Duration.seconds(2)
    }

    let eventLoop: any EventLoop
    private let url: RedisURL
    private let times: Times
    private let logger: Logger
    private let tls: TLSClientContext?
    /// Called with true when commands can be sent, and with false when they no longer can.
    var onChange: (Bool) -> Void = { _ in }
    /// Called with the reason whenever a connection was lost or could not be opened.
    var onLoss: (String) -> Void = { _ in }

    private(set) var isReady = false
    private var isStopped = true
    private var connection: RedisConnection?
    private var lastCommand: RedisSession.CommandID = 0
    private var completions: [RedisSession.CommandID: Completion] = [:]
    private var failures = 0
    private var retry: Scheduled<Void>?
    private var poll: Scheduled<Void>?
    /// The Sentinels in the order in which they are asked.
    private var sentinels: [RedisURL.Host]
    private var master: RedisURL.Host?
    private var hasWarned = false

    /// - Parameter tls: The settings of TLS, for a URL with TLS.
    init(_ url: RedisURL, times: Times = Times(), tls: TLSClientContext?, on eventLoop: any EventLoop, logger: Logger) {
        self.eventLoop = eventLoop
        self.url = url
        self.times = times
        self.tls = url.isSecure ? tls : nil
        self.logger = logger
        if case .sentinels(let hosts, _) = url.place { sentinels = hosts } else { sentinels = [] }
    }

    func start() {
        guard isStopped else { return }
        isStopped = false
        connect()
    }

    /// Fails everything that waits, and closes.
    func stop() {
        isStopped = true
        retry?.cancel()
        poll?.cancel()
        connection?.close("it is no longer needed")
        connection = nil
        becomeReady(false)
    }

    /// Closes the connection and opens another one: what was asked over it may never be answered.
    func reconnect(_ reason: String) { connection?.close(reason) }

    // MARK: Commands

    /// Sends a command. The completion is called exactly once, on the event loop.
    func send(
        _ command: [[UInt8]], script: [[UInt8]]? = nil, within limit: Duration, _ completion: @escaping Completion
    ) {
        guard let connection, isReady else { return completion(.failure(.notConnected)) }
        lastCommand += 1
        completions[lastCommand] = completion
        connection.submit(lastCommand, command, script: script, deadline: .now() + limit)
    }

    /// Runs a script, which the server learns when it does not know it.
    func run(
        _ script: RedisScript, keys: [String], _ arguments: [String], within limit: Duration,
        _ completion: @escaping Completion
    ) {
        let rest = ([String(keys.count)] + keys + arguments).map { Array($0.utf8) }
        send(
            [Array("EVALSHA".utf8), script.hash] + rest, script: [Array("EVAL".utf8), script.text] + rest,
            within: limit, completion)
    }

    fileprivate func settle(_ id: RedisSession.CommandID, _ result: Result<RESPValue, RedisFailure>) {
        completions.removeValue(forKey: id)?(result)
    }

    // MARK: The connection

    private func connect() {
        guard !isStopped, connection == nil else { return }
        switch url.place {
        case .server(let host): open(.address(host), .server)
        case .socket(let path): open(.socket(path), .server)
        case .sentinels(_, let name):
            // An attempt asks one Sentinel; the next attempt asks the next one.
            guard let sentinel = sentinels.first else { return }
            master = nil
            open(.address(sentinel), .sentinel(master: name))
        }
    }

    private func open(_ target: RedisConnection.Target, _ partner: RedisSession.Partner) {
        let login = RedisSession.Login(user: url.user, password: url.password, database: url.database)
        let session = RedisSession(with: partner, login: login, loginTimeout: times.login)
        let connection = RedisConnection(session, target, self)
        self.connection = connection
        connection.open(within: times.connect, tls: tls)
    }

    fileprivate func opened(_ connection: RedisConnection) {
        guard connection === self.connection else { return }
        failures = 0
        hasWarned = false
        becomeReady(true)
        schedulePoll()
    }

    fileprivate func found(_ host: RedisURL.Host, _ connection: RedisConnection) {
        guard !isStopped, case .sentinels = url.place else { return }
        guard connection === self.connection else {
            // The regular question.
            if let master, master != host { reconnect("the Sentinels name another master") }
            return
        }
        master = host
        open(.address(host), .server)
    }

    fileprivate func ended(_ connection: RedisConnection, _ reason: String) {
        guard connection === self.connection else { return }
        self.connection = nil
        poll?.cancel()
        poll = nil
        // Another Sentinel may know more.
        if sentinels.count > 1 { sentinels.append(sentinels.removeFirst()) }
        becomeReady(false)
        guard !isStopped else { return }
        onLoss(reason)
        let level = hasWarned ? Logger.Level.debug : .warning
        logger.log(level: level, "Redis is away", metadata: ["reason": "\(reason)"])
        hasWarned = true
        failures += 1
        let delay = Self.longestDelay(afterFailures: failures, times)
        let wait = Int64.random(in: 0...max(1, delay.saturatedNanoseconds))
        retry?.cancel()
        retry = eventLoop.assumeIsolated().scheduleTask(in: .nanoseconds(wait)) { self.connect() }
    }

    /// The delay before the next attempt is chosen at random up to this.
    static func longestDelay(afterFailures failures: Int, _ times: Times) -> Duration {
        min(times.maximumDelay, times.delay * (1 << min(max(failures - 1, 0), 20)))
    }

    private func becomeReady(_ new: Bool) {
        guard new != isReady else { return }
        isReady = new
        if new { logger.info("Redis is there") }
        onChange(new)
    }

    private func schedulePoll() {
        guard case .sentinels(_, let name) = url.place else { return }
        poll?.cancel()
        poll = eventLoop.assumeIsolated().scheduleTask(in: .nanoseconds(times.sentinelPoll.saturatedNanoseconds)) {
            guard self.isReady, let sentinel = self.sentinels.first else { return }
            self.sentinels.append(self.sentinels.removeFirst())
            let login = RedisSession.Login(user: self.url.user, password: self.url.password)
            let session = RedisSession(
                with: .sentinel(master: name), login: login, loginTimeout: self.times.login)
            RedisConnection(session, .address(sentinel), self).open(within: self.times.connect, tls: self.tls)
            self.schedulePoll()
        }
    }
}

/// The socket of one session with Redis or a Sentinel.
private final class RedisConnection: SocketHandler {
    enum Target: Sendable {
        case address(RedisURL.Host)
        case socket(String)
    }

    private var session: RedisSession
    private let target: Target
    private let client: RedisClient
    private var context: ChannelHandlerContext?
    private var timer: (task: Scheduled<Void>, time: Timestamp)?
    private var isSecure = false
    private var hasEnded = false

    init(_ session: RedisSession, _ target: Target, _ client: RedisClient) {
        self.session = session
        self.target = target
        self.client = client
    }

    func open(within limit: Duration, tls: TLSClientContext?) {
        isSecure = tls != nil
        let bound = NIOLoopBound(self, eventLoop: client.eventLoop)
        let target = target
        let bootstrap = ClientBootstrap(group: client.eventLoop)
            .connectTimeout(.nanoseconds(limit.saturatedNanoseconds))
            .channelOption(.socketOption(.so_keepalive), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if case .address(let host) = target, let tls {
                        try channel.pipeline.syncOperations.addHandler(tls.makeHandler(serverName: host.name))
                    }
                    try channel.pipeline.syncOperations.addHandler(bound.value)
                }
            }
        let connecting =
            switch target {
            case .address(let host):
                bootstrap.channelOption(.tcpOption(.tcp_nodelay), value: 1).connect(host: host.name, port: host.port)
            case .socket(let path): bootstrap.connect(unixDomainSocketPath: path)
            }
        connecting.assumeIsolated().whenFailure { self.finish("it cannot be reached: \($0)") }
    }

    func submit(_ id: RedisSession.CommandID, _ command: [[UInt8]], script: [[UInt8]]?, deadline: Timestamp) {
        perform(session.submit(id, command, script: script, deadline: deadline))
    }

    func close(_ reason: String) { finish(reason) }

    // MARK: The channel

    func channelActive(context: ChannelHandlerContext) {
        guard !hasEnded else { return context.close(promise: nil) }
        self.context = context
        session.connected(at: .now())
        perform(isSecure ? [] : session.opened())
        context.fireChannelActive()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is TLSHandler.Opened { perform(session.opened()) }
        context.fireUserInboundEventTriggered(event)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        perform(unwrapInboundIn(data).withUnsafeReadableBytes { session.received($0) })
    }

    func channelInactive(context: ChannelHandlerContext) {
        finish("it closed the connection")
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        finish("\(error)")
        context.close(promise: nil)
    }

    // MARK: The session

    private func finish(_ reason: String) {
        let actions = session.closed(reason)
        perform(actions.isEmpty ? [.end(reason)] : actions)
    }

    private func perform(_ actions: [RedisSession.Action]) {
        var hasWritten = false
        var ending: String?
        for action in actions {
            switch action {
            case .write(let bytes):
                context?.write(wrapOutboundOut(ByteBuffer(bytes: bytes)), promise: nil)
                hasWritten = true
            case .ready: client.opened(self)
            case .settle(let id, let result): client.settle(id, result)
            case .foundMaster(let host): client.found(host, self)
            case .end(let reason): ending = reason
            }
        }
        if hasWritten { context?.flush() }
        if let ending, !hasEnded {
            hasEnded = true
            timer?.task.cancel()
            timer = nil
            context?.close(promise: nil)
            client.ended(self, ending)
            return
        }
        schedule()
    }

    private func schedule() {
        guard !hasEnded, let next = session.nextDeadline else { return }
        if let timer, timer.time <= next { return }
        timer?.task.cancel()
        let delay = max(next - .now(), .zero).saturatedNanoseconds
        let task = client.eventLoop.assumeIsolated().scheduleTask(in: .nanoseconds(delay)) {
            self.timer = nil
            self.perform(self.session.timePassed(to: .now()))
        }
        timer = (task, next)
    }
}
