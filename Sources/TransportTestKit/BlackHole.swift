internal import Glibc
internal import TransportPluginAPI

/// A port of 127.0.0.1 that answers nothing, not even a SYN: its accept queue is full and never drained.
final class BlackHole: Sendable {
    let port: UInt16
    private let descriptors: [Int32]

    init() throws {
        let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        let listener = socket(AF_INET, type, 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        var descriptors = [listener]
        let isFull = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                guard bind(listener, address, length) == 0, listen(listener, 0) == 0,
                    getsockname(listener, address, &length) == 0
                else { return false }
                // A queue of 0 takes one connection. One that still waits after a while shows that the queue is full.
                for _ in 0..<8 {
                    let filler = socket(AF_INET, type | Int32(SOCK_NONBLOCK.rawValue), 0)
                    descriptors.append(filler)
                    guard connect(filler, address, length) == 0 || errno == EINPROGRESS else { return false }
                    var poller = pollfd(fd: filler, events: Int16(POLLOUT), revents: 0)
                    if poll(&poller, 1, 100) == 0 { return true }
                }
                return false
            }
        }
        port = UInt16(bigEndian: address.sin_port)
        self.descriptors = descriptors
        guard isFull else { throw ConformanceFailure("the test's black hole cannot be made: errno \(errno)") }
    }

    deinit { for descriptor in descriptors { close(descriptor) } }
}
