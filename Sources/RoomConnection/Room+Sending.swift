internal import RoomCore
public import RoomProtocol
public import RoomValues
public import TransportPluginAPI

extension Room {
    // MARK: To everybody or to one

    /// Sends to everybody in the room (nil), or to one participant: its id, or its entry in `participants`. Returns for
    /// whom the message was accepted.
    ///
    /// Waits until the room is joined. A message to everybody is for the participants that are in the room at that
    /// moment. Those whose connection is still being made are included: on `.reliable` and `.unordered` the message
    /// waits for the connection. In an empty room the report is empty.
    ///
    /// A message is accepted when it is in the bounded buffers. On `.reliable` it then arrives exactly once and in
    /// order; when the receiver has left permanently, an `.undelivered` event has the number of messages that did not
    /// arrive. `send` waits while the buffer of a connected receiver is full. A message to everybody goes to all whose
    /// buffers have room at once, and then waits for the others side by side. It does not wait for a participant whose
    /// connection is broken: over the limit its messages are dropped and counted. On `.lossy` nothing is accepted for a
    /// participant that is not connected, or whose buffer is full. The report names those that were left out.
    ///
    /// Throws `.left`, `.peerNotFound`, `.messageTooLarge` (for every receiver), `.cancelled`, or the reason why the
    /// room could not be joined (`.refused`). When a message to everybody throws `.cancelled` or `.messageTooLarge`,
    /// the error's `report` says who got it, and who did not.
    @inlinable
    @discardableResult
    public nonisolated(nonsending) func send(
        _ bytes: RawSpan, isText: Bool = false, to participant: (any ParticipantReference)? = nil,
        channel: RoomChannel = .reliable
    ) async throws(RoomError) -> SendReport {
        try await pass(bytes, isText: isText, to: participant?.participantID, channel: channel)
    }

    /// Sends the elements of a span, as `send(_:isText:to:channel:)` sends bytes.
    @inlinable
    @discardableResult
    public nonisolated(nonsending) func send(
        _ bytes: Span<UInt8>, isText: Bool = false, to participant: (any ParticipantReference)? = nil,
        channel: RoomChannel = .reliable
    ) async throws(RoomError) -> SendReport {
        try await pass(bytes.bytes, isText: isText, to: participant?.participantID, channel: channel)
    }

    /// Sends the elements of an array, as `send(_:isText:to:channel:)` sends bytes. They are copied once, into the
    /// buffer of each receiver.
    @inlinable
    @discardableResult
    public nonisolated(nonsending) func send(
        _ bytes: [UInt8], isText: Bool = false, to participant: (any ParticipantReference)? = nil,
        channel: RoomChannel = .reliable
    ) async throws(RoomError) -> SendReport {
        try await pass(bytes.span.bytes, isText: isText, to: participant?.participantID, channel: channel)
    }

    /// Sends a payload, as `send(_:isText:to:channel:)` sends bytes.
    @inlinable
    @discardableResult
    public nonisolated(nonsending) func send(
        _ payload: Payload, isText: Bool = false, to participant: (any ParticipantReference)? = nil,
        channel: RoomChannel = .reliable
    ) async throws(RoomError) -> SendReport {
        // The storage is immutable and kept alive by `payload`; the pointer does not leave this call.
        let bytes = payload.withUnsafeBytes { $0 }
        defer { withExtendedLifetime(payload) {} }
        return try await pass(bytes.bytes, isText: isText, to: participant?.participantID, channel: channel)
    }

    /// Sends text, as `send(_:isText:to:channel:)` sends bytes.
    @inlinable
    @discardableResult
    public nonisolated(nonsending) func send(
        _ text: String, to participant: (any ParticipantReference)? = nil, channel: RoomChannel = .reliable
    ) async throws(RoomError) -> SendReport {
        try await pass(text.utf8.span.bytes, isText: true, to: participant?.participantID, channel: channel)
    }

    // MARK: To one

    // As above, and chosen where the receiver is not optional: only then does the compiler name it without a box.

    /// Sends to one participant, as `send(_:isText:to:channel:)` to everybody or to one does.
    @inlinable
    @discardableResult
    public nonisolated(nonsending) func send(
        _ bytes: RawSpan, isText: Bool = false, to participant: any ParticipantReference,
        channel: RoomChannel = .reliable
    ) async throws(RoomError) -> SendReport {
        try await pass(bytes, isText: isText, to: participant.participantID, channel: channel)
    }

    /// Sends the elements of a span to one participant.
    @inlinable
    @discardableResult
    public nonisolated(nonsending) func send(
        _ bytes: Span<UInt8>, isText: Bool = false, to participant: any ParticipantReference,
        channel: RoomChannel = .reliable
    ) async throws(RoomError) -> SendReport {
        try await pass(bytes.bytes, isText: isText, to: participant.participantID, channel: channel)
    }

    /// Sends the elements of an array to one participant.
    @inlinable
    @discardableResult
    public nonisolated(nonsending) func send(
        _ bytes: [UInt8], isText: Bool = false, to participant: any ParticipantReference,
        channel: RoomChannel = .reliable
    ) async throws(RoomError) -> SendReport {
        try await pass(bytes.span.bytes, isText: isText, to: participant.participantID, channel: channel)
    }

    /// Sends a payload to one participant.
    @inlinable
    @discardableResult
    public nonisolated(nonsending) func send(
        _ payload: Payload, isText: Bool = false, to participant: any ParticipantReference,
        channel: RoomChannel = .reliable
    ) async throws(RoomError) -> SendReport {
        // The storage is immutable and kept alive by `payload`; the pointer does not leave this call.
        let bytes = payload.withUnsafeBytes { $0 }
        defer { withExtendedLifetime(payload) {} }
        return try await pass(bytes.bytes, isText: isText, to: participant.participantID, channel: channel)
    }

    /// Sends text to one participant.
    @inlinable
    @discardableResult
    public nonisolated(nonsending) func send(
        _ text: String, to participant: any ParticipantReference, channel: RoomChannel = .reliable
    ) async throws(RoomError) -> SendReport {
        try await pass(text.utf8.span.bytes, isText: true, to: participant.participantID, channel: channel)
    }

    // MARK: Without waiting

    /// Sends to one participant without waiting. Throws `.wouldBlock`, and takes nothing, while its buffer is full or
    /// the room is not joined yet. For `onMessage` handlers and other code that cannot wait.
    public func trySend(
        _ bytes: RawSpan, isText: Bool = false, to participant: any ParticipantReference,
        channel: RoomChannel = .reliable
    ) throws(RoomError) {
        let participant = participant.participantID
        guard let reference = try hub.reference(to: participant) else {
            throw RoomError(.wouldBlock, "the room '\(name)' is not joined yet", isRetryable: true)
        }
        switch reference.send(bytes, isText: isText, channel: channel, mayDrop: false) {
        case .accepted, .dropped: return
        case .full: throw RoomError(.wouldBlock, "the buffer towards \(participant) is full", isRetryable: true)
        case .gone: throw Self.peerNotFound(participant)
        case .tooLarge(let limit): throw Self.tooLarge(bytes.byteCount, limit, participant)
        }
    }

    /// Sends the elements of a span, as `trySend(_:isText:to:channel:)` sends bytes.
    public func trySend(
        _ bytes: Span<UInt8>, isText: Bool = false, to participant: any ParticipantReference,
        channel: RoomChannel = .reliable
    ) throws(RoomError) {
        try trySend(bytes.bytes, isText: isText, to: participant, channel: channel)
    }

    /// Sends the elements of an array, as `trySend(_:isText:to:channel:)` sends bytes.
    public func trySend(
        _ bytes: [UInt8], isText: Bool = false, to participant: any ParticipantReference,
        channel: RoomChannel = .reliable
    ) throws(RoomError) {
        try trySend(bytes.span.bytes, isText: isText, to: participant, channel: channel)
    }

    /// Sends a payload, as `trySend(_:isText:to:channel:)` sends bytes.
    public func trySend(
        _ payload: Payload, isText: Bool = false, to participant: any ParticipantReference,
        channel: RoomChannel = .reliable
    ) throws(RoomError) {
        try payload.withBytes { bytes throws(RoomError) in
            try trySend(bytes, isText: isText, to: participant, channel: channel)
        }
    }

    /// Sends text, as `trySend(_:isText:to:channel:)` sends bytes.
    public func trySend(
        _ text: String, to participant: any ParticipantReference, channel: RoomChannel = .reliable
    ) throws(RoomError) {
        try trySend(text.utf8.span.bytes, isText: true, to: participant, channel: channel)
    }
}

// MARK: - The way of a message into the buffers

/// The properties of a message besides its bytes and receivers.
private struct SendMode {
    let isText: Bool
    let channel: RoomChannel
}

private enum SendProgress {
    case done(SendReport)
    /// The room is not joined yet.
    case early
    /// The buffer of the one receiver is full.
    case full(PeerLink)
    /// A message to everybody: the buffers of these are full.
    case partial(receivers: [ParticipantID], missed: [SendReport.Missed], full: [PeerLink])
}

extension Room {
    /// Sends to everybody or to one: the way that all forms of `send(_:isText:to:channel:)` share.
    @usableFromInline
    nonisolated(nonsending) func pass(
        _ bytes: RawSpan, isText: Bool, to receiver: ParticipantID?, channel: RoomChannel
    ) async throws(RoomError) -> SendReport {
        let mode = SendMode(isText: isText, channel: channel)
        let progress = try begin(bytes, mode, receiver)
        if case .done(let report) = progress { return report }
        return try await finish(progress, bytes, mode, receiver)
    }

    /// Passes the message to all receivers that take it now.
    private func begin(
        _ bytes: RawSpan, _ mode: SendMode, _ participant: ParticipantID?
    ) throws(RoomError) -> SendProgress {
        if let participant {
            guard let reference = try hub.reference(to: participant) else { return .early }
            let outcome = reference.send(bytes, isText: mode.isText, channel: mode.channel, mayDrop: false)
            if case .accepted = outcome { return .done(SendReport(to: participant)) }
            return try Self.report(outcome, bytes.byteCount, mode, reference.link).map(SendProgress.done)
                ?? .full(reference.link)
        }
        guard let receivers = try hub.receivers() else { return .early }
        var missed: [SendReport.Missed] = []
        var full: [PeerLink] = []
        for link in receivers.links {
            switch link.send(bytes, mode, mayDrop: true) {
            case .accepted: break
            case .full: full.append(link)
            case let outcome: missed.append(outcome.missed(link.participant, mode))
            }
        }
        guard full.isEmpty else { return .partial(receivers: receivers.ids, missed: missed, full: full) }
        let report = SendReport(to: receivers.ids, missed: missed)
        try Self.check(report, bytes.byteCount)
        return .done(report)
    }

    private nonisolated(nonsending) func finish(
        _ progress: SendProgress, _ bytes: RawSpan, _ mode: SendMode, _ participant: ParticipantID?
    ) async throws(RoomError) -> SendReport {
        switch progress {
        case .done(let report): return report
        case .early:
            try await engine.waitUntilJoined(within: nil)
            let next = try begin(bytes, mode, participant)
            if case .early = next { throw RoomError(.left, "the room '\(name)' is not joined") }
            return try await finish(next, bytes, mode, participant)
        case .full(let link):
            while true {
                await link.waitForCredit(mode.channel.delivery)
                if Task.isCancelled {
                    throw RoomError(
                        .cancelled, "sending to \(link.participant) was cancelled while its buffer was full")
                }
                let outcome = link.send(bytes, mode, mayDrop: false)
                if let report = try Self.report(outcome, bytes.byteCount, mode, link) { return report }
            }
        case .partial(let receivers, var missed, let full):
            missed += await waitForAll(full, bytes, mode)
            let report = SendReport(to: receivers, missed: missed)
            let cancelled = missed.count { $0.reason == .cancelled }
            if cancelled > 0 {
                var error = RoomError(
                    .cancelled,
                    "sending was cancelled while \(cancelled) of \(receivers.count) buffers were full: "
                        + "the others have the message")
                error.report = report
                throw error
            }
            try Self.check(report, bytes.byteCount)
            return report
        }
    }

    /// Passes the message to each of the links as soon as it has room. Returns those that did not take it.
    private nonisolated(nonsending) func waitForAll(
        _ links: [PeerLink], _ bytes: RawSpan, _ mode: SendMode
    ) async -> [SendReport.Missed] {
        // A closure cannot capture a span. The bytes are borrowed by this call, which outlives the group.
        let pointer = bytes.withUnsafeBytes { $0 }
        return await withTaskGroup(of: Int.self) { group in
            var missed: [SendReport.Missed] = []
            func wait(for index: Int) {
                let (link, channel) = (links[index], mode.channel.delivery)
                group.addTask {
                    await link.waitForCredit(channel, mayDrop: true)
                    return index
                }
            }
            for index in links.indices { wait(for: index) }
            while let index = await group.next() {
                let link = links[index]
                if Task.isCancelled {
                    missed.append(.init(link.participant, .cancelled))
                    continue
                }
                switch link.send(pointer.bytes, mode, mayDrop: true) {
                case .accepted: break
                case .full: wait(for: index)
                case let outcome: missed.append(outcome.missed(link.participant, mode))
                }
            }
            return missed
        }
    }

    /// The report on a message to one participant; nil while its buffer is full.
    private static func report(
        _ outcome: DeliveryOutbox.Outcome, _ count: Int, _ mode: SendMode, _ link: PeerLink
    ) throws(RoomError) -> SendReport? {
        switch outcome {
        case .accepted: SendReport(to: link.participant)
        case .dropped: SendReport(to: link.participant, missed: outcome.missed(link.participant, mode).reason)
        case .full: nil
        case .gone: throw peerNotFound(link.participant)
        case .tooLarge(let limit): throw tooLarge(count, limit, link.participant)
        }
    }

    /// Throws when a message to everybody is too large for everybody.
    private static func check(_ report: SendReport, _ count: Int) throws(RoomError) {
        guard !report.missed.isEmpty, report.acceptedCount == 0 else { return }
        for missed in report.missed {
            guard case .tooLarge(let limit) = missed.reason else { continue }
            var error = tooLarge(count, limit, missed.participant)
            error.report = report
            throw error
        }
    }

    private static func peerNotFound(_ participant: ParticipantID) -> RoomError {
        RoomError(.peerNotFound, "\(participant) is not in the room (any more)")
    }

    private static func tooLarge(_ count: Int, _ limit: Int, _ participant: ParticipantID) -> RoomError {
        RoomError(
            .messageTooLarge,
            "a message of \(count) bytes is over the limit of \(limit) towards \(participant): split it")
    }
}

extension PeerLink {
    fileprivate func send(_ bytes: RawSpan, _ mode: SendMode, mayDrop: Bool) -> DeliveryOutbox.Outcome {
        bytes.withUnsafeBytes { send($0, isText: mode.isText, channel: mode.channel, mayDrop: mayDrop) }
    }
}

extension DeliveryOutbox.Outcome {
    /// An outcome other than `accepted` and `full`, as a report has it.
    fileprivate func missed(_ participant: ParticipantID, _ mode: SendMode) -> SendReport.Missed {
        switch self {
        case .gone: .init(participant, .left)
        case .tooLarge(let limit): .init(participant, .tooLarge(limit: limit))
        case .dropped, .accepted, .full: .init(participant, mode.channel == .lossy ? .dropped : .unreachable)
        }
    }
}
