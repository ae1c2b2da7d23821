import Glibc
import TransportPluginAPI
import TransportTestKit
import WebSocketWire

@testable import SignalingFoundation

/// Accepts connections on 127.0.0.1 and runs a script with blocking reads and writes on each, on a thread of its own.
// SAFETY: constant.
final class RawServer: @unchecked Sendable {
    private let listener: LoopbackListener
    var port: UInt16 { listener.port }

    init(_ script: @escaping @Sendable (RawConnection) -> Void) throws {
        let listener = try LoopbackListener()
        self.listener = listener
        _ = DetachedThread.start {
            listener.acceptAll { descriptor in
                _ = DetachedThread.start {
                    let connection = RawConnection(descriptor)
                    script(connection)
                    connection.end()
                }
            }
        }
    }

    var endpoint: SignalingEndpoint { get throws { try SignalingEndpoint(url: "ws://127.0.0.1:\(port)/") } }

    func stop() { listener.stop() }
}

/// The server's end, used by its script's thread only. Every call gives up after 60 s.
final class RawConnection {
    let descriptor: Int32

    init(_ descriptor: Int32) {
        self.descriptor = descriptor
        var limit = timeval(tv_sec: 60, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    /// Bytes up to an empty line; nil at the end.
    func readHead() -> String? {
        var head: [UInt8] = []
        while head.suffix(4) != [13, 10, 13, 10] {
            guard let byte = read(1) else { return nil }
            head += byte
        }
        return String(decoding: head, as: UTF8.self)
    }

    /// Reads the request and answers it.
    func open() {
        guard let request = readHead(),
            let line = request.split(separator: "\r\n").first(where: { $0.lowercased().hasPrefix("sec-websocket-key:") }
            )
        else { return }
        let key = String(line.split(separator: ":")[1].drop { $0 == " " })
        write(
            Array(
                ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    + "Sec-WebSocket-Accept: \(HandshakeKey.accept(key))\r\n\r\n").utf8))
    }

    func read(_ count: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            let got = bytes.withUnsafeMutableBytes { recv(descriptor, $0.baseAddress! + done, count - done, 0) }
            if got < 0, errno == EINTR { continue }
            guard got > 0 else { return nil }
            done += got
        }
        return bytes
    }

    /// A client's frame, unmasked.
    func readFrame() -> (opcode: UInt8, payload: [UInt8])? {
        guard let head = read(2) else { return nil }
        var length = Int(head[1] & 0x7F)
        if length >= 126 {
            guard let more = read(length == 126 ? 2 : 8) else { return nil }
            length = more.reduce(0) { $0 << 8 | Int($1) }
        }
        guard let key = read(4), var payload = read(length) else { return nil }
        for index in payload.indices { payload[index] ^= key[index & 3] }
        return (head[0] & 0x0F, payload)
    }

    @discardableResult
    func write(_ bytes: [UInt8]) -> Bool {
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes {
                send(descriptor, $0.baseAddress! + done, bytes.count - done, Int32(MSG_NOSIGNAL))
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return false }
            done += count
        }
        return true
    }

    /// Reads until the client ends the connection.
    func drain() { while read(1) != nil {} }

    func end() { close(descriptor) }
}
