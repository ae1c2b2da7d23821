/// The sizes of SCTP packets and chunks for a maximum datagram. Pure.
///
/// The largest datagram fits the smallest link of IPv6, 1280 bytes (RFC 8200 §5). Without the headers of IPv6 (40), UDP
/// (8) and a TURN channel (4, RFC 8656 §12.4), 1228 bytes are left. A DTLS 1.2 record with AES-GCM takes 37 of them,
/// and SCTP packets are multiples of 4: 1188 bytes, and datagrams of 1225.
///
/// TURN without a bound channel is not considered (Send indications: 36 bytes and up to 3 of padding, 48 for a peer
/// with an IPv6 address): it lasts for one round trip to the server, before the DTLS handshake. TURN over TCP has no
/// datagrams on the wire.
struct PacketSizes: Equatable {
    static let defaultMaximumDatagram = 1280 - 40 - 8 - 4 - 3
    static let record = 37
    static let commonHeader = 12
    static let chunkHeader = 16
    /// The minimum path MTU of usrsctp.
    private static let minimumPathMTU = 512

    /// The size of a full packet without the common header.
    private let room: Int

    init(maximumDatagram: Int) { room = (maximumDatagram - Self.record - Self.commonHeader) & ~3 }

    /// Whether packets of half the size are possible.
    var canHalve: Bool { room / 2 & ~3 >= Self.minimumPathMTU }

    private func room(_ size: PathSizeMachine.Size) -> Int { size == .half && canHalve ? room / 2 & ~3 : room }

    /// The path MTU in usrsctp's sense: without the common header.
    func pathMTU(_ size: PathSizeMachine.Size) -> UInt32 { UInt32(room(size)) }

    /// The largest SCTP packet.
    func packet(_ size: PathSizeMachine.Size) -> Int { room(size) + Self.commonHeader }

    /// The largest datagram: UDP's payload.
    func datagram(_ size: PathSizeMachine.Size) -> Int { packet(size) + Self.record }

    /// The bytes of a message in the largest chunk.
    func chunkPayload(_ size: PathSizeMachine.Size) -> UInt32 { UInt32(room(size) - Self.chunkHeader) }
}
