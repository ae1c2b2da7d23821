internal import CUsrsctp
internal import TransportPluginAPI

/// One SCTP association over one DTLS session (RFC 8261, RFC 8831 §6).
///
/// Packets go in by `input`. `receive` returns the messages and events that result from them, and from timers. Packets
/// that usrsctp sends go to the session from inside usrsctp's calls.
final class SCTPAssociation {
    /// The minimum retransmission timeout in milliseconds. RFC 9260's 1 s is meant for delayed SACKs of 200 ms; these
    /// are 20 ms.
    static let initialTimeout: UInt32 = 500
    static let minimumTimeout: UInt32 = 200
    static let maximumTimeout: UInt32 = 1000
    /// The timeout while the other side is silent: data resumes this soon after the path is back.
    static let suspectTimeout: UInt32 = 100
    /// The maximum timeout (RFC 9260 §16: RTO.Max).
    static let silentTimeout: UInt32 = 60_000

    struct Settings {
        var localPort: UInt16
        /// Sizes of packets.
        var sizes: PacketSizes
        /// In each direction.
        var streams: UInt16
        var sendBuffer: Int
        var receiveBuffer: Int

        init(_ configuration: PeerConnectionConfiguration, _ options: WebRTCOptions, localPort: UInt16) {
            self.localPort = localPort
            sizes = options.sizes
            streams = UInt16(options.streams)
            let largest = configuration.maximumMessageSize
            sendBuffer = max(2 << 20, 2 * configuration.sendHighWaterMark + largest)
            receiveBuffer = max(1 << 20, 4 * largest)
        }
    }

    enum Read {
        /// A piece of a message; `isEnd` with the last.
        case data(count: Int, stream: UInt16, protocol: UInt32, isEnd: Bool)
        case notification(SCTPNotification)
        /// There is nothing to read now.
        case empty
        /// The association has ended.
        case ended
    }

    // SAFETY: the connection releases the association before the session.
    unowned(unsafe) let session: DTLSSession
    /// The table for CRC32c; nil if the processor computes it.
    let checksumTable: UnsafePointer<UInt32>?
    private let stack: SCTPStack
    private(set) var id: UInt = 0
    @exclusivity(unchecked) private var socket: OpaquePointer?
    private var remotePort: UInt16 = 5000
    /// The ports and the verification tag of this side's packets, as on the wire; 0 while the other side's tag is
    /// unknown.
    @exclusivity(unchecked) private var header: UInt64 = 0
    @exclusivity(unchecked) private var heartbeats = HeartbeatLog()
    /// The cumulative TSN of the last SACK (RFC 9260 §3.3.4), which increases while data arrives.
    @exclusivity(unchecked) private(set) var acknowledged: UInt32 = 0
    private let sizes: PacketSizes
    private var timeoutLimit = SCTPAssociation.maximumTimeout
    private(set) var isEstablished = false
    /// Whether bulk data is in flight for longer than usrsctp's retransmission timer runs. On a short path it is not,
    /// and the cheaper processing of acknowledgements is sufficient.
    @exclusivity(unchecked) private var isLongPath = false
    private static let longPathRoundTrip: UInt32 = 5

    /// Throws `.resourceExhausted`.
    init(_ stack: SCTPStack, session: DTLSSession, settings: Settings) throws(TransportError) {
        self.stack = stack
        self.session = session
        sizes = settings.sizes
        checksumTable = stack.checksumTable
        stack.noteActivity()
        guard let socket = usrsctp_socket(AF_CONN, Int32(SOCK_STREAM.rawValue), Int32(IPPROTO_SCTP), nil, nil, 0, nil)
        else {
            throw TransportError(.resourceExhausted, "usrsctp could not make a socket")
        }
        self.socket = socket
        id = stack.register(self)
        usrsctp_register_address(UnsafeMutableRawPointer(bitPattern: id))
        usrsctp_set_non_blocking(socket, 1)
        let results = [
            CUsrsctp_abort_on_close(socket),
            CUsrsctp_set_int(socket, Int32(IPPROTO_SCTP), SCTP_NODELAY, 1),
            CUsrsctp_set_int(socket, Int32(IPPROTO_SCTP), SCTP_RECVRCVINFO, 1),
            CUsrsctp_set_int(socket, Int32(IPPROTO_SCTP), SCTP_FRAGMENT_INTERLEAVE, 0),
            CUsrsctp_set_int(socket, SOL_SOCKET, SO_SNDBUF, Int32(clamping: settings.sendBuffer)),
            CUsrsctp_set_int(socket, SOL_SOCKET, SO_RCVBUF, Int32(clamping: settings.receiveBuffer)),
            CUsrsctp_set_streams(socket, settings.streams, settings.streams),
            CUsrsctp_enable_stream_reset(socket),
            CUsrsctp_set_association_limit(socket, 0xFFFF),
            CUsrsctp_set_path(socket, 0, 0, sizes.pathMTU(.full)),
            CUsrsctp_subscribe(socket, UInt16(SCTP_ASSOC_CHANGE)),
            CUsrsctp_subscribe(socket, UInt16(SCTP_STREAM_RESET_EVENT)),
            CUsrsctp_subscribe(socket, UInt16(SCTP_PARTIAL_DELIVERY_EVENT)),
            CUsrsctp_bind(socket, id, settings.localPort),
        ]
        guard results.allSatisfy({ $0 == 0 }) else {
            close()
            throw TransportError(.resourceExhausted, "usrsctp refused a setting of a new socket")
        }
    }

    deinit { close() }

    /// Sends INIT. Both sides do (RFC 8831 §6.1); the collision is part of the protocol (RFC 9260 §5.2.1).
    /// Throws `.io`.
    func connect(toPort port: UInt16) throws(TransportError) {
        guard let socket else { return }
        stack.noteActivity()
        remotePort = port
        guard CUsrsctp_connect(socket, id, port) == 0 else {
            throw TransportError(.io, "usrsctp could not begin the SCTP handshake")
        }
        // The destination exists only now.
        use(chunks: sizes.canHalve ? .half : .full, packets: .full)
    }

    /// Aborts the association, and sends an ABORT from inside this call. Idempotent.
    func close() {
        guard let socket else { return }
        self.socket = nil
        stack.noteActivity()
        usrsctp_close(socket)
        usrsctp_deregister_address(UnsafeMutableRawPointer(bitPattern: id))
        stack.deregister(id)
    }

    // MARK: Packets in

    @inline(__always)
    func input(_ packet: UnsafeRawPointer, count: Int) {
        let selectiveAcknowledgement: UInt8 = 3
        if count >= 20, packet.load(fromByteOffset: 12, as: UInt8.self) == selectiveAcknowledgement {
            acknowledged = packet.loadUnaligned(fromByteOffset: 16, as: UInt32.self)
        }
        usrsctp_conninput(UnsafeMutableRawPointer(bitPattern: id), packet, count, 0)
    }

    /// The outcome of `takeHeartbeat`.
    enum HeartbeatOutcome: Equatable {
        /// Something else, or an answer to an unknown heartbeat: for `input`.
        case other
        /// A heartbeat of the other side, which was answered.
        case answered
        /// The answer to this heartbeat.
        case acknowledged(HeartbeatLog.Entry)
    }

    /// Processes a packet with a heartbeat or its answer without usrsctp, which an idle connection does not run this
    /// way.
    @inline(__always)
    func takeHeartbeat(_ packet: UnsafeRawBufferPointer, at now: Timestamp) -> HeartbeatOutcome {
        guard let kind = Heartbeat.parse(packet), isEstablished, header != 0 else { return .other }
        switch kind {
        case .request:
            withUnsafeTemporaryAllocation(byteCount: packet.count, alignment: 8) { copy in
                copy.copyMemory(from: packet)
                Heartbeat.makeAnswer(from: copy, header: header)
                finishAndWrite(copy)
            }
            return .answered
        case .answer(let id): return heartbeats.answered(id, at: now).map { .acknowledged($0) } ?? .other
        }
    }

    private func finishAndWrite(_ packet: UnsafeMutableRawBufferPointer) {
        guard let base = packet.baseAddress else { return }
        CUsrsctp_fill_checksum(base, packet.count, checksumTable)
        session.write(base, count: packet.count)
    }

    /// Reads the other side's tag from the packets that usrsctp sends until the association is established.
    func noteHeader(_ packet: UnsafeRawPointer, count: Int) {
        guard count >= 12, packet.loadUnaligned(fromByteOffset: 4, as: UInt32.self) != 0 else { return }
        header = packet.loadUnaligned(as: UInt64.self)
    }

    /// Reads the next piece of a message, or event.
    @inline(__always)
    func receive(into buffer: UnsafeMutableRawBufferPointer) -> Read {
        guard let socket else { return .ended }
        var info = CUsrsctp_received()
        let count = CUsrsctp_receive(socket, buffer.baseAddress, buffer.count, &info)
        guard count > 0 else {
            // ENOTCONN: connecting.
            return count == -Int(EWOULDBLOCK) || count == -Int(ENOTCONN) && !isEstablished ? .empty : .ended
        }
        if info.is_notification == 0 {
            return .data(count: count, stream: info.stream, protocol: info.protocol, isEnd: info.is_end != 0)
        }
        let notification = SCTPNotification(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
        if case .up = notification { isEstablished = true }
        return .notification(notification)
    }

    // MARK: Messages out

    enum SendResult: Equatable {
        case sent
        /// The send buffer is full.
        case full
        case failed(errno: Int32)
    }

    /// Passes a message to usrsctp, which copies it.
    @inline(__always)
    func send(_ bytes: UnsafeRawBufferPointer, _ delivery: inout SCTPDelivery, protocol: UInt32) -> SendResult {
        guard let socket else { return .failed(errno: EPIPE) }
        let error = CUsrsctp_send(
            socket, bytes.baseAddress, bytes.count, &delivery.native, `protocol`, isLongPath ? 1 : 0)
        return error == 0 ? .sent : error == EWOULDBLOCK ? .full : .failed(errno: error)
    }

    /// Between `true` and `false`, messages wait until they fill a packet; the next message sends the rest.
    @inline(__always)
    func setCork(_ isOn: Bool) {
        guard let socket else { return }
        _ = CUsrsctp_set_int(socket, Int32(IPPROTO_SCTP), SCTP_NODELAY, isOn ? 0 : 1)
    }

    /// The number of bytes sent and not acknowledged, with chunk headers.
    @inline(__always)
    var buffered: Int {
        guard let socket else { return 0 }
        return max(0, Int(CUsrsctp_buffered(socket)))
    }

    /// Whether a timer of usrsctp that matters may be running.
    var needsFineTicks: Bool { socket != nil && (!isEstablished || buffered > 0) }

    /// Ends this side's direction of a stream when its queue is empty. Returns false if the other side does not support
    /// that (RFC 6525).
    func resetStream(_ stream: UInt16) -> Bool {
        guard let socket else { return false }
        stack.noteActivity()
        return CUsrsctp_reset_stream(socket, stream) == 0
    }

    // MARK: Path

    /// Whether the other side has answered this side's INIT. As slow as a system call: only for the handshake.
    var isAnswered: Bool {
        guard let socket else { return false }
        return isEstablished || CUsrsctp_state(socket) == Int32(SCTP_COOKIE_ECHOED)
    }

    /// Sends a heartbeat, before all data, in a packet of `size` if that is given.
    func probe(_ size: PathSizeMachine.Size? = nil, at now: Timestamp) {
        guard socket != nil, isEstablished, header != 0 else { return }
        let id = heartbeats.sent(size, at: now)
        withUnsafeTemporaryAllocation(
            byteCount: size.map(sizes.packet) ?? Heartbeat.minimumSize, alignment: 8
        ) { packet in
            Heartbeat.write(id, header: header, into: packet)
            finishAndWrite(packet)
        }
    }

    /// Cuts messages into chunks that fill a packet of size `chunks`, and fills packets up to size `packets`.
    func use(chunks: PathSizeMachine.Size, packets: PathSizeMachine.Size) {
        guard let socket else { return }
        _ = CUsrsctp_set_path(socket, id, remotePort, sizes.pathMTU(packets))
        _ = CUsrsctp_set_chunk(socket, chunks == .full ? 0 : sizes.chunkPayload(.half))
    }

    /// The path has changed: earlier measurements do not count any longer.
    func pathChanged() { heartbeats.pathChanged() }

    /// The smoothed round trip of heartbeats on this path; before the first answer usrsctp's, in whole milliseconds.
    var roundTrip: Duration? {
        guard let socket, isEstablished else { return nil }
        if let roundTrip = heartbeats.roundTrip { return roundTrip }
        let milliseconds = CUsrsctp_round_trip(socket)
        return milliseconds < 0 ? nil : .milliseconds(milliseconds)
    }

    /// The number of streams for sending, to which both sides have agreed.
    var outgoingStreams: UInt16 {
        guard let socket else { return 0 }
        return CUsrsctp_outgoing_streams(socket)
    }

    /// Returns the longest pause between retransmissions in milliseconds: max(1 s, 4 round trips). While the other side
    /// is silent it is short, so that data resumes at once when it is back, and later a thousandth of the silence.
    ///
    /// usrsctp ends an association after 65,535 timeouts without an acknowledgement, an answered heartbeat or data, and
    /// that number cannot be raised. With 100 ms this would be after 1.8 hours; in proportion to the silence it is
    /// after 40 days.
    static func timeoutLimit(silence: Duration?, roundTrip: UInt32) -> UInt32 {
        let roundTrip = min(roundTrip, 15_000)
        guard let silence else { return max(maximumTimeout, 4 * roundTrip) }
        // Never shorter than a round trip, otherwise everything would be sent twice.
        let timeout = min(max(suspectTimeout, 2 * roundTrip), maximumTimeout)
        return min(max(timeout, UInt32(clamping: silence.components.seconds)), silentTimeout)
    }

    /// Adapts the pause between retransmissions to the silence of the other side; nil if it is not suspect.
    func adaptTimeouts(silence: Duration?) {
        guard let socket, isEstablished else { return }
        let roundTrip = UInt32(clamping: CUsrsctp_round_trip(socket))
        isLongPath = roundTrip >= Self.longPathRoundTrip
        let limit = Self.timeoutLimit(silence: silence, roundTrip: roundTrip)
        guard limit != timeoutLimit else { return }
        timeoutLimit = limit
        _ = CUsrsctp_set_timeouts(
            socket, min(Self.initialTimeout, limit), min(Self.minimumTimeout, limit), limit)
    }
}
