import Glibc
import TURNTestSupport
import TransportPluginAPI
import TransportTestKit

/// A TCP server on 127.0.0.1 that gives every connection the same answer, whatever the request. Serves one connection
/// at a time.
// SAFETY: constant; the descriptor is used by its thread, and shut down by `stop()`.
final class CannedServer: Sendable {
    enum Answer: Sendable {
        /// These bytes after the first bytes of the request; then the connection ends.
        case bytes(String)
        /// One byte after the other, without end.
        case trickle
        /// Nothing, until the client closes the connection.
        case silence
    }

    private let listener: LoopbackListener
    var port: UInt16 { listener.port }

    init(_ answer: Answer) throws {
        let listener = try LoopbackListener()
        self.listener = listener
        _ = DetachedThread.start {
            listener.acceptAll { client in
                Self.serve(client, answer)
                close(client)
            }
        }
    }

    func stop() { listener.stop() }

    private static func serve(_ client: Int32, _ answer: Answer) {
        var bytes = [UInt8](repeating: 0, count: 4096)
        guard recv(client, &bytes, bytes.count, 0) > 0 else { return }
        switch answer {
        case .bytes(let text): send(client, text, text.utf8.count, Int32(MSG_NOSIGNAL))
        case .trickle:
            // The pace is the fault: many bytes within any deadline, none of them the last.
            let head = "HTTP/1.1 200 OK\r\nX: "
            send(client, head, head.utf8.count, Int32(MSG_NOSIGNAL))
            while send(client, "H", 1, Int32(MSG_NOSIGNAL)) == 1 { usleep(10_000) }
        case .silence: while recv(client, &bytes, bytes.count, 0) > 0 {}
        }
    }
}

/// A STUN server on 127.0.0.1 that answers Binding requests.
final class CannedSTUN: Sendable {
    enum Answer: Sendable {
        case address
        /// An answer to a transaction of another client, and then the right one.
        case forgedFirst
        case silence
        /// An error response.
        case error
    }

    let port: UInt16
    private let descriptor: Int32

    init(_ answer: Answer) throws {
        let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = loopback(0)
        let isBound = withUnsafeSockaddr(&address) { pointer, length in
            var length = length
            return bind(descriptor, pointer, length) == 0 && getsockname(descriptor, pointer, &length) == 0
        }
        guard isBound else { throw TransportError(.io, "cannot bind") }
        port = UInt16(bigEndian: address.sin_port)
        self.descriptor = descriptor
        _ = DetachedThread.start {
            var bytes = [UInt8](repeating: 0, count: 1500)
            while true {
                var from = sockaddr_in()
                let count = withUnsafeSockaddr(&from) { pointer, length in
                    var length = length
                    return recvfrom(descriptor, &bytes, bytes.count, 0, pointer, &length)
                }
                guard count >= 20 else { break }
                for reply in Self.replies(Array(bytes.prefix(count)), from, answer) {
                    withUnsafeSockaddr(&from) { _ = sendto(descriptor, reply, reply.count, 0, $0, $1) }
                }
            }
            close(descriptor)
        }
    }

    func stop() { shutdown(descriptor, Int32(SHUT_RDWR)) }

    private static func replies(_ request: [UInt8], _ from: sockaddr_in, _ answer: Answer) -> [[UInt8]] {
        // XOR-MAPPED-ADDRESS (RFC 8489 §14.2).
        let port = withUnsafeBytes(of: from.sin_port) { zip($0, [0x21, 0x12]).map { $0 ^ $1 } }
        let host = withUnsafeBytes(of: from.sin_addr.s_addr) { zip($0, [0x21, 0x12, 0xA4, 0x42]).map { $0 ^ $1 } }
        let good: [UInt8] = [1, 1, 0, 12] + request[4..<20] + [0, 0x20, 0, 8, 0, 1] + port + host
        switch answer {
        case .address: return [good]
        case .forgedFirst:
            var forged = good
            forged[19] ^= 1
            return [forged, good]
        case .silence: return []
        case .error: return [[1, 0x11, 0, 8] + request[4..<20] + [0, 9, 0, 4, 0, 0, 4, 0]]
        }
    }
}
