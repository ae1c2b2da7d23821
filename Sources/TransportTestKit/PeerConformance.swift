public import TransportPluginAPI

/// The contract of peer transports, clause by clause.
public enum PeerConformance {
    /// Returns the clauses that apply to the subject.
    public static func clauses<Transport: PeerTransport>(of subject: PeerSubject<Transport>) -> [ConformanceClause] {
        allClauses(of: subject).filter { $0.omission == nil }
    }

    /// Returns every clause; `omission` says which do not apply to the subject, and why.
    public static func allClauses<Transport: PeerTransport>(of subject: PeerSubject<Transport>) -> [ConformanceClause] {
        negotiationClauses(subject) + lateAnswerClauses(subject) + channelClauses(subject)
            + channelLifeClauses(subject) + pressureClauses(subject) + endClauses(subject)
            + restartClauses(subject).requiring(.pathRestart, in: subject.capabilities)
            + (pathClauses(subject)
            + lossClauses(subject).requiring(.partialReliability, in: subject.capabilities))
            .omitted(subject.setPath == nil ? "the subject gives no way to cut its paths" : nil)
    }

    // MARK: peer.negotiation

    static func negotiationClauses<Transport>(_ subject: PeerSubject<Transport>) -> [ConformanceClause] {
        [
            ConformanceClause("peer.negotiation.01", "an offer, an answer and candidates lead to the state connected") {
                try await subject.withConnected { pair in
                    for side in [pair.offerer, pair.answerer] {
                        try expect(side.log.now.states.first == .connecting, "connecting must come before connected")
                        try expect(side.log.now.paths >= 1, "pathChanged must report the path")
                    }
                }
            },
            ConformanceClause("peer.negotiation.02", "a description that is garbage is refused and changes nothing") {
                try await subject.withPair { pair in
                    for text in ["", "garbage", "v=0\r\n", String(repeating: "a=x\r\n", count: 20_000)] {
                        for kind in [SessionDescription.Kind.offer, .answer] {
                            try await expectError(
                                .protocolViolation, .notSupported, .invalidState, from: "setRemoteDescription"
                            ) {
                                try await pair.answerer.on { connection throws(TransportError) in
                                    try connection.setRemoteDescription(SessionDescription(kind: kind, text: text))
                                }
                            }
                        }
                    }
                    try await connect(pair)
                }
            },
            ConformanceClause("peer.negotiation.03", "an answer without an offer, and a second offer, are refused") {
                try await subject.withConnected { pair in
                    try await expectError(.invalidState, from: "offer() again") {
                        try await pair.offerer.on { connection throws(TransportError) in try connection.offer() }
                    }
                    try await expectError(.invalidState, from: "offer() on the answering side") {
                        try await pair.answerer.on { connection throws(TransportError) in try connection.offer() }
                    }
                    try await expectEcho(pair)
                }
            },
            ConformanceClause("peer.negotiation.04", "a malformed candidate is refused, and harmless") {
                try await subject.withConnected { pair in
                    for text in ["garbage", "candidate:", "candidate:1 1 udp 99999999999999 x 99999999 typ host"] {
                        do {
                            try await pair.offerer.on { connection throws(TransportError) in
                                try connection.addRemoteCandidate(PeerCandidate(text: text, mediaID: "0"))
                            }
                        } catch let error as TransportError {
                            try expect(
                                error.code == .protocolViolation, "it must throw .protocolViolation, not \(error)")
                        }
                    }
                    try await expectEcho(pair)
                }
            },
            ConformanceClause(
                "peer.negotiation.05", "a channel that was opened before the offer opens with the connection"
            ) {
                try await subject.withPair { pair in
                    let id = try await pair.offerer.on { connection throws(TransportError) in
                        try connection.openChannel(ChannelParameters(label: "early"))
                    }
                    try await expectError(.invalidState, .closed, from: "send before channelOpened") {
                        try await pair.offerer.send(Payload("x"), on: id)
                    }
                    try await connect(pair)
                    _ = try await pair.answerer.remoteChannel("early")
                    try await eventually("channelOpened") { pair.offerer.log.now.opened.contains { $0.id == id } }
                }
            },
        ]
    }

    // MARK: peer.channel

    static func channelClauses<Transport>(_ subject: PeerSubject<Transport>) -> [ConformanceClause] {
        [
            ConformanceClause("peer.channel.01", "text and binary arrive as what they were, empty ones too") {
                try await subject.withConnected { pair in
                    let channel = try await pair.offerer.openChannel("a") { $0.protocol = "p" }
                    let remote = try await pair.answerer.remoteChannel("a")
                    let opened = pair.answerer.log.now.opened.first { $0.id == remote }
                    try expect(opened?.isRemote == true, "isRemote must be true for the other side's channel")
                    try expect(opened?.parameters.protocol == "p", "the channel's protocol must be reported")
                    let messages: [(Payload, Bool)] = [
                        (Payload("Grüße 🌍"), true), (Payload([0, 1, 255]), false), (Payload(""), true),
                        (Payload([]), false),
                    ]
                    for (payload, isText) in messages {
                        try await pair.offerer.send(payload, isText: isText, on: channel)
                        try await pair.answerer.send(payload, isText: isText, on: remote)
                    }
                    for (side, id) in [(pair.answerer, remote), (pair.offerer, channel)] {
                        try await eventually("all messages") { side.log.now.messages.count == messages.count }
                        let expected = messages.map { PeerLog.Message(payload: $0.0, isText: $0.1, channel: id) }
                        try expect(side.log.now.messages == expected, "the messages are not those that were sent")
                    }
                }
            },
            ConformanceClause(
                "peer.channel.02", "messages of all sizes up to the maximum keep their bytes; one more is refused"
            ) {
                try await subject.withChannel { pair, channel in
                    let maximum = try await pair.offerer.on { connection throws(TransportError) in
                        connection.maximumMessageSize
                    }
                    try expect(maximum >= 16_384, "the maximum message size of \(maximum) is too small to be of use")
                    let sizes = [1, 1199, 1200, 1201, 16_384, 65_535, 65_536, 100_000, maximum].filter { $0 <= maximum }
                    for size in sizes {
                        try await pair.offerer.sendWhenWritable(pattern(size), on: channel)
                    }
                    try await eventually(within: .seconds(20), "all messages") {
                        pair.answerer.log.now.messages.count == sizes.count
                    }
                    for (message, size) in zip(pair.answerer.log.now.messages, sizes) {
                        try expect(
                            message.payload == pattern(size), "a message of \(size) bytes did not keep its bytes")
                    }
                    try await expectError(.messageTooLarge, from: "send") {
                        try await pair.offerer.send(pattern(maximum + 1), on: channel)
                    }
                    try await expectEcho(pair)
                }
            },
            ConformanceClause("peer.channel.03", "a reliable ordered channel keeps the order of 5,000 messages") {
                try await subject.withChannel { pair, channel in
                    for number in 0..<5000 {
                        try await pair.offerer.sendWhenWritable(Payload("\(number)"), on: channel)
                    }
                    try await eventually(within: .seconds(30), "all messages") {
                        pair.answerer.log.now.received == 5000
                    }
                    let texts = pair.answerer.log.now.messages.map { $0.payload.utf8Text ?? "" }
                    try expect(texts == (0..<5000).map(String.init), "the messages are not in the order of the calls")
                }
            },
            ConformanceClause("peer.channel.04", "both sides open many channels, which do not mix") {
                try await subject.withConnected { pair in
                    for number in 0..<20 {
                        for (side, other) in [(pair.offerer, pair.answerer), (pair.answerer, pair.offerer)] {
                            let label = "\(side.log === pair.offerer.log ? "o" : "a")\(number)"
                            let channel = try await side.openChannel(label)
                            try await side.send(Payload(label), on: channel)
                            let remote = try await other.remoteChannel(label)
                            try await eventually("the message on \(label)") {
                                other.log.now.messages.contains { $0.channel == remote && $0.payload == Payload(label) }
                            }
                        }
                    }
                }
            },
            ConformanceClause(
                "peer.channel.05", "a channel agreed upon beforehand opens on both sides, without isRemote"
            ) {
                try await subject.withConnected { pair in
                    @Sendable func negotiated(_ parameters: inout ChannelParameters) { parameters.negotiatedID = 101 }
                    async let left = pair.offerer.openChannel("n", negotiated)
                    async let right = pair.answerer.openChannel("n", negotiated)
                    let (channel, remote) = try await (left, right)
                    try expect(
                        (pair.offerer.log.now.opened + pair.answerer.log.now.opened).allSatisfy { !$0.isRemote },
                        "neither side opened it for the other")
                    try await pair.offerer.send(Payload("x"), on: channel)
                    try await eventually("the message") { pair.answerer.log.now.messages.last?.channel == remote }
                }
            },
            ConformanceClause("peer.channel.06", "closing a channel sends what was accepted, and ends it on both sides")
            {
                try await subject.withChannel { pair, channel in
                    let remote = try await pair.answerer.remoteChannel("a")
                    for number in 0..<100 { try await pair.offerer.sendWhenWritable(Payload("\(number)"), on: channel) }
                    try await pair.offerer.on { connection throws(TransportError) in connection.closeChannel(channel) }
                    try await eventually("channelClosed here") { pair.offerer.log.now.closedChannels.contains(channel) }
                    try await eventually("channelClosed there") {
                        pair.answerer.log.now.closedChannels.contains(remote)
                    }
                    try expect(
                        pair.answerer.log.now.received == 100, "\(pair.answerer.log.now.received) of 100 arrived")
                    try await expectError(.closed, .invalidState, from: "send on a closed channel") {
                        try await pair.offerer.send(Payload("x"), on: channel)
                    }
                    let next = try await pair.offerer.openChannel("b")
                    try expect(next != channel, "an id must never be used again")
                    try await expectEcho(pair)
                }
            },
        ]
    }

    // MARK: peer.restart

    static func restartClauses<Transport>(_ subject: PeerSubject<Transport>) -> [ConformanceClause] {
        [
            ConformanceClause(
                "peer.restart.01", "a restart brings a new generation; channels and messages never notice"
            ) {
                try await subject.withChannel { pair, channel in
                    let before = pair.offerer.log.now
                    for number in 0..<50 { try await pair.offerer.sendWhenWritable(Payload("\(number)"), on: channel) }
                    try await pair.offerer.on { connection throws(TransportError) in
                        try connection.restart(iceServers: [])
                    }
                    for number in 50..<100 {
                        try await pair.offerer.sendWhenWritable(Payload("\(number)"), on: channel)
                    }
                    try await eventually(within: .seconds(20), "a new path") {
                        pair.offerer.log.now.paths > before.paths
                    }
                    for number in 100..<150 {
                        try await pair.offerer.sendWhenWritable(Payload("\(number)"), on: channel)
                    }
                    try await eventually("all messages") { pair.answerer.log.now.received == 150 }
                    let texts = pair.answerer.log.now.messages.map { $0.payload.utf8Text ?? "" }
                    try expect(texts == (0..<150).map(String.init), "messages were lost, doubled or reordered")
                    try expect(
                        pair.offerer.log.now.fragments.count > before.fragments.count,
                        "a new generation must have a new fragment")
                    try expect(pair.offerer.log.now.closedChannels.isEmpty, "channels survive")
                }
            },
            ConformanceClause(
                "peer.restart.02", "restart on the answering side or before the first negotiation is refused"
            ) {
                try await subject.withPair { pair in
                    try await expectError(.invalidState, from: "restart") {
                        try await pair.offerer.on { connection throws(TransportError) in
                            try connection.restart(iceServers: [])
                        }
                    }
                    try await connect(pair)
                    try await expectError(.invalidState, from: "restart on the answering side") {
                        try await pair.answerer.on { connection throws(TransportError) in
                            try connection.restart(iceServers: [])
                        }
                    }
                    try await expectEcho(pair)
                }
            },
        ]
    }

    static func connect<Transport>(_ pair: PeerPair<Transport>) async throws {
        try await pair.offerer.on { connection throws(TransportError) in try connection.offer() }
        try await pair.offerer.waitForConnected()
        try await pair.answerer.waitForConnected()
    }

    /// Checks that the connection works: a new channel, and a message in each direction.
    static func expectEcho<Transport>(_ pair: PeerPair<Transport>) async throws {
        let label = "echo \(pair.offerer.log.now.opened.count)"
        let channel = try await pair.offerer.openChannel(label)
        let remote = try await pair.answerer.remoteChannel(label)
        try await pair.offerer.send(Payload("there"), on: channel)
        try await eventually("the message there") { pair.answerer.log.now.messages.contains { $0.channel == remote } }
        try await pair.answerer.send(Payload("back"), on: remote)
        try await eventually("the message back") { pair.offerer.log.now.messages.contains { $0.channel == channel } }
    }
}

func pattern(_ size: Int) -> Payload {
    Payload(count: size) { bytes in
        for index in bytes.indices { bytes[index] = UInt8(truncatingIfNeeded: size &+ index / 253) }
    }
}
