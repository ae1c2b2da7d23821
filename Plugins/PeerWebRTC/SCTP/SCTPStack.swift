internal import CUsrsctp
internal import TransportPluginAPI

/// The process's usrsctp, whose timers, output callback and settings are global.
///
/// Exactly ONE transport loop drives it. Transports share that loop: they must be given the same one, or none.
/// Everything except `acquire` and `release` is for that loop's thread.
final class SCTPStack: @unchecked Sendable {
    // SAFETY: `ownership` has its lock; everything else is touched only on the loop that `acquire` returned.
    static let shared = SCTPStack()

    /// The interval of ticks while data is in flight, or about to be: usrsctp's own resolution.
    private static let fineTick = Duration.milliseconds(10)
    /// The interval of ticks while only timers that free memory matter.
    private static let coarseTick = Duration.seconds(1)
    /// The time for which fine ticks continue after the last activity: longer than a delayed SACK or the release of an
    /// association takes.
    private static let settleTime = Duration.milliseconds(300)

    private struct Ownership {
        var loop: TransportLoop?
        /// Whether the loop was made here, and ends with its last user.
        var isOwn = false
        var users = 0
        var isInitialized = false
    }
    private let ownership = Locked(Ownership())

    /// The table for CRC32c; nil if the processor computes it.
    let checksumTable: UnsafePointer<UInt32>?
    @exclusivity(unchecked) private(set) var loop: TransportLoop?
    private var freeSlots: [Int] = []
    private var timer: LoopTimer?
    @exclusivity(unchecked) private var isFine = false
    private var lastTick = Timestamp.zero
    @exclusivity(unchecked) private var lastActivity = Timestamp.zero

    private init() {
        if CUsrsctp_has_crc_instruction() != 0 {
            checksumTable = nil
        } else {
            let table = UnsafeMutablePointer<UInt32>.allocate(capacity: 256)
            CUsrsctp_make_crc_table(table)
            checksumTable = UnsafePointer(table)
        }
    }

    // MARK: Ownership, from any thread

    /// Registers a user of usrsctp and returns the loop that drives it: `wanted`, or the one in use, or a new one.
    /// Throws `.invalidState` when another loop drives it, `.resourceExhausted`.
    func acquire(_ wanted: TransportLoop?) throws(TransportError) -> TransportLoop {
        let loop = try ownership.withLock { state throws(TransportError) -> TransportLoop in
            if let loop = state.loop {
                guard wanted == nil || wanted === loop else {
                    throw TransportError(
                        .invalidState,
                        "usrsctp is driven by loop '\(loop.name)' in this process: pass the same loop to every WebRTC "
                            + "transport"
                    )
                }
                state.users += 1
                return loop
            }
            state.isOwn = wanted == nil
            let loop: TransportLoop
            if let wanted { loop = wanted } else { loop = try TransportLoop(name: "webrtc") }
            if !state.isInitialized {
                Self.initialize()
                state.isInitialized = true
            }
            state.loop = loop
            state.users = 1
            return loop
        }
        loop.execute { SCTPStack.shared.begin(on: loop) }
        return loop
    }

    /// Ends the use of the loop. The last user shuts it down if it was made here. The user must have no association
    /// left.
    func release() async {
        let last = ownership.withLock { state -> TransportLoop? in
            guard state.users == 1 else {
                state.users -= 1
                return nil
            }
            return state.loop
        }
        guard let last else { return }
        // Runs the timers of released associations to their end, so that usrsctp frees them now.
        await last.run { SCTPStack.shared.end() }
        let own = ownership.withLock { state -> TransportLoop? in
            state.users -= 1
            guard state.users == 0 else {
                // There is a new user: the loop continues.
                last.execute { SCTPStack.shared.begin(on: last) }
                return nil
            }
            defer {
                state.loop = nil
                state.isOwn = false
            }
            return state.isOwn ? state.loop : nil
        }
        if let own { await own.shutdown() }
    }

    private static func initialize() {
        usrsctp_init_nothreads(0, sctpOutput, nil)
        // The DTLS MAC makes the checksum unnecessary; it is filled in for implementations that check it.
        usrsctp_enable_crc32c_offload()
        usrsctp_sysctl_set_sctp_ecn_enable(0)
        usrsctp_sysctl_set_sctp_asconf_enable(0)
        usrsctp_sysctl_set_sctp_auto_asconf(0)
        usrsctp_sysctl_set_sctp_auth_enable(0)
        usrsctp_sysctl_set_sctp_pktdrop_enable(0)
        // usrsctp never ends an association: liveness and the managers above decide. (Unless this is 0, the
        // retransmissions of one chunk end an association independently of its own limit.)
        usrsctp_sysctl_set_sctp_max_retran_chunk(0)
        usrsctp_sysctl_set_sctp_init_rtx_max_default(10_000)
        usrsctp_sysctl_set_sctp_assoc_rtx_max_default(0xFFFF)
        usrsctp_sysctl_set_sctp_path_rtx_max_default(255)
        usrsctp_sysctl_set_sctp_rto_initial_default(SCTPAssociation.initialTimeout)
        usrsctp_sysctl_set_sctp_rto_min_default(SCTPAssociation.minimumTimeout)
        usrsctp_sysctl_set_sctp_rto_max_default(SCTPAssociation.maximumTimeout)
        usrsctp_sysctl_set_sctp_init_rto_max_default(SCTPAssociation.maximumTimeout)
        usrsctp_sysctl_set_sctp_delayed_sack_time_default(20)
        usrsctp_sysctl_set_sctp_max_chunks_on_queue(32_768)
        usrsctp_sysctl_set_sctp_initial_cwnd(10)
        usrsctp_sysctl_set_sctp_max_burst_default(10)
    }

    // MARK: The registry

    /// Returns an id that identifies `association` to usrsctp, and is never reused.
    func register(_ association: SCTPAssociation) -> UInt {
        if freeSlots.isEmpty { growRegistry() }
        let index = freeSlots.removeLast()
        registry[index].association = Unmanaged.passUnretained(association)
        return registry[index].generation << 24 | UInt(index + 1)
    }

    func deregister(_ id: UInt) {
        let index = Int(id & 0xFF_FFFF) - 1
        guard index >= 0, index < registry.count, registry[index].generation == id >> 24 else { return }
        registry[index].association = nil
        registry[index].generation += 1
        freeSlots.append(index)
        noteActivity()
    }

    private func growRegistry() {
        let count = max(64, registry.count * 2)
        let larger = UnsafeMutableBufferPointer<RegistrySlot>.allocate(capacity: count)
        larger.initialize(repeating: RegistrySlot())
        for index in registry.indices { larger[index] = registry[index] }
        freeSlots.append(contentsOf: (registry.count..<count).reversed())
        registry.deallocate()
        registry = larger
    }

    // MARK: Time

    /// Updates usrsctp's clock after a pause, and starts fine ticks. Called before every use of usrsctp.
    @inline(__always)
    func noteActivity() {
        guard let loop else { return }
        lastActivity = loop.turnTime
        if !isFine { beginFineTicks() }
    }

    private func beginFineTicks() {
        advance()
        isFine = true
        arm()
    }

    private func begin(on loop: TransportLoop) {
        guard self.loop == nil else { return }
        self.loop = loop
        lastTick = .now()
        arm()
    }

    private func end() {
        timer?.cancel()
        timer = nil
        for _ in 0..<40 { usrsctp_handle_timers(100) }
        isFine = false
        loop = nil
    }

    private func arm() {
        timer?.cancel()
        timer = loop?.schedule(after: isFine ? Self.fineTick : Self.coarseTick) { [unowned self] in
            tick()
        }
    }

    private func tick() {
        advance()
        if isFine, lastTick - lastActivity > Self.settleTime {
            isFine = registry.contains { $0.association?._withUnsafeGuaranteedRef { $0.needsFineTicks } ?? false }
            // Checked again only after some time.
            if isFine { lastActivity = lastTick }
        }
        arm()
    }

    private func advance() {
        let now = Timestamp.now()
        let elapsed = (now.nanoseconds - lastTick.nanoseconds) / 1_000_000
        guard elapsed > 0 else { return }
        lastTick.nanoseconds += elapsed * 1_000_000
        // A long gap (a stopped process) counts as one second: retransmissions are due, but do not fail.
        usrsctp_handle_timers(UInt32(min(elapsed, 1000)))
    }
}

private struct RegistrySlot {
    // Ownership: unretained; the association removes itself in its `deinit`.
    var association: Unmanaged<SCTPAssociation>?
    var generation: UInt = 1
}

/// The associations by the ids that usrsctp knows. Not in the class: usrsctp's callback runs for every packet.
// SAFETY: touched on the one loop that drives usrsctp, only.
private nonisolated(unsafe) var registry = UnsafeMutableBufferPointer<RegistrySlot>(start: nil, count: 0)

/// Sends a packet for usrsctp. Its locks are held, so this only encrypts and gathers.
private func sctpOutput(
    _ address: UnsafeMutableRawPointer?, _ packet: UnsafeMutableRawPointer?, _ count: Int, _ tos: UInt8, _ df: UInt8
) -> Int32 {
    assert(SCTPStack.shared.loop?.isCurrent ?? true, "usrsctp ran on a thread that is not its loop")
    let id = UInt(bitPattern: address)
    let index = Int(truncatingIfNeeded: id & 0xFF_FFFF) &- 1
    guard let packet, index >= 0, index < registry.count, registry[index].generation == id >> 24,
        let association = registry[index].association
    else { return 0 }  // late, after a close
    association._withUnsafeGuaranteedRef { association in
        if !association.isEstablished { association.noteHeader(packet, count: count) }
        CUsrsctp_fill_checksum(packet, count, association.checksumTable)
        association.session.write(packet, count: count)
    }
    return 0
}
