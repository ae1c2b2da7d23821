internal import Glibc

/// A numeric address with its port, in the system's form.
struct SocketAddress {
    let text: String
    let family: Int32
    private let storage: sockaddr_storage
    private let length: socklen_t

    /// Creates an address. Nil: `text` is not a numeric address.
    init?(_ text: String, port: UInt16) {
        var hints = addrinfo()
        hints.ai_family = AF_UNSPEC
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(text, String(port), &hints, &list) == 0, let found = list else { return nil }
        defer { freeaddrinfo(list) }
        let entry = found.pointee
        guard Int(entry.ai_addrlen) <= MemoryLayout<sockaddr_storage>.size, let address = entry.ai_addr else {
            return nil
        }
        var storage = sockaddr_storage()
        withUnsafeMutableBytes(of: &storage) { target in
            target.copyMemory(from: UnsafeRawBufferPointer(start: address, count: Int(entry.ai_addrlen)))
        }
        self.text = text
        self.family = entry.ai_family
        self.storage = storage
        length = entry.ai_addrlen
    }

    /// Starts to connect a non-blocking socket. Returns 0 or errno.
    func connect(_ descriptor: Int32) -> Int32 {
        withUnsafePointer(to: storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                while Glibc.connect(descriptor, address, length) != 0 { if errno != EINTR { return errno } }
                return 0
            }
        }
    }

    static func local(of descriptor: Int32) -> String? { numeric(descriptor, getsockname) }

    static func remote(of descriptor: Int32) -> String? { numeric(descriptor, getpeername) }

    private static func numeric(
        _ descriptor: Int32,
        _ name: (Int32, UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32
    ) -> String? {
        var address = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        let isKnown = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                name(descriptor, address, &length) == 0
                    && [AF_INET, AF_INET6].contains(Int32(address.pointee.sa_family))
                    && getnameinfo(address, length, &text, socklen_t(text.count), nil, 0, NI_NUMERICHOST) == 0
            }
        }
        return isKnown ? String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self) : nil
    }

    /// Returns the addresses with alternating families, starting with the first one's (RFC 8305 §4).
    static func interleaved(_ addresses: [SocketAddress]) -> [SocketAddress] {
        guard let first = addresses.first?.family else { return [] }
        var preferred = addresses.filter { $0.family == first }[...]
        var others = addresses.filter { $0.family != first }[...]
        var result: [SocketAddress] = []
        while !preferred.isEmpty || !others.isEmpty {
            if let address = preferred.popFirst() { result.append(address) }
            if let address = others.popFirst() { result.append(address) }
        }
        return result
    }
}

extension TCPConnector {
    /// Returns the local address of a connected socket, without a port: ``SignalingConnection/localAddress``. Nil when
    /// the socket has none, such as one of the Unix domain.
    public static func localAddress(of descriptor: Int32) -> String? { SocketAddress.local(of: descriptor) }
}
