import Foundation
import Testing
import TransportPluginAPI
import TransportTestKit

/// Accepts connections on 127.0.0.1, reads one HTTP head from each, and passes both to a script, on a thread of its
/// own.
// SAFETY: constant; `heads` is behind its lock.
final class CannedListener: @unchecked Sendable {
    private let listener: LoopbackListener
    private let heads = Locked<[String]>([])

    var port: UInt16 { listener.port }

    /// The received heads, in order.
    var requests: [String] { heads.withLock { $0 } }

    init(_ script: @escaping @Sendable (_ head: String, _ descriptor: Int32) -> Void) throws {
        let listener = try LoopbackListener()
        self.listener = listener
        _ = DetachedThread.start { [heads] in
            listener.acceptAll { descriptor in
                _ = DetachedThread.start {
                    if let head = Self.readHead(descriptor) {
                        heads.withLock { $0.append(head) }
                        script(head, descriptor)
                    }
                    close(descriptor)
                }
            }
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
            let server = LoopbackListener.socket()
            defer { close(server) }
            guard LoopbackListener.connect(server, to: port) == 0 else {
                return Self.write("HTTP/1.1 502 Bad Gateway\r\n\r\n", to: client)
            }
            Self.write("HTTP/1.1 200 Connection established\r\n\r\n", to: client)
            let hasEnded = DispatchSemaphore(value: 0)
            _ = DetachedThread.start {
                Self.copy(from: server, to: client)
                hasEnded.signal()
            }
            Self.copy(from: client, to: server)
            hasEnded.wait()
        }
    }

    func stop() { listener.stop() }

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
