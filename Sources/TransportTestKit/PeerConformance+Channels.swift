internal import TransportPluginAPI

extension PeerConformance {
    // MARK: peer.channel, their life

    static func channelLifeClauses<Transport>(_ subject: PeerSubject<Transport>) -> [ConformanceClause] {
        [
            ConformanceClause(
                "peer.channel.07",
                "what is sent as soon as a channel opens comes after channelOpened, and waits for a reader there"
            ) {
                try await subject.withPair { pair in
                    let (from, to) = (pair.offerer.connection, pair.answerer.connection)
                    let failure = Locked<TransportError?>(nil)
                    let isReading = Locked(false)
                    pair.answerer.log.whenOpened.withLock {
                        $0 = { id in if !isReading.withLock({ $0 }) { to.setReceiving(false, on: id) } }
                    }
                    pair.offerer.log.whenOpened.withLock {
                        $0 = { id in
                            do throws(TransportError) {
                                for number in 0..<20 {
                                    try Payload("\(number)").withUnsafeBytes { bytes throws(TransportError) in
                                        try from.send(bytes, isText: true, on: id)
                                    }
                                }
                            } catch { failure.withLock { $0 = error } }
                        }
                    }
                    _ = try await pair.offerer.on { connection throws(TransportError) in
                        try connection.openChannel(ChannelParameters(label: "early"))
                    }
                    try await connect(pair)
                    let remote = try await pair.answerer.remoteChannel("early")
                    _ = try await stableValue { pair.answerer.log.now.events }
                    try expect(
                        failure.withLock { $0 } == nil, "send threw \(String(describing: failure.withLock { $0 }))")
                    try expect(pair.answerer.log.now.earlyMessages == 0, "messages came before channelOpened")
                    try expect(
                        pair.answerer.log.now.received == 0,
                        "\(pair.answerer.log.now.received) messages came although the channel was not to be read")
                    try await pair.answerer.on { connection throws(TransportError) in
                        connection.setReceiving(true, on: remote)
                    }
                    try await eventually("all messages") { pair.answerer.log.now.received == 20 }
                    let texts = pair.answerer.log.now.messages.map { $0.payload.utf8Text ?? "" }
                    try expect(texts == (0..<20).map(String.init), "the messages are not in the order of the calls")
                    for log in [pair.offerer.log, pair.answerer.log] { log.whenOpened.withLock { $0 = nil } }
                }
            },
            ConformanceClause("peer.channel.08", "channels are opened and closed for ever; no id comes twice") {
                try await subject.withConnected { pair in
                    var seen: Set<ChannelID> = []
                    for round in 0..<150 {
                        let label = "round \(round)"
                        let channel = try await pair.offerer.openChannel(label)
                        let remote = try await pair.answerer.remoteChannel(label)
                        try expect(seen.insert(channel).inserted, "the id \(channel.rawValue) was used again")
                        try await pair.offerer.send(Payload(label), on: channel)
                        try await eventually("the message of \(label)") {
                            pair.answerer.log.now.messages.last
                                == PeerLog.Message(payload: Payload(label), isText: false, channel: remote)
                        }
                        let closing = round % 2 == 0 ? (pair.offerer, channel) : (pair.answerer, remote)
                        try await closing.0.on { [id = closing.1] connection throws(TransportError) in
                            connection.closeChannel(id)
                        }
                        try await expectClosed(pair, channel, remote)
                    }
                    try expect(pair.answerer.log.now.received == 150, "each message must arrive once")
                }
            },
            ConformanceClause(
                "peer.channel.09", "an agreed id can be used again once both sides have closed the channel"
            ) {
                try await subject.withConnected { pair in
                    @Sendable func negotiated(_ parameters: inout ChannelParameters) { parameters.negotiatedID = 77 }
                    for round in 0..<3 {
                        async let left = pair.offerer.openChannel("n", negotiated)
                        async let right = pair.answerer.openChannel("n", negotiated)
                        let (channel, remote) = try await (left, right)
                        try await pair.offerer.send(Payload("\(round)"), on: channel)
                        try await eventually("message \(round)") {
                            pair.answerer.log.now.messages.last
                                == PeerLog.Message(payload: Payload("\(round)"), isText: false, channel: remote)
                        }
                        for (side, id) in [(pair.offerer, channel), (pair.answerer, remote)] {
                            try await side.on { connection throws(TransportError) in connection.closeChannel(id) }
                        }
                        try await expectClosed(pair, channel, remote)
                    }
                }
            },
            ConformanceClause("peer.channel.10", "the other side learns what a channel promises") {
                try await subject.withConnected { pair in
                    let kinds: [(ordered: Bool, ChannelParameters.Reliability)] = [
                        (true, .reliable), (false, .reliable), (false, .retransmissions(0)),
                        (true, .retransmissions(3)),
                        (false, .lifetime(milliseconds: 250)),
                    ]
                    for (number, kind) in kinds.enumerated() {
                        let label = "kind \(number)"
                        let channel = try await pair.offerer.openChannel(label) {
                            $0.isOrdered = kind.ordered
                            $0.reliability = kind.1
                        }
                        let remote = try await pair.answerer.remoteChannel(label)
                        let announced = pair.answerer.log.now.opened.first { $0.id == remote }?.parameters
                        try expect(
                            announced?.isOrdered == kind.ordered && announced?.reliability == kind.1,
                            "a channel with \(kind) was announced as \(String(describing: announced))")
                        try await pair.offerer.send(Payload(label), on: channel)
                        try await eventually("the message on \(label)") {
                            pair.answerer.log.now.messages.last?.payload == Payload(label)
                        }
                    }
                }
            },
        ]
    }

    private static func expectClosed<Transport>(
        _ pair: PeerPair<Transport>, _ channel: ChannelID, _ remote: ChannelID
    ) async throws {
        try await eventually("channelClosed at the offerer") { pair.offerer.log.now.closedChannels.contains(channel) }
        try await eventually("channelClosed at the answerer") { pair.answerer.log.now.closedChannels.contains(remote) }
    }
}
