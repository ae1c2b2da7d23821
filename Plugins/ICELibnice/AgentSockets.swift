internal import Glibc
internal import TransportPluginAPI

/// The sockets of one agent on which data bypasses libnice: a twin for each of libnice's. One of them is selected for
/// sending.
final class AgentSockets {
    private(set) var all: [DataSocket] = []
    /// The socket for sending, while the selected path allows to bypass libnice.
    private(set) var outgoing: DataSocket?
    private let remoteAddress: UnsafeMutablePointer<sockaddr_storage>
    private var remoteAddressSize: socklen_t = 0

    init() {
        remoteAddress = .allocate(capacity: 1)
        remoteAddress.initialize(to: sockaddr_storage())
    }

    deinit { remoteAddress.deallocate() }

    /// Opens a twin for each of libnice's UDP sockets that has none. `onReadable` is called on the loop in each turn in
    /// which datagrams wait.
    func split(_ descriptors: [Int32], on loop: TransportLoop, onReadable: @escaping (Int32) -> Void) {
        for descriptor in descriptors where !hasTwin(of: descriptor) {
            if let socket = DataSocket(splitting: descriptor, on: loop, onReadable: onReadable) { all.append(socket) }
        }
    }

    func hasTwin(of descriptor: Int32) -> Bool { all.contains { $0.original == descriptor } }

    /// Selects the twin of `descriptor` for sending. `setRemote` fills in the address of the other side.
    func select(_ descriptor: Int32, setRemote: (UnsafeMutablePointer<sockaddr>) -> Void) {
        outgoing = all.first { $0.original == descriptor }
        remoteAddress.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
            setRemote(address)
            remoteAddressSize = socklen_t(
                Int32(address.pointee.sa_family) == AF_INET6
                    ? MemoryLayout<sockaddr_in6>.size : MemoryLayout<sockaddr_in>.size)
            let remote = IPAddress(address)
            let isHere = remote?.isLoopback == true || LocalAddress.all().contains { $0.bytes == remote?.bytes }
            outgoing?.setAggregation(isHere)
        }
    }

    /// Sends datagrams through libnice from now on.
    func deselect() { outgoing = nil }

    /// Sends all of `batch`. Returns false when datagrams have to go through libnice.
    @inline(__always)
    func send(_ batch: DatagramBatch) -> Bool {
        guard let outgoing else { return false }
        outgoing.send(batch, to: remoteAddress, size: remoteAddressSize)
        return true
    }

    /// Closes all but the selected one. Data that arrives on another of libnice's sockets then goes through libnice.
    func closeSpare() {
        guard let outgoing else { return }
        for socket in all where socket !== outgoing { socket.close() }
        all = [outgoing]
    }

    func close() {
        outgoing = nil
        for socket in all { socket.close() }
        all = []
    }
}
