internal import TransportPluginAPI

/// Asks the STUN servers of one agent for server-reflexive candidates (RFC 8445 §5.1.1.2): the shell of `StunInquiry`.
///
/// libnice asks one STUN server. So it is not told of any: the questions go out from its sockets' twins, and it need
/// not know the answers, since a check from a server-reflexive candidate is one from its base (RFC 8445 §6.1.2.4).
final class StunClient {
    private static let lookUpTime = Duration.seconds(4)
    private static let longestInquiry = Duration.seconds(15)
    /// RFC 8445 §11: while no pair is selected, which has its own traffic.
    private static let keepalive = Duration.seconds(15)

    private let loop: TransportLoop
    private let servers: [ICEServerURL]
    private let sockets: AgentSockets
    private var inquiry = StunInquiry()
    private var timer: LoopTimer?
    /// The time by which the last answer has come.
    private var end = Timestamp.zero
    /// A server sees the socket of this index at this address.
    var onAnswer: (_ socket: Int, _ host: IPAddress, _ port: UInt16) -> Void = { _, _, _ in }
    /// The inquiry may be over.
    var onProgress: () -> Void = {}
    /// Whether addresses in NATs must be kept alive.
    var needsKeepalive: () -> Bool = { false }

    init(_ servers: [ICEServerURL], on loop: TransportLoop, sockets: AgentSockets) {
        self.loop = loop
        self.servers = servers
        self.sockets = sockets
    }

    var isOver: Bool { inquiry.isOver }

    /// Whether answers may still come.
    @inline(__always)
    func mayAnswer(at time: Timestamp) -> Bool { time < end }

    func begin() {
        let names = servers.filter { IPAddress($0.host) == nil }
        inquiry.begin(families: sockets.all.map(\.localAddress.isIPv6), names: names.count)
        guard !inquiry.isOver else { return }
        end = .now() + Self.longestInquiry
        for server in servers {
            if let address = IPAddress(server.host) { ask(address, server.port) }
        }
        for server in names { lookUp(server) }
        inquiry.began()
        repeatQuestions(isFirst: true)
    }

    /// Asks no more. Idempotent.
    func stop() {
        inquiry.end()
        timer?.cancel()
        timer = nil
    }

    private func ask(_ address: IPAddress, _ port: UInt16) {
        let server = StunInquiry.Server(address: address, port: port)
        send(inquiry.add(server) { UInt64.random(in: .min ... .max) })
    }

    private func send(_ questions: [StunInquiry.Question]) {
        for question in questions where sockets.all.indices.contains(question.socket) {
            sockets.all[question.socket].ask(
                StunBinding.request(question.transaction), question.server.address, question.server.port)
        }
    }

    private func lookUp(_ server: ICEServerURL) {
        NameLookUp.addresses(of: server.host, within: Self.lookUpTime, on: loop, for: self) { client, addresses in
            for isIPv6 in [false, true] {
                if let address = addresses.first(where: { $0.isIPv6 == isIPv6 }) { client.ask(address, server.port) }
            }
            client.inquiry.lookedUp()
            client.onProgress()
        }
    }

    private func repeatQuestions(isFirst: Bool = false) {
        guard let (questions, pause) = inquiry.repeated() else { return keepAlive() }
        if !isFirst { send(questions) }
        timer = loop.schedule(after: pause) { [weak self] in self?.repeatQuestions() }
    }

    private func keepAlive() {
        onProgress()
        timer = loop.schedule(after: Self.keepalive) { [weak self] in
            guard let self, needsKeepalive() else { return }
            send(inquiry.answeredQuestions)
            keepAlive()
        }
    }

    /// Takes the answers out of a batch that came on a twin, and returns the rest, which is data.
    func takeAnswers(_ batch: DatagramBatch) -> DatagramBatch {
        var data: DatagramBatch?
        for index in 0..<batch.count {
            if let (transaction, address) = StunBinding.answer(UnsafeRawBufferPointer(batch[index])) {
                if data == nil {
                    data = DatagramBatch(capacity: batch.byteCount, maximumCount: batch.count)
                    for before in 0..<index { _ = data?.append(UnsafeRawBufferPointer(batch[before])) }
                }
                if let address { answered(transaction, address.host, address.port) }
            } else {
                _ = data?.append(UnsafeRawBufferPointer(batch[index]))
            }
        }
        return data ?? batch
    }

    private func answered(_ transaction: UInt64, _ host: IPAddress, _ port: UInt16) {
        guard let index = inquiry.answered(transaction), sockets.all.indices.contains(index) else { return }
        onAnswer(index, host, port)
        if inquiry.isOver { onProgress() }
    }
}
