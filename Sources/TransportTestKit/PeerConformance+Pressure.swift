internal import TransportPluginAPI

extension PeerConformance {
    // MARK: peer.pressure

    static func pressureClauses<Transport>(_ subject: PeerSubject<Transport>) -> [ConformanceClause] {
        [
            ConformanceClause(
                "peer.pressure.01",
                "while the other side does not read, send comes to .wouldBlock; then nothing is lost"
            ) {
                try await subject.withUnreadChannel(highWaterMark: 256 << 10) { pair, channel, remote in
                    // Until there is no more room permanently: buffers on the way take some messages.
                    var sent = 0
                    let limit = 4000
                    blocked: while sent < limit {
                        let seen = pair.offerer.log.now.writable.count
                        if try await pair.offerer.trySend(pattern(16_000 + sent % 7), on: channel) {
                            sent += 1
                        } else if try await stableValue(of: { pair.offerer.log.now.writable.count }) == seen {
                            break blocked
                        }
                    }
                    try expect(sent < limit, "\(sent) messages were accepted although nobody read any")
                    let early = pair.answerer.log.now.received
                    try expect(early < sent, "messages were delivered while receiving was off")
                    let amount = try await pair.offerer.bufferedAmount(of: channel)
                    try expect(amount > 0, "bufferedAmount must count what waits")
                    try await pair.answerer.setReceiving(true, on: remote)
                    let total = sent
                    try await eventually(within: .seconds(20), "all messages") {
                        pair.answerer.log.now.received == total
                    }
                    for (number, message) in pair.answerer.log.now.messages.enumerated() {
                        try expect(
                            message.payload == pattern(16_000 + number % 7), "message \(number) is not what was sent")
                    }
                    try await eventually("channelWritable") { !pair.offerer.log.now.writable.isEmpty }
                    try await eventually("bufferedAmount going back to nothing") {
                        try await pair.offerer.bufferedAmount(of: channel) == 0
                    }
                }
            },
            ConformanceClause("peer.pressure.02", "close() while much is unsent ends the connection at once") {
                try await subject.withUnreadChannel(keepsMessages: false, highWaterMark: 256 << 10) {
                    pair, channel, _ in
                    try await fill(pair.offerer, channel)
                    try await expectLess(than: .seconds(3), for: "close()") {
                        await pair.offerer.close()
                        try await eventually("closed here") { pair.offerer.log.now.hasClosed }
                    }
                    try await expectError(.closed, from: "send") {
                        try await pair.offerer.send(Payload("x"), on: channel)
                    }
                }
            },
            ConformanceClause("peer.pressure.03", "one channel that is not read does not hold up another") {
                try await subject.withUnreadChannel(highWaterMark: 64 << 10) { pair, slow, remote in
                    for number in 0..<3 { try await pair.offerer.send(pattern(10_000 + number), on: slow) }
                    try await expectEcho(pair)
                    try await pair.answerer.setReceiving(true, on: remote)
                    try await eventually("the messages that were held back") {
                        pair.answerer.log.now.messages.count { $0.channel == remote } == 3
                    }
                }
            },
        ]
    }

    /// Sends until the channel permanently accepts no more.
    private static func fill(_ side: PeerSide<some PeerConnection>, _ channel: ChannelID) async throws {
        for _ in 0..<4000 {
            let seen = side.log.now.writable.count
            if try await side.trySend(pattern(16_000), on: channel) { continue }
            if try await stableValue(of: { side.log.now.writable.count }) == seen { return }
        }
        throw ConformanceFailure("4,000 messages were accepted although nobody read any")
    }
}
