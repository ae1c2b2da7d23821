internal import TransportPluginAPI

extension PeerConformance {
    // MARK: peer.path

    static func pathClauses<Transport>(_ subject: PeerSubject<Transport>) -> [ConformanceClause] {
        [
            ConformanceClause(
                "peer.path.01", "a path that goes silent is suspected; when it is back, nothing was lost or doubled"
            ) {
                try await subject.withChannel { pair, channel in
                    for number in 0..<10 { try await pair.offerer.send(Payload("\(number)"), on: channel) }
                    try await eventually("the first messages") { pair.answerer.log.now.received == 10 }
                    await pair.setPath?(false)
                    for number in 10..<60 { try await pair.offerer.send(Payload("\(number)"), on: channel) }
                    try await eventually("a suspicion") { pair.offerer.log.now.suspectCount > 0 }
                    let silent = pair.offerer.log.now
                    try expect(pair.answerer.log.now.received == 10, "messages arrived over a path that was cut")
                    await pair.setPath?(true)
                    try await eventually(within: .seconds(20), "all messages") { pair.answerer.log.now.received >= 60 }
                    let texts = pair.answerer.log.now.messages.map { $0.payload.utf8Text ?? "" }
                    try expect(texts == (0..<60).map(String.init), "messages were lost, doubled or reordered")
                    try await eventually("evidence of life") {
                        pair.offerer.log.now.aliveCount > silent.aliveCount
                    }
                    try await eventually("the state connected") { pair.offerer.log.now.states.last == .connected }
                }
            },
            ConformanceClause(
                "peer.path.02",
                "the other side is gone without a word: the connection stays, its buffers are bounded, close() ends it"
            ) {
                try await subject.withChannel(highWaterMark: 256 << 10) { pair, channel in
                    _ = try await pair.answerer.remoteChannel("a")
                    await pair.setPath?(false)
                    // Its goodbye does not get through.
                    await pair.answerer.close()
                    var sent = 0
                    while sent < 4000, try await pair.offerer.trySend(pattern(16_000), on: channel) { sent += 1 }
                    try expect(sent < 4000, "\(sent) messages were accepted although the other side is gone")
                    try await eventually("a suspicion") { pair.offerer.log.now.suspectCount > 0 }
                    try expect(!pair.offerer.log.now.hasClosed, "only managers may end a connection")
                    try await expectLess(than: .seconds(3), for: "close()") {
                        await pair.offerer.close()
                        try await eventually("closed") { pair.offerer.log.now.hasClosed }
                    }
                    await pair.setPath?(true)
                }
            },
        ]
    }

    static func lossClauses<Transport>(_ subject: PeerSubject<Transport>) -> [ConformanceClause] {
        [
            ConformanceClause(
                "peer.path.03", "a channel without retransmissions gives up what the path lost; a reliable one does not"
            ) {
                try await subject.withConnected { pair in
                    let lossy = try await pair.offerer.openChannel("lossy") {
                        $0.isOrdered = false
                        $0.reliability = .retransmissions(0)
                    }
                    let mortal = try await pair.offerer.openChannel("mortal") {
                        $0.isOrdered = false
                        $0.reliability = .lifetime(milliseconds: 50)
                    }
                    let reliable = try await pair.offerer.openChannel("reliable")
                    for label in ["lossy", "mortal", "reliable"] { _ = try await pair.answerer.remoteChannel(label) }
                    await pair.setPath?(false)
                    for channel in [lossy, mortal, reliable] {
                        for number in 0..<20 { try await pair.offerer.send(Payload("lost \(number)"), on: channel) }
                    }
                    try await eventually("a suspicion") { pair.offerer.log.now.suspectCount > 0 }
                    await pair.setPath?(true)
                    for channel in [lossy, mortal, reliable] {
                        try await pair.offerer.send(Payload("last"), on: channel)
                    }
                    try await eventually(within: .seconds(20), "the last messages") {
                        pair.answerer.log.now.messages.count { $0.payload == Payload("last") } == 3
                    }
                    func count(_ label: String) -> Int {
                        let state = pair.answerer.log.now
                        let id = state.opened.first { $0.parameters.label == label }?.id
                        return state.messages.count { $0.channel == id }
                    }
                    try expect(count("reliable") == 21, "\(count("reliable")) of 21 came on the reliable channel")
                    // What was sent just before the cut took effect may have got through.
                    try expect(count("lossy") < 15, "\(count("lossy")) of 21 came, though the path lost most of them")
                    try expect(count("mortal") < 15, "\(count("mortal")) of 21 came, though their time was over")
                }
            }
        ]
    }
}
