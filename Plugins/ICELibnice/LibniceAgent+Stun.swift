internal import TransportPluginAPI

/// Server-reflexive candidates (RFC 8445 §5.1.1.2).
///
/// libnice asks one STUN server. So it is not told of any: the questions go out from its sockets' twins, and it need not know the
/// answers, since a check from a server-reflexive candidate is one from its base (RFC 8445 §6.1.2.4).
extension LibniceAgent {
    private static let lookUpTime = Duration.seconds(4)
    private static let longestInquiry = Duration.seconds(15)
    /// RFC 8445 §11: while no pair is selected, which has its own traffic.
    private static let keepalive = Duration.seconds(15)

    func askStunServers() {
        let names = stunServers.filter { IPAddress($0.host) == nil }
        stun.begin(families: sockets.map(\.localAddress.isIPv6), names: names.count)
        guard !stun.isOver else { return }
        stunEnd = .now() + Self.longestInquiry
        for server in stunServers {
            if let address = IPAddress(server.host) { ask(address, server.port) }
        }
        for server in names { lookUp(server) }
        stun.began()
        repeatStunQuestions(isFirst: true)
    }

    private func ask(_ address: IPAddress, _ port: UInt16) {
        let server = StunInquiry.Server(address: address, port: port)
        send(stun.add(server) { UInt64.random(in: .min ... .max) })
    }

    private func send(_ questions: [StunInquiry.Question]) {
        for question in questions where sockets.indices.contains(question.socket) {
            sockets[question.socket].ask(
                StunBinding.request(question.transaction), question.server.address, question.server.port)
        }
    }

    private func lookUp(_ server: ICEServerURL) {
        let inquirer = Inquirer(self)
        let (loop, deadline) = (loop, Timestamp.now() + Self.lookUpTime)
        Task {
            let addresses = await addresses(of: server.host, deadline).compactMap { IPAddress($0) }
            loop.execute {
                inquirer.withAgent { agent in
                    for isIPv6 in [false, true] {
                        if let address = addresses.first(where: { $0.isIPv6 == isIPv6 }) {
                            agent.ask(address, server.port)
                        }
                    }
                    agent.stun.lookedUp()
                    agent.finishGathering()
                }
            }
        }
    }

    private func repeatStunQuestions(isFirst: Bool = false) {
        guard let (questions, pause) = stun.repeated() else { return stunIsOver() }
        if !isFirst { send(questions) }
        stunTimer = loop.schedule(after: pause) { [weak self] in self?.repeatStunQuestions() }
    }

    private func stunIsOver() {
        finishGathering()
        stunTimer = loop.schedule(after: Self.keepalive) { [weak self] in
            guard let self, isOpen, selectedPath == nil else { return }
            send(stun.answeredQuestions)
            stunIsOver()
        }
    }

    /// Takes the answers out of what came on a twin; what is left is data.
    func takeStunAnswers(_ batch: DatagramBatch) -> DatagramBatch {
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
        guard let index = stun.answered(transaction), sockets.indices.contains(index) else { return }
        let base = sockets[index]
        let name = "\(host) \(port)"
        // RFC 8445 §5.1.3: where it is the base's, there is nothing to tell.
        if let priority = hostPriorities["\(base.localAddress) \(base.localPort)"], hostPriorities[name] == nil,
            reflexive.insert(name).inserted
        {
            // RFC 8445 §5.1.2.1: as its base, but for the preference of the type.
            let priority = 100 << 24 | priority & 0xFF_FFFF
            tell(
                "candidate:S\(index) 1 UDP \(priority) \(name) typ srflx raddr \(base.localAddress) rport \(base.localPort)"
            )
        }
        if stun.isOver { finishGathering() }
    }
}
