internal import CommandLineIO
internal import FileTransfer
internal import TransportPluginAPI

/// The transfers of files in a conversation, for its line of status.
///
/// Pure: progress and the time go in, the text comes out.
struct ConversationTransfers: Sendable {
    private struct Transfer: Sendable {
        var rate = TransferRate()
        var progress: TransferProgress
    }

    /// By the other side: `to bob`, `from alice`.
    private var transfers: [String: Transfer] = [:]

    /// Takes an event of a transfer. `side`: the other side, as people read it.
    mutating func take(_ event: TransferEvent, _ side: String, now: Timestamp) {
        // Nothing is under way until the other side is back.
        if case .lost = event { return end(side) }
        guard case .progress(let progress) = event else { return }
        // Everything is there: a line of the conversation says so.
        guard progress.count < progress.total else { return end(side) }
        transfers[side, default: Transfer(progress: progress)].progress = progress
        transfers[side]?.rate.record(progress.count, at: now.seconds)
    }

    /// A transfer has ended, in one way or another.
    mutating func end(_ side: String) { transfers[side] = nil }

    /// The transfers under way, in one line; nil when there are none. A rate falls while nothing moves.
    mutating func status(now: Timestamp) -> String? {
        guard !transfers.isEmpty else { return nil }
        let parts = transfers.keys.sorted().prefix(3).map { side in
            guard var transfer = transfers[side] else { return "" }
            transfer.rate.record(transfer.progress.count, at: now.seconds)
            transfers[side] = transfer
            return "\(transfer.progress.path) \(side): \(transfer.progress.text(transfer.rate))"
        }
        return VisibleText.escaping(parts.joined(separator: " · "))
    }
}
