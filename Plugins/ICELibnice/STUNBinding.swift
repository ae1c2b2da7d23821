internal import TransportPluginAPI

/// The one exchange of STUN that is not libnice's: a Binding request, which asks a server for the address that it comes
/// from (RFC 8489 §2).
///
/// Reading never traps.
enum STUNBinding {
    /// The first four bytes of our transaction ids, by which the kernel tells the answers from libnice's
    /// (`DataSocket`).
    static let mark = UInt32.random(in: 1...UInt32.max)
    private static let cookie: UInt32 = 0x2112_A442
    private static let headerLength = 20

    /// A request. `transaction`: the rest of the id.
    static func request(_ transaction: UInt64) -> [UInt8] {
        bytes(of: UInt16(0x0001)) + bytes(of: UInt16(0)) + bytes(of: cookie) + bytes(of: mark) + bytes(of: transaction)
    }

    /// Reads a server's answer: its transaction, and the address, which is nil where the server refused. Nil for a
    /// datagram that is no answer to a request from here.
    static func answer(
        _ datagram: UnsafeRawBufferPointer
    ) -> (transaction: UInt64, address: IPEndpoint?)? {
        guard datagram.count >= headerLength, word(datagram, 4) == cookie, word(datagram, 8) == mark else { return nil }
        let type = half(datagram, 0)
        guard type == 0x0101 || type == 0x0111 else { return nil }
        let transaction = UInt64(word(datagram, 12)) << 32 | UInt64(word(datagram, 16))
        guard type == 0x0101 else { return (transaction, nil) }
        // RFC 3489's MAPPED-ADDRESS only where the later one is missing.
        var plain: IPEndpoint?
        var offset = headerLength
        let end = min(datagram.count, headerLength + Int(half(datagram, 2)))
        while offset + 4 <= end {
            let length = Int(half(datagram, offset + 2))
            let value = offset + 4
            guard value + length <= end else { break }
            switch half(datagram, offset) {
            case 0x0020: return (transaction, address(datagram, value, length, isXOR: true) ?? plain)
            case 0x0001: plain = plain ?? address(datagram, value, length, isXOR: false)
            default: break
            }
            offset = value + (length + 3) & ~3
        }
        return (transaction, plain)
    }

    /// RFC 8489 §14.1, §14.2
    private static func address(
        _ datagram: UnsafeRawBufferPointer, _ start: Int, _ length: Int, isXOR: Bool
    ) -> IPEndpoint? {
        let size = length == 8 ? 4 : length == 20 ? 16 : 0
        guard size > 0, datagram[start + 1] == (size == 4 ? 1 : 2) else { return nil }
        var port = half(datagram, start + 2)
        var host = Array(datagram[start + 4..<start + 4 + size])
        if isXOR {
            port ^= UInt16(cookie >> 16)
            // The cookie and the transaction id, as they stand in the header.
            for index in 0..<size { host[index] ^= datagram[4 + index] }
        }
        let address = IPAddress(host)
        return port > 0 && address.isUnicast ? IPEndpoint(address, port: port) : nil
    }

    private static func half(_ datagram: UnsafeRawBufferPointer, _ offset: Int) -> UInt16 {
        UInt16(bigEndian: datagram.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
    }

    private static func word(_ datagram: UnsafeRawBufferPointer, _ offset: Int) -> UInt32 {
        UInt32(bigEndian: datagram.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }

    private static func bytes(of value: some FixedWidthInteger) -> [UInt8] {
        withUnsafeBytes(of: value.bigEndian) { Array($0) }
    }
}
