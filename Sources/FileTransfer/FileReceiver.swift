internal import Hashing
internal import TransportPluginAPI

/// Receives files over a connection from one sender, into a folder.
package struct FileReceiver: Sendable {
    /// A list of files, and how much of them is there already, for the person that decides.
    package struct Offer: Sendable {
        package let senderName: String
        package let manifest: Manifest
        package let plan: ArrivalPlan
        /// Of the list as it has arrived: two that are equal are the same list.
        let digest: Digest
    }

    private let root: OpenFolder
    private let code: TransferCode?
    private let policy: ExistingFiles
    private let limits: Manifest.Limits
    private let worker: BlockingWorker

    /// - Parameters:
    ///   - folder: The folder that receives; it is made if it does not exist.
    ///   - code: The secret that the sender has to prove. Nil: whoever introduced the two is trusted.
    /// - Throws: `TransferError` when the folder cannot be opened.
    package init(
        into folder: String, code: TransferCode?, existing policy: ExistingFiles,
        limits: Manifest.Limits = Manifest.Limits()
    ) throws {
        root = try OpenFolder(named: folder, creating: true)
        self.code = code
        self.policy = policy
        self.limits = limits
        worker = try BlockingWorker()
    }

    /// Returns when every file is whole and has its name.
    ///
    /// - Parameters:
    ///   - cancelsConsent: Whether `consent` is cancelled when the sender is gone.
    ///   - consent: Decides about the files, before anything is written.
    ///   - report: Called on the connection's thread, which it must not block.
    /// - Throws: `TransferError`: `.interrupted` when the sender is gone, which another call can continue.
    ///   `CancellationError` when the task is cancelled.
    package func receive(
        over connection: any TransferConnection, cancelsConsent: Bool = false,
        consent: @escaping @Sendable (Offer) async -> Bool,
        _ report: @escaping @Sendable (TransferEvent) -> Void
    ) async throws -> TransferSummary {
        try await reporting(connection) {
            var link = TransferLink(connection)
            try await TransferHandshake(.receiver, code).perform(over: &link)
            report(.met(name: connection.peerName, isProved: code != nil))
            let list = try await list(&link)
            // The sender chooses how long it is.
            let offer = try await worker.runLong { [root, policy, limits] checkCancellation in
                let manifest = try Manifest(decoding: list, limits: limits, checkCancellation)
                return Offer(
                    senderName: connection.peerName, manifest: manifest,
                    plan: try ArrivalPlan(manifest, in: root, existing: policy, checkCancellation),
                    digest: Crypto.sha256(list))
            }
            let isWanted =
                cancelsConsent ? try await link.whileQuiet { await consent(offer) } : await consent(offer)
            guard isWanted else {
                throw TransferError(.declined, "the receiver does not want the files")
            }
            report(.agreed(offer.manifest))
            let arrival = Arrival(offer.manifest, offer.plan, root, policy, worker, connection, report)
            let summary = try await arrival.run(&link)
            try await connection.send(.finished)
            // The sender's last word says that it knows. Without it, the files are here all the same.
            if case .message(.goodbye)? = try? await link.next() {}
            await connection.close()
            return summary
        }
    }

    /// The list of files, not yet decoded.
    private func list(_ link: inout TransferLink) async throws -> [UInt8] {
        var bytes: [UInt8] = []
        while true {
            guard case .manifest(let part, let isLast) = try await link.message() else {
                throw TransferLink.violation
            }
            bytes += part
            guard bytes.count <= limits.length + 16 else {
                throw TransferError(.tooLarge, "the sender's list of files is longer than \(limits.length) bytes")
            }
            if isLast { return bytes }
        }
    }
}
