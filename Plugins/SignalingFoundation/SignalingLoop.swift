internal import Glibc
internal import TransportPluginAPI
internal import WebSocketWire

/// The loop of one transport, and what its connections share there.
// SAFETY: `members` has its lock; everything else is constant or, below "On the loop", touched only there.
final class SignalingLoop: @unchecked Sendable {
    private struct Members {
        var isRunning = true
        var isShutDown = false
        var drivers: [ObjectIdentifier: FoundationDriver] = [:]
    }

    let loop: TransportLoop
    let taskExecutor: any TaskExecutor
    let dialer: SignalingDialer
    private let members = Locked(Members())

    // MARK: On the loop

    /// The target of one read from a socket.
    let input = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 16)
    var keys = MaskingKeys()
    #if OpenSSL
        let trust = TrustStore()
        /// The target of one decryption: a record holds 16 KiB (RFC 8446 §5.1).
        let plaintext = UnsafeMutableRawBufferPointer.allocate(byteCount: 16 << 10, alignment: 16)
    #endif

    init() throws(TransportError) {
        loop = try TransportLoop(name: "ws-foundation")
        taskExecutor = loop.taskExecutor
        dialer = SignalingDialer(loop: loop)
    }

    deinit {
        input.deallocate()
        #if OpenSSL
            plaintext.deallocate()
        #endif
    }

    // MARK: From any thread

    var isRunning: Bool { members.withLock { $0.isRunning } }

    /// Whether `shutdown` has begun.
    var isShutDown: Bool { members.withLock { $0.isShutDown } }

    /// Adds a driver. Returns false after the shutdown.
    func add(_ driver: FoundationDriver) -> Bool {
        members.withLock { members in
            if members.isRunning { members.drivers[ObjectIdentifier(driver)] = driver }
            return members.isRunning
        }
    }

    func remove(_ driver: FoundationDriver) {
        _ = members.withLock { $0.drivers.removeValue(forKey: ObjectIdentifier(driver)) }
    }

    /// Aborts all connections, and accepts no new one.
    func end() {
        let drivers = members.withLock { members in
            members.isRunning = false
            return Array(members.drivers.values)
        }
        for driver in drivers { driver.connection.abandon() }
    }

    /// Returns when the thread has ended. Call `end` first.
    func shutdown() async {
        members.withLock { $0.isShutDown = true }
        await loop.shutdown()
    }
}
