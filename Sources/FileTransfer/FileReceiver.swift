internal import TransportPluginAPI

/// Receives files over a connection from one sender, into a folder.
package struct FileReceiver: Sendable {
    /// A list of files, and how much of them is there already, for the person that decides.
    package struct Offer: Sendable {
        package let senderName: String
        package let manifest: Manifest
        package let plan: ArrivalPlan
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
    /// - Parameter consent: Decides about the files, before anything is written.
    /// - Throws: `TransferError`: `.interrupted` when the sender is gone, which another call can continue.
    package func receive(
        over connection: any TransferConnection, consent: @Sendable (Offer) async -> Bool,
        _ report: @escaping @Sendable (TransferEvent) -> Void
    ) async throws -> TransferSummary {
        try await reporting(connection) {
            var link = TransferLink(connection)
            try await TransferHandshake(.receiver, code).perform(over: &link)
            report(.met(name: connection.peerName, isProved: code != nil))
            let manifest = try await list(&link)
            let plan = try await worker.run { [root, policy] in
                try ArrivalPlan(manifest, in: root, existing: policy)
            }
            guard await consent(Offer(senderName: connection.peerName, manifest: manifest, plan: plan)) else {
                throw TransferError(.declined, "the receiver does not want the files")
            }
            report(.agreed(manifest))
            let arrival = Arrival(manifest, plan, root, policy, worker, connection, report)
            let summary = try await arrival.run(&link)
            try await connection.send(.finished)
            // The sender's last word says that it knows. Without it, the files are here all the same.
            if case .message(.goodbye)? = try? await link.next() {}
            await connection.close()
            return summary
        }
    }

    private func list(_ link: inout TransferLink) async throws -> Manifest {
        var bytes: [UInt8] = []
        while true {
            guard case .manifest(let part, let isLast) = try await link.message() else {
                throw TransferLink.violation
            }
            bytes += part
            guard bytes.count <= limits.length + 16 else {
                throw TransferError(.tooLarge, "the sender's list of files is longer than \(limits.length) bytes")
            }
            if isLast { return try Manifest(decoding: bytes, limits: limits) }
        }
    }
}
