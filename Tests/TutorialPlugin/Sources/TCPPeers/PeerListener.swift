import Glibc
import TransportPluginAPI

/// Waits on 127.0.0.1 for the one connection that shows the right token. Lives on the loop.
final class PeerListener {
    /// The number of unknown connections that are read at a time, and for how long.
    private static let maximumStrangers = 8
    private static let handshakeTimeout = Duration.seconds(5)

    let port: UInt16
    private let descriptor: Int32
    private let loop: TransportLoop
    private let configuration: PeerConnectionConfiguration
    private let isRight: (PeerLink, String) -> Bool
    private var watch: LoopWatch?
    private var strangers: [ObjectIdentifier: (link: PeerLink, timer: LoopTimer)] = [:]

    /// - Parameter isRight: Called with each connection and the token that it shows; returns whether it takes the
    ///   connection.
    init(
        _ loop: TransportLoop, _ configuration: PeerConnectionConfiguration,
        isRight: @escaping (PeerLink, String) -> Bool
    ) throws(TransportError) {
        let descriptor = try makeSocket()
        var address = loopback(port: 0)
        let isListening = withSocketAddress(&address) { pointer, count in
            var length = count
            return bind(descriptor, pointer, count) == 0 && listen(descriptor, 8) == 0
                && getsockname(descriptor, pointer, &length) == 0
        }
        guard isListening else {
            let error = TransportError(.resourceExhausted, "cannot listen on 127.0.0.1: \(errorText())")
            Glibc.close(descriptor)
            throw error
        }
        self.descriptor = descriptor
        self.loop = loop
        self.configuration = configuration
        self.isRight = isRight
        port = UInt16(bigEndian: address.sin_port)
        watch = try loop.watch(descriptor, for: .readable) { [weak self] _ in self?.accept() }
    }

    func close() {
        guard let watch else { return }
        watch.cancel()
        self.watch = nil
        Glibc.close(descriptor)
        for (link, timer) in strangers.values {
            timer.cancel()
            link.close()
        }
        strangers = [:]
    }

    private func accept() {
        let socket = Glibc.accept(descriptor, nil, nil)
        guard socket >= 0 else { return }
        _ = fcntl(socket, F_SETFL, O_NONBLOCK)
        _ = fcntl(socket, F_SETFD, FD_CLOEXEC)
        guard strangers.count < Self.maximumStrangers else {
            Glibc.close(socket)
            return
        }
        let link = PeerLink(socket, loop, configuration)
        let id = ObjectIdentifier(link)
        let timer = loop.schedule(after: Self.handshakeTimeout) { [weak self] in self?.dismiss(id) }
        strangers[id] = (link, timer)
        link.start { [weak self] frame throws(TransportError) in
            self?.hear(frame, id)
        } onEnd: { [weak self] _ in
            self?.dismiss(id)
        } onRoom: {
        }
    }

    private func hear(_ frame: PeerFrame, _ id: ObjectIdentifier) {
        guard case .hello(let token) = frame, let (link, timer) = strangers.removeValue(forKey: id) else {
            return dismiss(id)
        }
        timer.cancel()
        if !isRight(link, token) { link.close() }
    }

    private func dismiss(_ id: ObjectIdentifier) {
        guard let (link, timer) = strangers.removeValue(forKey: id) else { return }
        timer.cancel()
        link.close()
    }
}
