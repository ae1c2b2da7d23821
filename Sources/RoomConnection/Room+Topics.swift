internal import RoomCore
internal import RoomProtocol
internal import RoomValues
public import TransportPluginAPI

extension Room {
    /// Returns the topic of this name, whose messages are bytes or text.
    ///
    /// ```swift
    /// let telemetry = room.topic("telemetry", reliability: .lossy)
    /// try await telemetry.publish(frame)
    /// for await message in telemetry.messages() { print(message.from, message.value.count) }
    /// ```
    public func topic(_ name: String, reliability: TopicReliability = .reliable) -> Topic<Payload> {
        Topic(name: name, reliability: reliability, room: self, codec: PayloadCodec())
    }

    /// Returns the topic of this name, whose messages are values, sent as JSON.
    public func topic<Value: Codable & Sendable>(
        _ name: String, of type: Value.Type, reliability: TopicReliability = .reliable
    ) -> Topic<Value> {
        Topic(name: name, reliability: reliability, room: self, codec: JSONMessageCodec<Value>())
    }

    /// Returns the topic of this name, whose messages are values in the format of a codec.
    public func topic<Value: Sendable>(
        _ name: String, codec: any MessageCodec<Value>, reliability: TopicReliability = .reliable
    ) -> Topic<Value> {
        Topic(name: name, reliability: reliability, room: self, codec: codec)
    }

    nonisolated(nonsending) func publish(
        _ body: Payload, isText: Bool, on name: String, _ reliability: TopicReliability, to participant: ParticipantID?
    ) async throws(RoomError) -> SendReport {
        guard Self.isValidName(name) else {
            throw RoomError(
                .configuration, "the topic name has \(name.utf8.count) bytes: it needs 1 to \(ExchangeLimits.name)")
        }
        let message = TopicPublication(
            name: name, topic: ByteText(name), head: ExchangeHead.topicMessage(name, isText: isText), body: body,
            isLossy: reliability == .lossy)
        if let participant {
            let exchange = try await exchange(with: participant)
            let published = await exchange.publishWaiting(message, mayDrop: false)
            if let error = published.error(message, participant) { throw error }
            return SendReport(to: participant, missed: published.reason(isLossy: message.isLossy))
        }
        if try hub.receivers() == nil { try await engine.waitUntilJoined(within: nil) }
        return try await publish(message, to: try hub.receivers()?.ids ?? [])
    }

    /// Those that can take the message at once get it now, the others as soon as they can, side by side.
    private nonisolated(nonsending) func publish(
        _ message: TopicPublication, to receivers: [ParticipantID]
    ) async throws(RoomError) -> SendReport {
        var results: [(PeerExchange.Published, ParticipantID)] = []
        var missed: [SendReport.Missed] = []
        var waiting: [PeerExchange] = []
        for participant in receivers {
            guard let exchange = hub.exchange.peer(participant) else {
                results.append((.gone, participant))
                continue
            }
            guard exchange.isSupported else {
                missed.append(.init(participant, .notSupported))
                continue
            }
            let published = exchange.publish(message, mayDrop: true)
            if published.mustWait { waiting.append(exchange) } else { results.append((published, participant)) }
        }
        if !waiting.isEmpty {
            results += await withTaskGroup(of: (PeerExchange.Published, ParticipantID).self) { group in
                for exchange in waiting {
                    group.addTask {
                        (await exchange.publishWaiting(message, mayDrop: true), exchange.link.participant)
                    }
                }
                return await group.reduce(into: []) { $0.append($1) }
            }
        }
        var failure: RoomError?
        for (published, participant) in results {
            if let reason = published.reason(isLossy: message.isLossy) { missed.append(.init(participant, reason)) }
            // Of many, one that leaves meanwhile is no error.
            if published != .gone { failure = failure ?? published.error(message, participant) }
        }
        let report = SendReport(to: receivers, missed: missed)
        if var failure, failure.code == .cancelled || report.acceptedCount == 0 {
            failure.report = report
            throw failure
        }
        return report
    }

    /// Returns the exchange with a participant, waiting for the join. Throws `.notSupported` where its program knows
    /// none.
    nonisolated(nonsending) func exchange(with participant: ParticipantID) async throws(RoomError) -> PeerExchange {
        if try hub.link(to: participant) == nil { try await engine.waitUntilJoined(within: nil) }
        guard try hub.link(to: participant) != nil, let exchange = hub.exchange.peer(participant) else {
            throw RoomError(.peerNotFound, "\(participant) is not in the room (any more)")
        }
        guard exchange.isSupported else {
            throw RoomError(
                .notSupported, "the program of \(participant) knows no topics, requests and streams: use messages")
        }
        return exchange
    }

    static func isValidName(_ name: String) -> Bool { (1...ExchangeLimits.name).contains(name.utf8.count) }
}

extension PeerExchange.Published {
    /// Why the participant has not got the message; nil: it has.
    fileprivate func reason(isLossy: Bool) -> SendReport.Reason? {
        switch self {
        case .accepted: nil
        case .dropped: isLossy ? .dropped : .unreachable
        case .windowClosed, .bufferFull: .cancelled
        case .gone: .left
        case .tooLarge(let limit): .tooLarge(limit: limit)
        case .tooManyTopics: .tooManyTopics
        }
    }

    /// The error of a publisher that has only this participant.
    fileprivate func error(_ message: TopicPublication, _ participant: ParticipantID) -> RoomError? {
        switch self {
        case .accepted, .dropped: nil
        case .windowClosed, .bufferFull:
            RoomError(
                .cancelled, "publishing on '\(message.name)' to \(participant) was cancelled while it was behind")
        case .gone: RoomError(.peerNotFound, "\(participant) is not in the room (any more)")
        case .tooLarge(let limit):
            RoomError(
                .messageTooLarge,
                "a message of \(message.body.count) bytes is over the limit of \(limit) towards \(participant): "
                    + "split it")
        case .tooManyTopics:
            RoomError(
                .configuration,
                "'\(message.name)' is one topic more than the \(TopicLimits.topics) that are possible with "
                    + "\(participant)")
        }
    }
}
