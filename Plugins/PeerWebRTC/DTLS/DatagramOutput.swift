internal import TransportPluginAPI

/// The datagrams that one connection sends in one turn of its loop.
///
/// The batch comes from a pool that all connections of the loop share: an idle connection holds none. Until the first
/// path is up, the latest batch is kept: the other side may have its path first and begin the handshake, whose answer
/// must not be lost.
final class DatagramOutput {
    private let pool: SparePool<DatagramBatch>
    @exclusivity(unchecked) private var batch: DatagramBatch?
    private let loop: TransportLoop
    /// The agent that sends the batches, once there was a path. Without an agent they are dropped.
    var link: AgentLink?
    @exclusivity(unchecked) private var isWaitingForPath = true
    private var latest: DatagramBatch?
    /// Whether `flush` will be called before the turn ends.
    @exclusivity(unchecked) var isFlushScheduled = false

    init(pool: SparePool<DatagramBatch>, loop: TransportLoop) {
        self.pool = pool
        self.loop = loop
    }

    /// The closure for the end of a turn, kept so that none is made for each turn. `end` breaks the cycle.
    private lazy var work: (() -> Void)? = { [self] in flush() }

    /// Adds a datagram. A full batch is sent at once. May be called with usrsctp's locks held.
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
            if !isFlushScheduled, let work { loop.atEndOfTurn(work) }
        }
    }

    private func send(_ batch: DatagramBatch) {
        if let link { link.send(batch) } else { batch.removeAll() }
    }

    /// Sends the gathered datagrams for the last time, and drops the kept ones.
    func end() {
        flush()
        if let latest { pool.recycle(latest) }
        latest = nil
        link = nil
        work = nil
    }

    /// Sends the gathered datagrams, or keeps them until there is a path.
    func flush() {
        guard let batch else { return }
        self.batch = nil
        guard !isWaitingForPath else { return keep(batch) }
        send(batch)
        pool.recycle(batch)
    }

    /// Keeps only the latest batch, since DTLS repeats a whole flight.
    private func keep(_ batch: DatagramBatch) {
        if let latest { pool.recycle(latest) }
        latest = batch
    }

    /// Sends the batch that has waited for the first path.
    func pathIsUp() {
        guard isWaitingForPath else { return }
        isWaitingForPath = false
        guard let latest else { return }
        self.latest = nil
        send(latest)
        pool.recycle(latest)
    }
}

extension DatagramBatch: Reusable {}
