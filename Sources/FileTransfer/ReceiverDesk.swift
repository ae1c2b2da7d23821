internal import Hashing
internal import TransportPluginAPI

/// Takes the files of the first sender that comes, and goes on with another that takes its place: one that was started
/// again while this receiver waited for it, or the same one after it had disappeared.
package struct ReceiverDesk: Sendable {
    private struct Loss {
        let connection: any TransferConnection
        let error: TransferError
        var isReported = false
    }

    private let receiver: FileReceiver
    private let report: @Sendable (TransferEvent) -> Void
    private let consent: @Sendable (FileReceiver.Offer) async -> Bool
    private let waitsBeforeConsent: Bool
    /// The list of files that was agreed to.
    private let agreed = Locked<Digest?>(nil)

    /// - Parameters:
    ///   - waitsBeforeConsent: Whether a sender that has disappeared is waited for before anybody has agreed.
    ///   - consent: Decides about the files, before anything is written. Asked once for the same files. Cancelled when
    ///     the sender is gone that is not waited for.
    package init(
        _ receiver: FileReceiver, waitsBeforeConsent: Bool = true,
        consent: @escaping @Sendable (FileReceiver.Offer) async -> Bool,
        _ report: @escaping @Sendable (TransferEvent) -> Void
    ) {
        self.receiver = receiver
        self.waitsBeforeConsent = waitsBeforeConsent
        self.consent = consent
        self.report = report
    }

    /// Returns when every file is whole. Throws `.interrupted` when the sender has ended the transfer and no other has
    /// come. Waits for one that has disappeared.
    ///
    /// - Parameter leave: Called at the end with each connection that has come and was not served.
    package func receive(
        _ connections: AsyncStream<any TransferConnection>,
        leave: (any TransferConnection) -> Void = { $0.cut(TransferError(.interrupted, "the receiver has ended")) }
    ) async throws -> TransferSummary {
        try await withThrowingTaskGroup(of: DeskOutcome.self) { group in
            var next: (any TransferConnection)?
            let result: Result<TransferSummary, any Error>
            do {
                result = .success(try await takeAll(connections, &group, &next))
            } catch {
                result = .failure(error)
            }
            group.cancelAll()
            if let next { leave(next) }
            while let outcome = await group.nextResult() {
                if case .success(.arrived(let connection?)) = outcome { leave(connection) }
            }
            return try result.get()
        }
    }

    private func takeAll(
        _ connections: AsyncStream<any TransferConnection>, _ group: inout ThrowingTaskGroup<DeskOutcome, any Error>,
        _ next: inout (any TransferConnection)?
    ) async throws -> TransferSummary {
        group.awaitNext(connections)
        var current: (any TransferConnection)?
        // While there is no current one.
        var last: Loss?
        var hasRoomEnded = false
        let roomEnded = TransferError(.interrupted, "the room has ended: start again to go on")
        while let outcome = try await group.next() {
            switch outcome {
            case .arrived(let connection?):
                group.awaitNext(connections)
                next?.cut(TransferError(.interrupted, "another sender has come"))
                next = connection
                // A sender that is connected goes on, and the new one waits.
                if let current, !current.isConnected {
                    current.cut(TransferError(.interrupted, "the sender has been started again"))
                }
            case .arrived(nil):
                hasRoomEnded = true
                if current == nil, last?.isReported != false { throw roomEnded }
            case .done(let summary): return summary
            case .lost(let connection, let error):
                current = nil
                if next == nil, !waitsBeforeConsent, agreed.withLock({ $0 == nil }) { throw error }
                last = Loss(connection: connection, error: error)
                if next == nil {
                    group.addTask { .departed(connection, mayReturn: await connection.mayReturn()) }
                }
            case .departed(let connection, let mayReturn):
                // Another may have come meanwhile.
                guard let loss = last, loss.connection === connection else { continue }
                guard mayReturn else { throw loss.error }
                if hasRoomEnded { throw roomEnded }
                report(.lost(loss.error))
                last?.isReported = true
                group.addTask {
                    await connection.hasLeft()
                    return .departed(connection, mayReturn: false)
                }
            }
            if current == nil, let connection = next.take() {
                if let loss = last.take() {
                    if !loss.isReported { report(.lost(loss.error)) }
                    loss.connection.cut(loss.error)
                }
                current = connection
                group.addTask { try await receive(over: connection) }
            }
        }
        throw roomEnded
    }

    private func receive(over connection: any TransferConnection) async throws -> DeskOutcome {
        do {
            let summary = try await receiver.receive(
                over: connection, cancelsConsent: !waitsBeforeConsent,
                consent: { offer in
                    if agreed.withLock({ $0 == offer.digest }) { return true }
                    guard await consent(offer), !Task.isCancelled else { return false }
                    agreed.withLock { $0 = offer.digest }
                    return true
                }, report)
            return .done(summary)
        } catch let error as TransferError {
            guard error.code == .interrupted else { throw error }
            return .lost(connection, error)
        }
    }
}
