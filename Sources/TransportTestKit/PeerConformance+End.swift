internal import TransportPluginAPI

extension PeerConformance {
    // MARK: peer.end

    static func endClauses<Transport>(_ subject: PeerSubject<Transport>) -> [ConformanceClause] {
        [
            ConformanceClause(
                "peer.end.01", "close() ends both sides; closed is the last event; methods then throw .closed"
            ) {
                try await subject.withChannel { pair, channel in
                    await pair.offerer.close()
                    await pair.offerer.close()
                    try await eventually("closed here") { pair.offerer.log.now.hasClosed }
                    try await eventually("closed there") { pair.answerer.log.now.hasClosed }
                    try expect(pair.offerer.log.now.closeError == nil, "our own close is no error")
                    try await expectError(.closed, from: "send") {
                        try await pair.offerer.send(Payload("x"), on: channel)
                    }
                    try await expectError(.closed, from: "openChannel") {
                        try await pair.offerer.on { connection throws(TransportError) in
                            try connection.openChannel(ChannelParameters(label: "late"))
                        }
                    }
                }
            },
            ConformanceClause("peer.end.02", "shutdown() closes what is open; makeConnection then throws .closed") {
                let (left, right) = try await subject.makeTransports()
                let log = PeerLog { _ in }
                let loop = left.loop
                let configuration = subject.configuration
                _ = try await loop.runThrowing { () throws(TransportError) in
                    try left.makeConnection(configuration, handler: log)
                }
                await left.shutdown()
                await left.shutdown()
                try expect(log.now.hasClosed, "shutdown() returns after closed was delivered")
                // A loop that belongs to the transport has ended with it: then nothing can be made or queried.
                let answer = Locked<Result<Void, TransportError>?>(nil)
                loop.execute {
                    let result = Result { () throws(TransportError) in
                        _ = try left.makeConnection(configuration, handler: log)
                    }
                    answer.withLock { $0 = result }
                }
                _ = try await stableValue { answer.withLock { $0 == nil ? 0 : 1 } }
                switch answer.withLock({ $0 }) {
                case .success: throw ConformanceFailure("makeConnection must throw .closed, but made a connection")
                case .failure(let error):
                    try expect(error.code == .closed, "makeConnection must throw .closed, not \(error)")
                case nil: break
                }
                await right.shutdown()
                await subject.tearDown(left, right)
            },
            ConformanceClause("peer.end.03", "connections that come and go leave no descriptor and no thread behind") {
                try await subject.withConnected { _ in }
                let before = ProcessResources.now()
                for _ in 0..<10 { try await subject.withConnected { pair in try await expectEcho(pair) } }
                try await before.expectGivenBack("the connections'", except: 10)
            },
            ConformanceClause(
                "peer.end.04", "1,000 connections leave no descriptor, no thread and no byte behind",
                limit: .seconds(240)
            ) {
                let (left, right) = try await subject.makeTransports()
                do {
                    // SCTP remembers the tags of ended associations for a while (RFC 9260 §8.5): a dozen bytes each.
                    try await expectNoLeak(bytesPerCycle: 96) { number in
                        try await subject.withPair(left, right) { pair in
                            let channel = try await pair.offerer.on { connection throws(TransportError) in
                                try connection.openChannel(ChannelParameters(label: "a"))
                            }
                            try await connect(pair)
                            try await eventually("the channel") {
                                pair.offerer.log.now.opened.contains { $0.id == channel }
                            }
                            try await pair.offerer.send(Payload("x"), on: channel)
                            await (number % 2 == 0 ? pair.offerer : pair.answerer).close()
                        }
                    }
                } catch {
                    await subject.end(left, right)
                    throw error
                }
                await subject.end(left, right)
            },
            ConformanceClause(
                "peer.end.05", "close() at any moment of the negotiation: closed is the last event of both sides"
            ) {
                // The moment is counted in events of either side. Until the connection is up, both sides have about
                // this many.
                for moment in 0..<12 {
                    for offererCloses in [true, false] {
                        try await subject.withPair { pair in
                            try await pair.offerer.on { connection throws(TransportError) in
                                _ = try connection.openChannel(ChannelParameters(label: "a"))
                                try connection.offer()
                            }
                            try await eventually("\(moment) events") {
                                pair.offerer.log.now.events + pair.answerer.log.now.events >= moment
                                    || pair.offerer.log.now.states.last == .connected
                            }
                            // withPair closes the other side, and checks that no event follows `closed`.
                            await (offererCloses ? pair.offerer : pair.answerer).close()
                        }
                    }
                }
            },
            ConformanceClause("peer.end.06", "what was accepted just before close() reaches the other side first") {
                for offererCloses in [true, false] {
                    try await subject.withConnected { pair in
                        let opened = try await pair.offerer.openChannel("a")
                        let remote = try await pair.answerer.remoteChannel("a")
                        let (side, channel) = offererCloses ? (pair.offerer, opened) : (pair.answerer, remote)
                        let other = offererCloses ? pair.answerer : pair.offerer
                        // No more than any path takes at once, and in one call, so that nothing can go out in between.
                        let messages = [1000, 1, 1000].map(pattern)
                        try await side.on { connection throws(TransportError) in
                            for message in messages {
                                try message.withUnsafeBytes { bytes throws(TransportError) in
                                    try connection.send(bytes, isText: false, on: channel)
                                }
                            }
                            connection.close()
                        }
                        try await eventually("closed there") { other.log.now.hasClosed }
                        let received = other.log.now.messages.map(\.payload)
                        try expect(
                            received == messages,
                            "\(received.count) of the \(messages.count) messages accepted before close() arrived"
                        )
                    }
                }
            },
        ]
    }

    // MARK: peer.negotiation, after its time

    static func lateAnswerClauses<Transport>(_ subject: PeerSubject<Transport>) -> [ConformanceClause] {
        [
            ConformanceClause(
                "peer.negotiation.06", "an answer that does not come ends nothing; one that comes late still connects"
            ) {
                try await subject.withPair { pair in
                    pair.fromAnswerer.shut()
                    try await pair.offerer.on { connection throws(TransportError) in try connection.offer() }
                    try await eventually("an answer") { pair.fromAnswerer.count > 0 }
                    _ = try await stableValue { pair.offerer.log.now.events }
                    let state = pair.offerer.log.now
                    try expect(
                        state.states.last == .connecting && !state.hasClosed,
                        "without an answer the offerer should be connecting, not \(state.states)")
                    pair.fromAnswerer.open()
                    try await pair.offerer.waitForConnected()
                    try await pair.answerer.waitForConnected()
                    try await expectEcho(pair)
                }
            },
            ConformanceClause("peer.negotiation.07", "an answer that comes after close() is refused with .closed") {
                try await subject.withPair { pair in
                    pair.fromAnswerer.shut()
                    try await pair.offerer.on { connection throws(TransportError) in try connection.offer() }
                    try await eventually("an answer") { pair.fromAnswerer.count > 0 }
                    await pair.offerer.close()
                    try await eventually("closed") { pair.offerer.log.now.hasClosed }
                    for attempt in 0..<2 {
                        try await expectError(
                            .closed, from: attempt == 0 ? "setRemoteDescription" : "addRemoteCandidate"
                        ) {
                            try await pair.offerer.on { connection throws(TransportError) in
                                if attempt == 0 {
                                    try connection.setRemoteDescription(SessionDescription(kind: .answer, text: "late"))
                                } else {
                                    try connection.addRemoteCandidate(PeerCandidate(text: "late"))
                                }
                            }
                        }
                    }
                    // The real answer: the pair accepts only .closed for it, and no event may follow.
                    pair.fromAnswerer.open()
                    await pair.offerer.loop.run {}
                }
            },
        ]
    }
}
