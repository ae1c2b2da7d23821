import Foundation
import TURNTestSupport
import Testing
import TransportPluginAPI

/// Accepts connections on 127.0.0.1, reads one HTTP head from each, and passes both to a script, on a thread of its
/// own.
// SAFETY: constant; `heads` is behind its lock.
final class CannedListener: @unchecked Sendable {
    let port: UInt16
    private let listener: Int32
    private let heads = Locked<[String]>([])

    /// The received heads, in order.
    var requests: [String] { heads.withLock { $0 } }

    init(_ script: @escaping @Sendable (_ head: String, _ descriptor: Int32) -> Void) throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = loopback(0)
        let isListening = withUnsafeSockaddr(&address) { pointer, length in
            var length = length
            return bind(listener, pointer, length) == 0 && listen(listener, 64) == 0
                && getsockname(listener, pointer, &length) == 0
        }
        try #require(isListening)
        self.listener = listener
        port = UInt16(bigEndian: address.sin_port)
        Thread.detachNewThread { [heads] in
            while true {
                let descriptor = accept(listener, nil, nil)
                if descriptor < 0, errno == EINTR || errno == ECONNABORTED { continue }
                guard descriptor >= 0 else { break }
                Thread.detachNewThread {
                    if let head = Self.readHead(descriptor) {
                        heads.withLock { $0.append(head) }
                        script(head, descriptor)
                    }
                    close(descriptor)
                }
            }
            close(listener)
        }
    }

    /// Answers every request with the same bytes.
    convenience init(answer: String) throws {
        try self.init { _, descriptor in
            Self.write(answer, to: descriptor)
            var rest = [UInt8](repeating: 0, count: 1024)
            shutdown(descriptor, Int32(SHUT_WR))
            while recv(descriptor, &rest, rest.count, 0) > 0 {}
        }
    }

    /// An HTTP proxy that answers CONNECT to any host with a connection to this port of 127.0.0.1.
    convenience init(proxyTo port: UInt16) throws {
        try self.init { head, client in
            guard head.hasPrefix("CONNECT ") else {
                return Self.write("HTTP/1.1 405 Method Not Allowed\r\n\r\n", to: client)
            }
            let server = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
            defer { close(server) }
            var address = loopback(port)
            guard withUnsafeSockaddr(&address, { connect(server, $0, $1) == 0 }) else {
                return Self.write("HTTP/1.1 502 Bad Gateway\r\n\r\n", to: client)
            }
            Self.write("HTTP/1.1 200 Connection established\r\n\r\n", to: client)
            let hasEnded = DispatchSemaphore(value: 0)
            Thread.detachNewThread {
                Self.copy(from: server, to: client)
                hasEnded.signal()
            }
            Self.copy(from: client, to: server)
            hasEnded.wait()
        }
    }

    func stop() { shutdown(listener, Int32(SHUT_RDWR)) }

    private static func readHead(_ descriptor: Int32) -> String? {
        var head: [UInt8] = []
        while head.suffix(4) != [13, 10, 13, 10] {
            var byte: UInt8 = 0
            guard head.count < 16_384, recv(descriptor, &byte, 1, 0) == 1 else { return nil }
            head.append(byte)
        }
        return String(decoding: head, as: UTF8.self)
    }

    private static func write(_ text: String, to descriptor: Int32) {
        let bytes = Array(text.utf8)
        _ = send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
    }

    private static func copy(from source: Int32, to target: Int32) {
        var bytes = [UInt8](repeating: 0, count: 65_536)
        while case let count = recv(source, &bytes, bytes.count, 0), count > 0 {
            guard send(target, bytes, count, Int32(MSG_NOSIGNAL)) == count else { break }
        }
        shutdown(target, Int32(SHUT_RDWR))
        shutdown(source, Int32(SHUT_RDWR))
    }
}
