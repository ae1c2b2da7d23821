internal import COpenSSL
internal import Glibc
internal import TransportPluginAPI
internal import TransportTestKit

/// Terminates TLS in front of a plain server on 127.0.0.1: one thread accepts, one per connection moves bytes.
// SAFETY: everything but `log` is constant; OpenSSL's context counts its references atomically.
public final class TLSFront: @unchecked Sendable {
    public var port: UInt16 { listener.port }
    private let listener: LoopbackListener
    private let backend: UInt16
    private let tls: OpaquePointer
    private let log = Locked<[String]>([])

    /// The server names that clients asked for by SNI.
    public var serverNames: [String] { log.withLock { $0 } }

    /// - Parameter backend: The plain server's port.
    public init(certificate: String, key: String, backend: UInt16) throws {
        guard let tls = SSL_CTX_new(TLS_server_method()),
            SSL_CTX_use_certificate_chain_file(tls, certificate) == 1,
            SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) == 1
        else { throw TransportError(.invalidArgument, "no TLS context from \(certificate)") }
        signal(SIGPIPE, SIG_IGN)
        // A thousand connections must leave nothing here: it would count as the client's leak.
        SSL_CTX_ctrl(tls, SSL_CTRL_SET_SESS_CACHE_MODE, Int(SSL_SESS_CACHE_OFF), nil)
        self.tls = tls
        self.backend = backend
        listener = try LoopbackListener()
        _ = DetachedThread.start { [self] in
            listener.acceptAll { client in _ = DetachedThread.start { self.serve(client) } }
        }
    }

    // The context belongs to the object, which every thread retains: a connection may begin after `stop()`.
    deinit { SSL_CTX_free(tls) }

    public func stop() { listener.stop() }

    private func serve(_ client: Int32) {
        defer { close(client) }
        guard let ssl = SSL_new(tls) else { return }
        defer { SSL_free(ssl) }
        SSL_set_fd(ssl, client)
        guard SSL_accept(ssl) == 1 else { return }
        let name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name).map { String(cString: $0) } ?? ""
        log.withLock { $0 = $0.suffix(63) + [name] }
        let server = LoopbackListener.socket()
        defer { close(server) }
        guard LoopbackListener.connect(server, to: backend) == 0 else { return }
        for descriptor in [client, server] {
            _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL, 0) | O_NONBLOCK)
            var on: Int32 = 1
            setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, 4)
            // Small, so that back-pressure passes through whatever the system's limits are.
            var size: Int32 = 65_536
            setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, 4)
            setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &size, 4)
        }
        var pump = Pump(ssl: ssl, client: client, server: server)
        pump.run()
    }
}

/// Moves bytes both ways, at most one block waiting in each direction.
private struct Pump {
    let ssl: OpaquePointer
    let client: Int32
    let server: Int32
    private var toServer: [UInt8] = []
    private var toClient: [UInt8] = []

    init(ssl: OpaquePointer, client: Int32, server: Int32) {
        self.ssl = ssl
        self.client = client
        self.server = server
    }

    mutating func run() {
        var block = [UInt8](repeating: 0, count: 16_384)
        var clientHasEnded = false
        var serverHasEnded = false
        while true {
            var hasMoved = false
            if toServer.isEmpty, !clientHasEnded {
                let count = SSL_read(ssl, &block, Int32(block.count))
                if count > 0 {
                    toServer = Array(block[..<Int(count)])
                    hasMoved = true
                } else if !wantsMore(count) {
                    clientHasEnded = true
                }
            }
            if !toServer.isEmpty {
                let count = Glibc.send(server, toServer, toServer.count, Int32(MSG_NOSIGNAL))
                if count > 0 {
                    toServer.removeFirst(count)
                    hasMoved = true
                } else if errno != EAGAIN {
                    return
                }
            }
            if toClient.isEmpty, !serverHasEnded {
                let count = recv(server, &block, block.count, 0)
                if count > 0 {
                    toClient = Array(block[..<count])
                    hasMoved = true
                } else if count == 0 || errno != EAGAIN {
                    if count < 0 {
                        var linger = Glibc.linger(l_onoff: 1, l_linger: 0)
                        setsockopt(
                            client, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<Glibc.linger>.size))
                        return
                    }
                    serverHasEnded = true
                }
            }
            if !toClient.isEmpty {
                let count = SSL_write(ssl, toClient, Int32(toClient.count))
                if count > 0 {
                    toClient.removeFirst(Int(count))
                    hasMoved = true
                } else if !wantsMore(count) {
                    return
                }
            }
            if clientHasEnded, toServer.isEmpty { return }
            if serverHasEnded, toClient.isEmpty {
                // close_notify ends the stream (RFC 8446 §6.1); TCP's own end must add nothing to it, so it comes after
                // the client's.
                SSL_shutdown(ssl)
                while wait(clientHasEnded, serverHasEnded), SSL_read(ssl, &block, Int32(block.count)) > 0 {}
                return
            }
            if !hasMoved, !wait(clientHasEnded, serverHasEnded) { return }
        }
    }

    private func wantsMore(_ count: Int32) -> Bool {
        let error = SSL_get_error(ssl, count)
        return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE
    }

    private func wait(_ clientHasEnded: Bool, _ serverHasEnded: Bool) -> Bool {
        func events(read: Bool, write: Bool) -> Int16 {
            Int16((read ? POLLIN : 0) | (write ? POLLOUT : 0))
        }
        var polled = [
            pollfd(
                fd: client, events: events(read: toServer.isEmpty && !clientHasEnded, write: !toClient.isEmpty),
                revents: 0),
            pollfd(
                fd: server, events: events(read: toClient.isEmpty && !serverHasEnded, write: !toServer.isEmpty),
                revents: 0),
        ]
        guard poll(&polled, 2, 60_000) > 0 else { return false }
        // An end that nobody polls for must end the connection too, not spin.
        return !polled.contains { $0.revents != 0 && $0.revents & $0.events == 0 }
    }
}
