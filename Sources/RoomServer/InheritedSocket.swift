internal import Glibc

/// Listening sockets that were opened by another process.
enum InheritedSocket {
    /// Returns the descriptor if it is a TCP socket that listens, and keeps it from programs that this one starts.
    static func checked(_ descriptor: Int32) throws(RoomServerError) -> Int32 {
        func option(_ name: Int32) -> Int32? {
            var value: Int32 = 0
            var length = socklen_t(MemoryLayout<Int32>.size)
            return getsockopt(descriptor, SOL_SOCKET, name, &value, &length) == 0 ? value : nil
        }
        guard option(SO_ACCEPTCONN) == 1, let domain = option(SO_DOMAIN), [AF_INET, AF_INET6].contains(domain),
            option(SO_TYPE) == Int32(SOCK_STREAM.rawValue)
        else {
            throw RoomServerError(
                message: "Descriptor \(descriptor) is no TCP socket that listens: with systemd, "
                    + "ListenStream= needs a port, with an address or without.")
        }
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        return descriptor
    }
}
