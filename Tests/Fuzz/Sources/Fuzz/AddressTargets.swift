@testable import WebSocketWire

/// A proxy's words about its client: a header of the PROXY protocol, or a field of HTTP.
func proxy(_ bytes: UnsafeRawBufferPointer) {
    if let header = try? ProxyHeader.read(bytes) {
        require(header.length <= min(bytes.count, ProxyHeader.maximumLength), "a header ends within its bytes")
        let less = UnsafeRawBufferPointer(rebasing: bytes[..<(header.length - 1)])
        require((try? ProxyHeader.read(less)) == .some(nil), "without its last byte, a header is not complete")
        let only = UnsafeRawBufferPointer(rebasing: bytes[..<header.length])
        require((try? ProxyHeader.read(only)) == header, "what follows a header does not matter")
    }
    let text = String(decoding: bytes, as: UTF8.self)
    if let address = NetworkAddress(text) {
        require(NetworkAddress(address.description) == address, "an address that was written is read as the same")
    }
    _ = AddressRange(text)?.contains(NetworkAddress(ipv4: 1))
    let lines = text.split(separator: "\n").map(String.init)
    let peer = NetworkAddress(ipv4: 1)
    let client = ForwardedFor.client(of: peer, lines) { $0.bits & 1 == 1 }
    require(
        ForwardedFor.client(of: peer, ["192.0.2.2"] + lines) { $0.bits & 1 == 1 } == client || client.bits & 1 == 1,
        "what comes before the client is not looked at")
}
