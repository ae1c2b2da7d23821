/// The header of the PROXY protocol, version 2 (the specification of HAProxy), with which a proxy begins each
/// connection.
package struct ProxyHeader: Sendable, Hashable {
    /// The bytes are no header of version 2, or one for something else than TCP.
    package struct Malformed: Error, Hashable {}

    /// The client's address. Nil: the connection is the proxy's own (`LOCAL`, a health check), or the proxy does not
    /// know: then the connection's own address counts.
    package var client: NetworkAddress?
    /// The bytes of the header. What follows them is the connection's.
    package var length: Int

    /// The longest header that is read: addresses and a few KiB of extensions.
    package static let maximumLength = 4096
    private static let fixedLength = 16
    private static let signature: [UInt8] = [0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A]

    /// Reads the header at the beginning of `bytes`. Returns nil while it is not complete.
    package static func read(_ bytes: UnsafeRawBufferPointer) throws(Malformed) -> ProxyHeader? {
        guard zip(bytes, signature).allSatisfy({ $0 == $1 }) else { throw Malformed() }
        guard bytes.count >= fixedLength else { return nil }
        let length = fixedLength + (Int(bytes[14]) << 8 | Int(bytes[15]))
        guard length <= maximumLength else { throw Malformed() }
        let addresses: (source: Int, all: Int)?
        switch (bytes[12], bytes[13]) {
        // LOCAL: the family does not matter.
        case (0x20, _): addresses = nil
        // UNSPEC, and a UNIX socket.
        case (0x21, 0x00), (0x21, 0x31): addresses = nil
        // TCP over IPv4 and IPv6: two addresses, two ports.
        case (0x21, 0x11): addresses = (4, 12)
        case (0x21, 0x21): addresses = (16, 36)
        default: throw Malformed()
        }
        guard length >= fixedLength + (addresses?.all ?? 0) else { throw Malformed() }
        guard bytes.count >= length else { return nil }
        let source = addresses.flatMap { NetworkAddress(bytes[fixedLength..<(fixedLength + $0.source)]) }
        return ProxyHeader(client: source, length: length)
    }
}
