internal import Glibc
package import TransportPluginAPI

/// A TCP socket that listens on a free port of 127.0.0.1, for the servers of tests and measurements. Its owner closes
/// it, or has `acceptAll` do so.
package struct LoopbackListener: Sendable {
    package let descriptor: Int32
    package let port: UInt16

    /// Throws `.io`.
    ///
    /// - Parameters:
    ///   - backlog: The number of connections that may wait. 0: one.
    ///   - receiveBuffer: Bytes of SO_RCVBUF for the connections. A small one shows back-pressure early.
    package init(backlog: Int32 = 128, receiveBuffer: Int32? = nil) throws(TransportError) {
        descriptor = Self.socket()
        if var size = receiveBuffer { setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, 4) }
        var bound = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = descriptor
        let isListening =
            Self.withAddress(port: 0) { bind(descriptor, $0, $1) == 0 } && listen(descriptor, backlog) == 0
            && withUnsafeMutablePointer(to: &bound) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) == 0 }
            }
        guard isListening else {
            let error = errno
            close(descriptor)
            throw TransportError(.io, "no socket that listens on 127.0.0.1: errno \(error)")
        }
        port = UInt16(bigEndian: bound.sin_port)
    }

    /// Accepts connections and passes them to `body`, which closes them. Blocks the thread until `stop()`, and then
    /// closes the socket.
    package func acceptAll(_ body: (_ connection: Int32) -> Void) {
        while true {
            let connection = accept(descriptor, nil, nil)
            if connection < 0, errno == EINTR || errno == ECONNABORTED { continue }
            guard connection >= 0 else { break }
            body(connection)
        }
        close(descriptor)
    }

    /// Ends `acceptAll`. Idempotent as long as that has not returned.
    package func stop() { shutdown(descriptor, Int32(SHUT_RDWR)) }

    /// Creates a TCP socket.
    package static func socket(isBlocking: Bool = true) -> Int32 {
        let flags = SOCK_CLOEXEC.rawValue | (isBlocking ? 0 : SOCK_NONBLOCK.rawValue)
        return Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue | flags), 0)
    }

    /// Connects a socket to a port of 127.0.0.1. Returns 0 or errno; `EINPROGRESS` for one that does not block.
    package static func connect(_ descriptor: Int32, to port: UInt16) -> Int32 {
        withAddress(port: port) { Glibc.connect(descriptor, $0, $1) == 0 ? 0 : errno }
    }

    private static func withAddress<Result>(
        port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
    ) -> Result {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        address.sin_port = port.bigEndian
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }
}
