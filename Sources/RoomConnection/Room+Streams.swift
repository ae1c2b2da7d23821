internal import RoomCore
public import RoomProtocol

extension Room {
    /// Opens a stream of bytes to one participant.
    ///
    /// `name`: 1 to 255 bytes. `length`: the number of bytes, where it is known; writing more or fewer is an error.
    /// `metadata`: at most 16 entries, 4 KiB in all. Returns at once; the receiver gets the stream from
    /// `incomingStreams()`. Waits until the room is joined.
    ///
    /// Throws as `send` does, `.notSupported` for a participant whose program has no streams, `.wouldBlock` when 64
    /// streams to it are open, and `.configuration` for a name or metadata over the limits.
    public nonisolated(nonsending) func openStream(
        _ name: String, to participant: any ParticipantReference, length: UInt64? = nil,
        metadata: [String: String] = [:]
    ) async throws(RoomError) -> RoomOutgoingStream {
        try await openStream(name, to: [participant], length: length, metadata: metadata)
    }

    /// Opens a stream of bytes to several participants; nil: to everybody who is in the room now.
    ///
    /// As `openStream` to one. `write` waits for the slowest; a receiver that fails is named in `failures`, and the
    /// others go on. Everybody whose program has no streams is left out when no participants are named.
    public nonisolated(nonsending) func openStream(
        _ name: String, to participants: [any ParticipantReference]? = nil, length: UInt64? = nil,
        metadata: [String: String] = [:]
    ) async throws(RoomError) -> RoomOutgoingStream {
        let opening = ExchangeMessage.Opening(name: name, length: length, metadata: metadata)
        try opening.validate()
        let links = try await streamLinks(to: participants?.map(\.participantID))
        var legs: [RoomOutgoingStream.Leg] = []
        for link in links {
            guard let streams = link.streams, let id = streams.open(opening) else {
                for leg in legs { leg.streams.forget(writer: leg.id) }
                throw RoomError(
                    .wouldBlock, "\(StreamLimits.open) streams to \(link.participant) are open", isRetryable: true)
            }
            legs.append(.init(streams: streams, id: id, head: ExchangeHead.data(stream: id)))
        }
        return RoomOutgoingStream(name: name, length: length, legs)
    }

    private nonisolated(nonsending) func streamLinks(
        to participants: [ParticipantID]?
    ) async throws(RoomError) -> [PeerLink] {
        guard let participants else {
            var all = try hub.receivers()
            if all == nil {
                try await engine.waitUntilJoined(within: nil)
                all = try hub.receivers()
            }
            return (all?.links ?? []).filter { $0.streams != nil }
        }
        var links: [PeerLink] = []
        for participant in participants {
            var link = try hub.link(to: participant)
            if link == nil {
                try await engine.waitUntilJoined(within: nil)
                link = try hub.link(to: participant)
            }
            guard let link else {
                throw RoomError(.peerNotFound, "\(participant) is not in the room (any more)")
            }
            guard link.streams != nil else {
                throw RoomError(.notSupported, "the program of \(participant) has no streams")
            }
            links.append(link)
        }
        return links
    }

    /// Returns the streams that other participants open, for one consuming task. Ends when the room is left.
    ///
    /// A stream that nobody takes waits here, with what its window lets through: at most 64 of each participant;
    /// further ones are refused with `busy`.
    public func incomingStreams() -> RoomIncomingStreams { RoomIncomingStreams(mailbox: hub.incomingStreams) }
}

extension ExchangeMessage.Opening {
    /// Throws when it is over the limits.
    fileprivate func validate() throws(RoomError) {
        func isNameTooLong(_ text: String, _ limit: Int) -> Bool { !(1...limit).contains(text.utf8.count) }
        if isNameTooLong(name, ExchangeLimits.streamName) {
            throw RoomError(
                .configuration, "a stream's name has 1 to \(ExchangeLimits.streamName) bytes, not \(name.utf8.count)")
        }
        let bytes = metadata.reduce(0) { $0 + $1.key.utf8.count + $1.value.utf8.count }
        if metadata.count > ExchangeLimits.metadataEntries || bytes > ExchangeLimits.metadataBytes
            || metadata.keys.contains(where: { isNameTooLong($0, ExchangeLimits.metadataKey) })
        {
            throw RoomError(
                .configuration,
                "a stream's metadata has at most \(ExchangeLimits.metadataEntries) entries with keys of 1 to "
                    + "\(ExchangeLimits.metadataKey) bytes and \(ExchangeLimits.metadataBytes) bytes in all")
        }
    }
}
