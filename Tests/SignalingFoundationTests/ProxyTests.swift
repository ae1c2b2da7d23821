import Glibc
import SignalingFoundation
import Testing
import TransportPluginAPI
import TransportTestKit

/// An HTTP proxy that does CONNECT and nothing else.
private final class TestProxy: Sendable {
    let server: RawServer
    let requests = Locked<[String]>([])

    init(answer: String? = nil) throws {
        let requests = requests
        server = try RawServer { client in
            guard let request = client.readHead(), request.hasPrefix("CONNECT ") else { return }
            requests.withLock { $0 = $0.suffix(63) + [request] }
            if let answer {
                client.write(Array(answer.utf8))
                return client.drain()
            }
            let target = request.split(separator: " ")[1].split(separator: ":")
            guard target.count == 2, let port = UInt16(target[1]), let target = Self.connect(String(target[0]), port)
            else {
                client.write(Array("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n".utf8))
                return client.drain()
            }
            client.write(Array("HTTP/1.1 200 Connection established\r\n\r\n".utf8))
            // Small, so that back-pressure passes through.
            for descriptor in [client.descriptor, target] {
                var size: Int32 = 65_536
                setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, 4)
                setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &size, 4)
            }
            let isDone = Latch()
            let client = client.descriptor
            _ = DetachedThread.start {
                Self.copy(from: target, to: client)
                isDone.open()
            }
            Self.copy(from: client, to: target)
            isDone.wait()
            close(target)
        }
    }

    private static func connect(_ host: String, _ port: UInt16) -> Int32? {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        guard inet_pton(AF_INET, host, &address.sin_addr) == 1 else { return nil }
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        let isConnected = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
        if !isConnected { close(descriptor) }
        return isConnected ? descriptor : nil
    }

    private static func copy(from source: Int32, to target: Int32) {
        var block = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = recv(source, &block, block.count, 0)
            if count < 0, errno == EAGAIN || errno == EINTR { continue }
            guard count > 0 else { break }
            var done = 0
            while done < count {
                let sent = block.withUnsafeBytes {
                    send(target, $0.baseAddress! + done, count - done, Int32(MSG_NOSIGNAL))
                }
                if sent < 0, errno == EAGAIN || errno == EINTR { continue }
                guard sent > 0 else {
                    shutdown(source, Int32(SHUT_RDWR))
                    return
                }
                done += sent
            }
        }
        shutdown(target, Int32(SHUT_WR))
    }
}

/// Opened once by one thread, waited for by another.
private final class Latch: @unchecked Sendable {
    // SAFETY: a semaphore is made for this.
    private let semaphore = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)
    init() { sem_init(semaphore, 0, 0) }
    deinit {
        sem_destroy(semaphore)
        semaphore.deallocate()
    }
    func open() { sem_post(semaphore) }
    func wait() { while sem_wait(semaphore) != 0 {} }
}

@Suite struct FoundationThroughAProxy {
    static let subject = SignalingSubject(
        capabilities: FoundationSignaling.plugin().descriptor.capabilities,
        makeTransport: { try FoundationSignaling() },
        front: { port in
            let proxy = try TestProxy()
            var endpoint = try SignalingEndpoint(url: "ws://127.0.0.1:\(port)/")
            endpoint.proxy = .init(host: "127.0.0.1", port: proxy.server.port)
            return SignalingFront(endpoint) { proxy.server.stop() }
        })

    /// A name that the proxy resolves is not ours to fail on, hence one clause less.
    @Test(arguments: SignalingConformance.clauses(of: subject))
    func keepsTheContractThroughAProxy(_ clause: ConformanceClause) async throws { try await clause.run() }

    private func error(answer: String) async throws -> (TransportError?, [String]) {
        let proxy = try TestProxy(answer: answer)
        defer { proxy.server.stop() }
        let transport = try FoundationSignaling()
        var endpoint = try SignalingEndpoint(url: "ws://example.invalid:8080/")
        endpoint.proxy = .init(host: "127.0.0.1", port: proxy.server.port)
        endpoint.headers = [("Authorization", "secret")]
        var error: TransportError?
        do throws(TransportError) { _ = try await transport.connect(to: endpoint) } catch let caught { error = caught }
        await transport.shutdown()
        return (error, proxy.requests.withLock { $0 })
    }

    @Test func aRefusingProxyIsToldWithItsStatus() async throws {
        let (error, requests) = try await error(answer: "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
        #expect(error?.code == .refused && error?.status == 407)
        #expect(error?.message.contains("proxy") == true)
        // The name is the proxy's to resolve, and the server's headers are not for it.
        #expect(requests == ["CONNECT example.invalid:8080 HTTP/1.1\r\nHost: example.invalid:8080\r\n\r\n"])
    }

    @Test func aProxyThatIsNoneIsTold() async throws {
        let (error, _) = try await error(answer: "220 mail.example.org ESMTP\r\n")
        #expect(error?.code == .handshakeFailed)
        #expect(error?.message.contains("proxy") == true)
    }
}
