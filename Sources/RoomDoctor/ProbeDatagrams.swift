internal import Glibc
internal import TransportPluginAPI

/// A UDP socket that is connected to one address. Blocks its thread.
final class ProbeDatagrams {
    private let descriptor: Int32
    private let deadline: Timestamp

    /// Connects to the numeric `address`, so that the system reports when nothing listens there.
    init(_ address: String, port: UInt16, deadline: Timestamp) throws(ProbeFailure) {
        let target = try SocketTarget(address, port: port, kind: SOCK_DGRAM)
        self.deadline = deadline
        descriptor = socket(target.family, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0, target.connect(descriptor) else { throw ProbeFailure(errno) }
    }

    /// Connects the socket to itself, by 127.0.0.1.
    init() throws(ProbeFailure) {
        let any = try SocketTarget("127.0.0.1", port: 0, kind: SOCK_DGRAM)
        deadline = .now() + .seconds(1)
        descriptor = socket(any.family, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var own = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let descriptor = descriptor
        let isConnected = withUnsafeMutablePointer(to: &own) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { own in
                any.bind(descriptor) && getsockname(descriptor, own, &length) == 0
                    && connect(descriptor, own, length) == 0
            }
        }
        guard isConnected else { throw ProbeFailure(errno) }
    }

    deinit { close(descriptor) }

    func send(_ bytes: [UInt8]) throws(ProbeFailure) {
        guard Glibc.send(descriptor, bytes, bytes.count, 0) == bytes.count else { throw ProbeFailure(errno) }
    }

    /// Sends `request`, again after 0.5 and 1.5 s, and returns the first datagram that answers it.
    func exchange(
        _ request: [UInt8], attempts: Int, _ isAnswer: ([UInt8]) -> Bool
    ) throws(ProbeFailure) -> [UInt8] {
        for attempt in 0..<attempts {
            try send(request)
            let turn = min(deadline, .now() + .milliseconds(500 << attempt))
            while let answer = try receive(until: turn) {
                if isAnswer(answer) { return answer }
            }
            if Timestamp.now() >= deadline { break }
        }
        throw .timedOut
    }

    /// Returns the next datagram, or nil when none arrived until `end`.
    private func receive(until end: Timestamp) throws(ProbeFailure) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: 1500)
        while case let left = end - .now(), left > .zero {
            var poller = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            let count = poll(&poller, 1, Int32(clamping: Int(left.inSeconds * 1000) + 1))
            if count == 0 || (count < 0 && errno == EINTR) { continue }
            let size = recv(descriptor, &bytes, bytes.count, Int32(MSG_DONTWAIT))
            if size >= 0 { return Array(bytes.prefix(size)) }
            guard errno == EAGAIN || errno == EINTR else { throw ProbeFailure(errno) }
        }
        return nil
    }
}
