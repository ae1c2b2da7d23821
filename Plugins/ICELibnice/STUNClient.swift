internal import TransportPluginAPI

/// Gathers the server-reflexive candidates of one agent from its STUN servers (RFC 8445 §5.1.1.2): the shell of
/// `STUNRequests`.
///
/// libnice itself asks only one STUN server. It is given none: requests go out from the twins of its sockets. It does
/// not need the answers, since a check from a server-reflexive candidate is sent from its base (RFC 8445 §6.1.2.4).
final class STUNClient {
    private static let lookUpTime = Duration.seconds(4)
    private static let longestWait = Duration.seconds(15)
    /// RFC 8445 §11: while no pair is selected; a selected pair has its own traffic.
    private static let keepalive = Duration.seconds(15)

    private let loop: TransportLoop
    private let servers: [ICEServerURL]
    private let sockets: AgentSockets
    private var requests = STUNRequests()
    private var timer: LoopTimer?
    /// The time after which no answer is expected.
    private var end = Timestamp.zero
    /// Called when a server has reported the address of the socket with this index.
    var onAnswer: (_ socket: Int, _ address: IPEndpoint) -> Void = { _, _ in }
    /// Called when the requests may have ended.
    var onProgress: () -> Void = {}
    /// Whether addresses in NATs must be kept alive.
    var needsKeepalive: () -> Bool = { false }

    init(_ servers: [ICEServerURL], on loop: TransportLoop, sockets: AgentSockets) {
        self.loop = loop
        self.servers = servers
        self.sockets = sockets
    }

    var isOver: Bool { requests.isOver }

    /// Whether answers may still come.
    @inline(__always)
    func mayAnswer(at time: Timestamp) -> Bool { time < end }

    func begin() {
        let names = servers.filter { IPAddress($0.host) == nil }
        requests.begin(families: sockets.all.map(\.localAddress.isIPv6), names: names.count)
        guard !requests.isOver else { return }
        end = .now() + Self.longestWait
        for server in servers {
            if let address = IPAddress(server.host) { ask(IPEndpoint(address, port: server.port)) }
        }
        for server in names { lookUp(server) }
        requests.began()
        repeatRequests(isFirst: true)
    }

    /// Sends no further requests. Idempotent.
    func stop() {
        requests.end()
        timer?.cancel()
        timer = nil
    }

    private func ask(_ server: IPEndpoint) {
        send(requests.add(server) { UInt64.random(in: .min ... .max) })
    }

    private func send(_ requests: [STUNRequests.Request]) {
        for request in requests where sockets.all.indices.contains(request.socket) {
            sockets.all[request.socket].ask(
                STUNBinding.request(request.transaction), request.server)
        }
    }

    private func lookUp(_ server: ICEServerURL) {
        NameLookUp.addresses(of: server.host, within: Self.lookUpTime, on: loop, for: self) { client, addresses in
            for isIPv6 in [false, true] {
                if let address = addresses.first(where: { $0.isIPv6 == isIPv6 }) {
                    client.ask(IPEndpoint(address, port: server.port))
                }
            }
            client.requests.lookedUp()
            client.onProgress()
        }
    }

    private func repeatRequests(isFirst: Bool = false) {
        guard let (unanswered, pause) = requests.repeated() else { return keepAlive() }
        if !isFirst { send(unanswered) }
        timer = loop.schedule(after: pause) { [weak self] in self?.repeatRequests() }
    }

    private func keepAlive() {
        onProgress()
        timer = loop.schedule(after: Self.keepalive) { [weak self] in
            guard let self, needsKeepalive() else { return }
            send(requests.answeredRequests)
            keepAlive()
        }
    }

    /// Removes the answers from a batch that arrived on a twin, and returns the rest, which is data.
    func takeAnswers(_ batch: DatagramBatch) -> DatagramBatch {
        var data: DatagramBatch?
        for index in 0..<batch.count {
            if let (transaction, address) = STUNBinding.answer(UnsafeRawBufferPointer(batch[index])) {
                if data == nil {
                    data = DatagramBatch(capacity: batch.byteCount, maximumCount: batch.count)
                    for before in 0..<index { _ = data?.append(UnsafeRawBufferPointer(batch[before])) }
                }
                if let address { answered(transaction, address) }
            } else {
                _ = data?.append(UnsafeRawBufferPointer(batch[index]))
            }
        }
        return data ?? batch
    }

    private func answered(_ transaction: UInt64, _ address: IPEndpoint) {
        guard let index = requests.answered(transaction), sockets.all.indices.contains(index) else { return }
        onAnswer(index, address)
        if requests.isOver { onProgress() }
    }
}
