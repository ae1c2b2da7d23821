internal import Glibc
internal import TransportValues
internal import WebSocketWire

/// A request to a proxy for a connection to an endpoint (RFC 9110 §9.3.6), over a socket that is connected to the
/// proxy. The caller keeps ownership of the socket. Belongs to the loop's thread.
final class ProxyTunnel {
    private let loop: TransportLoop
    private let descriptor: Int32
    private let endpoint: SignalingEndpoint
    private var buffer = HTTPHeadBuffer<ResponseHead>()
    private var watch: LoopWatch?
    private var done: ((TransportError?) -> Void)?

    /// - Parameter done: Called once, maybe inside `start`, not after `cancel`; with nil when the proxy has made the
    ///   connection.
    init(
        loop: TransportLoop, descriptor: Int32, endpoint: SignalingEndpoint, done: @escaping (TransportError?) -> Void
    ) {
        self.loop = loop
        self.descriptor = descriptor
        self.endpoint = endpoint
        self.done = done
    }

    func start() {
        let request = Self.request(for: endpoint)
        // An empty socket buffer accepts it at once.
        guard send(descriptor, request, request.count, Int32(MSG_NOSIGNAL)) == request.count else {
            return finish(closedByServer(String(cString: strerror(errno))))
        }
        do throws(TransportError) {
            watch = try loop.watch(descriptor, for: .readable) { _ in self.read() }
        } catch { finish(error) }
    }

    /// Idempotent.
    func cancel() {
        done = nil
        watch?.cancel()
        watch = nil
    }

    private func finish(_ error: TransportError?) {
        let done = done
        cancel()
        done?(error)
    }

    private func read() {
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = recv(descriptor, &bytes, bytes.count, 0)
        guard count > 0 else {
            if count < 0, errno == EAGAIN || errno == EINTR { return }
            return finish(closedByServer(count == 0 ? "it ended the connection" : String(cString: strerror(errno))))
        }
        bytes.withUnsafeBytes { take(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
    }

    private func take(_ bytes: UnsafeRawBufferPointer) {
        var rest = bytes
        while !rest.isEmpty, done != nil {
            let answer: ResponseHead?
            do throws(HTTPHeadFailure) { answer = try buffer.take(&rest) } catch {
                return finish(TransportError(.handshakeFailed, "\(target) did not answer as an HTTP proxy: \(error)"))
            }
            guard let answer else { return }
            if answer.isInterim { continue }
            guard (200..<300).contains(answer.status) else {
                return finish(HTTPRefusal(answer).error(fromProxyFor: endpoint))
            }
            // Neither a TLS server nor an HTTP server sends data first, so nothing may follow the answer.
            finish(
                rest.isEmpty
                    ? nil : TransportError(.handshakeFailed, "\(target) sent data after its answer: is it a proxy?"))
        }
    }

    private var target: String { endpoint.proxy.map { "the proxy \($0) for \(endpoint.url)" } ?? endpoint.url }

    private func closedByServer(_ reason: String) -> TransportError {
        TransportError(
            .handshakeFailed, "\(target) closed the connection when asked for a tunnel: \(reason)", isRetryable: true)
    }

    static func request(for endpoint: SignalingEndpoint) -> [UInt8] {
        let place = endpoint.authority
        var text = "CONNECT \(place) HTTP/1.1\r\nHost: \(place)\r\n"
        if let user = endpoint.proxy?.user {
            let credentials = Array("\(user):\(endpoint.proxy?.password ?? "")".utf8)
            text += "Proxy-Authorization: Basic \(Base64.encode(credentials))\r\n"
        }
        return Array((text + "\r\n").utf8)
    }
}
