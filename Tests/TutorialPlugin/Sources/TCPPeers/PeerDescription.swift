import Glibc
import TransportPluginAPI

/// The text of an offer or an answer: `tcp-peer 1 <host> <port> <token> <maximum message size>`.
struct PeerDescription {
    /// Identifies one machine, and one boot of it.
    var host: String
    /// The port on 127.0.0.1 where the offerer listens; 0 in an answer.
    var port: UInt16
    /// The token that the other side must show in its `hello`. A secret of the two, carried by the signaling server.
    var token: String
    var maximumMessageSize: Int

    init(port: UInt16, maximumMessageSize: Int) throws(TransportError) {
        host = try Self.thisHost()
        self.port = port
        var random = SystemRandomNumberGenerator()
        token = (0..<2).map { _ in Self.hex(random.next()) }.joined()
        self.maximumMessageSize = maximumMessageSize
    }

    var text: String { "tcp-peer 1 \(host) \(port) \(token) \(maximumMessageSize)" }

    /// Throws `.protocolViolation` for any other text, and `.notSupported` for a description of another machine.
    init(parsing text: String) throws(TransportError) {
        let parts = text.utf8.count <= 256 ? text.split(separator: " ", omittingEmptySubsequences: false) : []
        guard parts.count == 6, parts[0] == "tcp-peer", parts[1] == "1", let port = UInt16(parts[3]),
            parts[4].utf8.count == 32, let size = Int(parts[5]), size > 0
        else { throw TransportError(.protocolViolation, "this is no description of a TCP connection between peers") }
        host = String(parts[2])
        self.port = port
        token = String(parts[4])
        maximumMessageSize = size
        // Nothing is encrypted here, so nothing may leave the machine.
        guard host == (try Self.thisHost()) else {
            throw TransportError(
                .notSupported,
                "the other peer is on another machine, and plain TCP stays on one: choose a peer backend that encrypts")
        }
    }

    private static func thisHost() throws(TransportError) -> String {
        let descriptor = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC)
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 64)
        let count = read(descriptor, &bytes, bytes.count)
        guard count >= 36 else { throw TransportError(.unavailable, "/proc/sys/kernel/random/boot_id cannot be read") }
        return String(decoding: bytes.prefix(36), as: UTF8.self)
    }

    private static func hex(_ number: UInt64) -> String {
        let digits = String(number, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
