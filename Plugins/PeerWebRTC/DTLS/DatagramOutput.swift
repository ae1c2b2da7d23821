internal import TransportPluginAPI

/// Gathers the datagrams that one connection sends in one turn of its loop.
///
/// The batch is lent by a pool that all connections of the loop share: an idle connection holds none.
final class DatagramOutput {
    private let pool: BatchPool
    private var batch: DatagramBatch?
    /// Called when the first datagram of a turn was gathered.
    private let began: () -> Void
    /// Sends a batch and empties it.
    private let send: (DatagramBatch) -> Void

    init(pool: BatchPool, began: @escaping () -> Void, send: @escaping (DatagramBatch) -> Void) {
        self.pool = pool
        self.began = began
        self.send = send
    }

    /// Copies a datagram in; a full batch goes out at once. May be called with usrsctp's locks held.
    @inline(__always)
    func append(_ datagram: UnsafeRawBufferPointer) {
        if let batch {
            if batch.append(datagram) { return }
            send(batch)
            _ = batch.append(datagram)
        } else {
            let batch = pool.take()
            self.batch = batch
            _ = batch.append(datagram)
            began()
        }
    }

    /// Sends what was gathered.
    func flush() {
        guard let batch else { return }
        self.batch = nil
        send(batch)
        pool.giveBack(batch)
    }
}

/// Batches that nobody uses now.
final class BatchPool {
    private static let maximumCount = 8
    private var batches: [DatagramBatch] = []

    func take() -> DatagramBatch { batches.popLast() ?? DatagramBatch() }

    func giveBack(_ batch: DatagramBatch) {
        batch.removeAll()
        if batches.count < Self.maximumCount { batches.append(batch) }
    }
}
