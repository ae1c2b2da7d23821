internal import TransportPluginAPI

/// Gathers the datagrams that one connection sends in one turn of its loop.
///
/// The batch is lent by a pool that all connections of the loop share: an idle connection holds none.
final class DatagramOutput {
    private let pool: BatchPool
    private var batch: DatagramBatch?
    private let loop: TransportLoop
    /// Where batches go; without one they are dropped.
    var link: AgentLink?

    init(pool: BatchPool, loop: TransportLoop) {
        self.pool = pool
        self.loop = loop
    }

    /// Kept, so that none is made for each turn. A cycle that `end` breaks.
    private lazy var work: (() -> Void)? = { [self] in flush() }

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
            if let work { loop.atEndOfTurn(work) }
        }
    }

    private func send(_ batch: DatagramBatch) {
        if let link { link.send(batch) } else { batch.removeAll() }
    }

    /// Sends what was gathered, for the last time.
    func end() {
        flush()
        link = nil
        work = nil
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
