internal import Glibc
internal import TransportPluginAPI

/// A port of 127.0.0.1 that answers nothing, not even a SYN: its accept queue is full and never drained.
package final class BlackHole: Sendable {
    package let port: UInt16
    private let descriptors: [Int32]

    package init() throws {
        let listener = try LoopbackListener(backlog: 0)
        port = listener.port
        var descriptors = [listener.descriptor]
        var isFull = false
        // A queue of 0 takes one connection. One that still waits after a while shows that the queue is full.
        while !isFull, descriptors.count <= 8 {
            let filler = LoopbackListener.socket(isBlocking: false)
            descriptors.append(filler)
            guard [0, EINPROGRESS].contains(LoopbackListener.connect(filler, to: port)) else { break }
            var poller = pollfd(fd: filler, events: Int16(POLLOUT), revents: 0)
            isFull = poll(&poller, 1, 100) == 0
        }
        self.descriptors = descriptors
        guard isFull else { throw ConformanceFailure("the test's black hole cannot be made: errno \(errno)") }
    }

    deinit { for descriptor in descriptors { close(descriptor) } }
}
