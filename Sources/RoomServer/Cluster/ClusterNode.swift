internal import Hashing
internal import Logging
internal import NIOCore
internal import RoomCluster
internal import RoomProtocol
internal import TransportValues

/// The shell of a node's machine: the store, the links, the hellos that need their room's owner. Lives on one event
/// loop; rooms and clients live on others.
final class ClusterNode {
    /// A client of this node that is or will be carried to another one.
    struct Edge {
        let handler: NIOLoopBound<ConnectionHandler>
        let room: RoomName
        let hello: [UInt8]
        let address: String
        var waiter: Waiter
        /// The owner's node and the stream to it.
        var target: (node: NodeID, stream: StreamID)?
        /// Messages that wait for credit.
        var backlog: [[UInt8]] = []
        var backlogBytes = 0
        var maySend = true
    }

    /// A client of another node.
    struct Remote {
        let address: String
        let hello: [UInt8]
        var waiter: Waiter?
        var connection: NIOLoopBound<RemoteConnection>?
        /// Frames that came before the connection was made.
        var early: [LinkFrame] = []
    }

    let eventLoop: any EventLoop
    let logger: Logger
    let authority: ServerAuthority
    let loops: ServerLoops
    private var machine: RoomClusterMachine
    let redis: RedisClient
    let metrics = ClusterMetrics()
    /// Answers the questions of other nodes' admin APIs.
    let desk: AdminAPI
    var questions = 0
    private let store: RedisStore
    let settings: LinkMachine.Settings
    let name: String
    let node: String
    private(set) var incarnation: UInt64 = 0
    private let tls: TLSClientContext

    /// The links that this node has opened.
    var links: [NodeID: LinkHandler] = [:]
    /// The links that others have opened.
    var incoming: [UInt64: LinkHandler] = [:]
    var lastLink: UInt64 = 0
    var edges: [WaiterID: Edge] = [:]
    var streams: [NodeID: [StreamID: WaiterID]] = [:]
    var remotes: [RemoteStream: Remote] = [:]
    var remoteWaiters: [WaiterID: RemoteStream] = [:]
    private var lastWaiter: UInt64 = 0

    private var actions: [ClusterAction] = []
    private var isPerforming = false
    private var timer: (task: Scheduled<Void>, time: Timestamp)?
    private var drained: EventLoopPromise<Void>?
    private var storeWaits = StoreWaits()
    /// Called when a later process has this node's name.
    var onSuperseded: () -> Void = {}

    init(
        _ configuration: RoomServerConfiguration.Cluster, address: LinkAddress, authority: ServerAuthority,
        loops: ServerLoops, on eventLoop: any EventLoop, logger: Logger
    ) throws {
        self.eventLoop = eventLoop
        self.authority = authority
        self.loops = loops
        self.logger = logger
        name = configuration.name
        node = configuration.node
        settings = LinkMachine.Settings(
            keys: authority.sessionKeys.all.map { LinkMachine.Settings.key(from: $0.bytes) })
        tls = try TLSClientContext.withoutAuthorities()
        store = RedisStore(cluster: configuration.name)
        machine = RoomClusterMachine(
            node: NodeID(configuration.node), address: address.text, random: SystemRandomNumberGenerator())
        desk = AdminAPI(
            eventLoop: eventLoop, loops: loops.all,
            hub: EventHub(eventLoop: eventLoop, run: "", totals: WebhookTotals(), logger: logger),
            facts: AdminAPI.Facts(url: address.text), logger: logger
        ) { _ in }
        let url = try RedisURL(configuration.redis)
        let trust = url.isSecure ? try TLSClientContext(authoritiesFile: configuration.redisAuthoritiesFile) : nil
        redis = RedisClient(url, tls: trust, on: eventLoop, logger: logger)
    }

    func start(as incarnation: UInt64) {
        self.incarnation = incarnation
        redis.onChange = { isReady in
            self.step { isReady ? $0.storeConnected(at: $1) : $0.storeDisconnected(at: $1) }
        }
        step { $0.started(as: Incarnation(incarnation), at: $1) }
        redis.start()
    }

    func stop() {
        timer?.task.cancel()
        timer = nil
        redis.onChange = { _ in }
        redis.stop()
        storeWaits.end()
        for link in Array(links.values) + Array(incoming.values) { link.fail(.closed, "this node stops") }
        drained?.succeed()
        drained = nil
    }

    /// Gives up all rooms, within this time. The future succeeds when none is left.
    func drain(within window: Duration) -> EventLoopFuture<Void> {
        let promise = drained ?? eventLoop.makePromise()
        drained = promise
        step { $0.drain(within: window, at: $1) }
        // The machine ends by itself; one that has ended before says nothing.
        let limit = (window + .seconds(2)).saturatedNanoseconds
        eventLoop.assumeIsolated().scheduleTask(in: .nanoseconds(limit)) {
            self.drained?.succeed()
            self.drained = nil
        }
        return promise.futureResult
    }

    // MARK: From the loops of rooms

    /// A hello of this node's client needs its room's owner.
    func route(_ handler: NIOLoopBound<ConnectionHandler>, _ hello: Hello, _ text: [UInt8], address: String) -> WaiterID
    {
        lastWaiter += 1
        let id = WaiterID(lastWaiter)
        let waiter = Waiter(id, for: hello.room, fence: fence(of: hello))
        logger.trace("a hello needs a route", metadata: ["waiter": "\(id)", "room": "\(hello.room)"])
        edges[id] = Edge(handler: handler, room: hello.room, hello: text, address: address, waiter: waiter)
        step { $0.resolve(waiter, at: $1) }
        return id
    }

    private func fence(of hello: Hello) -> Fence {
        guard let token = hello.resume?.sessionToken, let claims = authority.claims(ofSessionToken: token),
            claims.room == hello.room
        else { return 0 }
        return claims.fence ?? 0
    }

    /// The room is in use no longer.
    func roomEnded(_ room: RoomName) { step { $0.roomEnded(room, at: $1) } }

    /// Something has happened in a room that its next owner must know.
    func marked(_ mark: RoomCluster.Mark, in room: RoomName, lifetime: Duration) {
        step { $0.marked(mark, in: room, lifetime: lifetime, at: $1) }
    }

    /// Calls `whenStored` once: with true when the store has the mark, which must have been passed to `marked`; with
    /// false when it has refused it, or that takes too long.
    func notify(_ whenStored: @escaping (Bool) -> Void, of mark: RoomCluster.Mark, in room: RoomName) {
        storeWaits.add(whenStored, for: mark, in: room, at: .now())
    }

    // MARK: The machine

    func step(_ transition: (inout RoomClusterMachine, Timestamp) -> [ClusterAction]) {
        // A process that was stopped looks at the time first. The clock counts suspends.
        let now = Timestamp.bootTime()
        if let next = machine.nextDeadline, next <= now { actions += machine.timePassed(to: now) }
        actions += transition(&machine, now)
        guard !isPerforming else { return }
        isPerforming = true
        var next = 0
        while next < actions.count {
            perform(actions[next])
            next += 1
        }
        actions.removeAll(keepingCapacity: true)
        isPerforming = false
        schedule()
        metrics.update(machine)
        measure()
    }

    /// Counts links and the clients on them.
    func measure() {
        metrics.dialled.set(links.values.count { $0.machine.isReady })
        metrics.accepted.set(incoming.values.count { $0.machine.isReady })
        metrics.carriedAway.set(streams.values.reduce(0) { $0 + $1.count })
        metrics.carriedHere.set(remotes.count)
    }

    private func perform(_ action: ClusterAction) {
        logger.trace("cluster", metadata: ["action": "\(action)"])
        switch action {
        case .send(let request, let id): send(request, id)
        case .reconnectStore: redis.reconnect("it did not answer in time")
        case .route(let waiter, let route): perform(route, for: waiter)
        case .own(let room, let fence, let marks):
            let home = loops.home(of: room)
            home.eventLoop.execute { home.value.own(room, fence: fence, marks) }
        case .yield(let room, let reason):
            logger.debug("a room moves to another node", metadata: ["room": "\(room)", "reason": "\(reason)"])
            let home = loops.home(of: room)
            home.eventLoop.execute { home.value.yield(room) }
        case .tell(let node, let room, let fence): links[node]?.tell(room.rawValue, fence)
        case .dial(let node, let address): dial(node, address)
        case .hangUp(let node): links.removeValue(forKey: node)?.fail(.closed, "it leads to an earlier process")
        case .drained:
            drained?.succeed()
            drained = nil
        case .superseded:
            logger.error("another process runs under this node's name", metadata: ["node": "\(node)"])
            onSuperseded()
        }
    }

    private func send(_ request: StoreRequest, _ id: RequestID) {
        run(request) { reply in
            // The end of the connection is reported by itself.
            if let reply { self.step { $0.replied(reply, to: id, at: $1) } }
        }
    }

    /// Asks the store, for a request that is not the machine's. `.failed` when it does not answer.
    func ask(_ request: StoreRequest, _ completion: @escaping (StoreReply) -> Void) {
        run(request) { completion($0 ?? .failed) }
    }

    /// Runs a request. The completion gets nil when the connection has ended or no answer came.
    private func run(_ request: StoreRequest, _ completion: @escaping (StoreReply?) -> Void) {
        let call = store.call(for: request)
        // The machine's own limit is a little shorter.
        func answered(_ reply: StoreReply) {
            storeWaits.answered(request, reply)
            completion(reply)
        }
        redis.run(call.script, keys: call.keys, call.arguments, within: .seconds(4)) { result in
            switch result {
            case .success(let value):
                let reply = RedisStore.reply(value)
                if reply == .failed { self.logger.error("the store has sent a reply of no known form") }
                answered(reply)
            case .failure(.refused(let text)):
                self.logger.error("the store has refused a request", metadata: ["error": "\(text)"])
                answered(.failed)
            case .failure(.overloaded): answered(.failed)
            case .failure(.notConnected), .failure(.lost), .failure(.timedOut): completion(nil)
            }
        }
    }

    private func schedule() {
        guard let next = machine.nextDeadline else { return }
        if let timer, timer.time <= next { return }
        timer?.task.cancel()
        let delay = max(next - .bootTime(), .zero).saturatedNanoseconds
        let task = eventLoop.assumeIsolated().scheduleTask(in: .nanoseconds(delay)) {
            self.timer = nil
            self.step { $0.timePassed(to: $1) }
        }
        timer = (task, next)
    }

    // MARK: Routes

    private func perform(_ route: Route, for waiter: Waiter) {
        if let stream = remoteWaiters.removeValue(forKey: waiter.id) { return perform(route, forRemote: stream) }
        guard var edge = edges[waiter.id] else { return }
        edge.waiter = waiter
        edges[waiter.id] = edge
        let handler = edge.handler
        switch route {
        case .here:
            edges[waiter.id] = nil
            let room = edge.room
            handler.eventLoop.execute { handler.value.routedHere(room) }
        case .refused(let window, let reason):
            edges[waiter.id] = nil
            handler.eventLoop.execute { handler.value.refusedRoute(window, reason.text) }
        case .there(let node, _, let fence):
            let opening = LinkOpening(fence: fence, address: edge.address, hello: edge.hello)
            guard let stream = links[node]?.open(opening) else {
                edges[waiter.id] = nil
                handler.eventLoop.execute { handler.value.lostRoute() }
                return
            }
            edges[waiter.id]?.target = (node, stream)
            streams[node, default: [:]][stream] = waiter.id
        }
    }

    private func perform(_ route: Route, forRemote stream: RemoteStream) {
        guard let remote = remotes[stream], let link = incoming[stream.link] else { return }
        switch route {
        case .here:
            guard let room = try? RoomProtocolCodec.decodeClientMessage(remote.hello).room else { return }
            link.accept(stream.stream)
            let home = loops.home(of: room)
            let own = NIOLoopBound(self, eventLoop: eventLoop)
            let (hello, address) = (remote.hello, remote.address)
            home.eventLoop.execute {
                let connection = RemoteConnection(stream, on: home.value, of: own)
                let bound = NIOLoopBound(connection, eventLoop: home.eventLoop)
                own.eventLoop.execute { own.value.made(bound, for: stream) }
                connection.begin(hello, address: address)
            }
        case .there:
            remotes[stream] = nil
            link.refuse(stream.stream, .notOwner)
        case .refused:
            remotes[stream] = nil
            link.refuse(stream.stream, .busy)
        }
    }

    func newWaiterID() -> WaiterID {
        lastWaiter += 1
        return WaiterID(lastWaiter)
    }

    private func dial(_ node: NodeID, _ address: String) {
        let link = makeLink(to: node) { self.handle($1, of: $0, to: node) }
        links[node] = link
        connect(link, to: address)
    }

    /// Returns a link to a node, which is not connected.
    func makeLink(
        to node: NodeID, _ onEvent: @escaping (LinkHandler, LinkHandler.Event) -> Void
    ) -> LinkHandler {
        var settings = settings
        settings.expectedNode = node.rawValue
        return makeLink(.dialer, settings, onEvent)
    }

    func makeLink(
        _ side: LinkMachine.Side, _ settings: LinkMachine.Settings,
        _ onEvent: @escaping (LinkHandler, LinkHandler.Event) -> Void
    ) -> LinkHandler {
        let hello = LinkHello(cluster: name, node: node, incarnation: incarnation, nonce: Crypto.randomBytes(32))
        return LinkHandler(
            LinkMachine(side, hello: hello, settings: settings), side, on: eventLoop, metrics, onEvent)
    }

    func connect(_ link: LinkHandler, to address: String) {
        LinkDialer.connect(link, to: address, tls, on: eventLoop)
    }
}

extension Envelope<ClientMessage> {
    /// The room of a hello.
    var room: RoomName? { if case .hello(let hello) = message { hello.room } else { nil } }
}

extension RouteRefusal {
    /// The message for the client.
    fileprivate var text: String {
        switch self {
        case .storeAway: "The servers cannot agree at present who has the room."
        case .ownerUnreachable: "The server that has the room cannot be reached at present."
        case .unsettled: "The room is moving between servers."
        case .draining: "The server shuts down."
        case .overloaded: "Too many clients wait for their rooms."
        }
    }
}
