internal import TransportPluginAPI

/// Takes the files of the first sender that comes, and goes on with another that takes its place: one that was started
/// again while this receiver waited for it, or the same one after it had disappeared.
package struct ReceiverDesk: Sendable {
    private let receiver: FileReceiver
    private let report: @Sendable (TransferEvent) -> Void
    private let consent: @Sendable (FileReceiver.Offer) async -> Bool
    private let agreed = Locked<Manifest?>(nil)

    /// - Parameter consent: Decides about the files, before anything is written. Asked once for the same files.
    package init(
        _ receiver: FileReceiver, consent: @escaping @Sendable (FileReceiver.Offer) async -> Bool,
        _ report: @escaping @Sendable (TransferEvent) -> Void
    ) {
        self.receiver = receiver
        self.consent = consent
        self.report = report
    }

    /// Returns when every file is whole. Throws `.interrupted` when the sender has ended the transfer and no other has
    /// come. Waits for one that has disappeared.
    package func receive(_ connections: AsyncStream<any TransferConnection>) async throws -> TransferSummary {
        try await withThrowingTaskGroup(of: DeskOutcome.self) { group in
            defer { group.cancelAll() }
            group.awaitNext(connections)
            var current: (any TransferConnection)?
            var next: (any TransferConnection)?
            func begin(_ connection: any TransferConnection) {
                current = connection
                group.addTask { try await receive(over: connection) }
            }
            while let outcome = try await group.next() {
                switch outcome {
                case .arrived(let connection?):
                    group.awaitNext(connections)
                    guard let previous = current else {
                        begin(connection)
                        continue
                    }
                    guard !previous.isConnected else { continue }
                    next = connection
                    previous.cut(TransferError(.interrupted, "the sender has been started again"))
                case .arrived(nil): break
                case .done(let summary): return summary
                case .lost(let error, let mayReturn):
                    guard next != nil || mayReturn else { throw error }
                    report(.lost(error))
                    current = nil
                    if let connection = next.take() { begin(connection) }
                }
            }
            throw TransferError(.interrupted, "the room has ended: start again to go on")
        }
    }

    private func receive(over connection: any TransferConnection) async throws -> DeskOutcome {
        do {
            let summary = try await receiver.receive(
                over: connection,
                consent: { offer in
                    if agreed.withLock({ $0 == offer.manifest }) { return true }
                    guard await consent(offer) else { return false }
                    agreed.withLock { $0 = offer.manifest }
                    return true
                }, report)
            return .done(summary)
        } catch let error as TransferError {
            guard error.code == .interrupted else { throw error }
            return .lost(error, mayReturn: await connection.mayReturn())
        }
    }
}
