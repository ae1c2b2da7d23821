internal import Glibc
package import TransportPluginAPI
internal import WebSocketWire

extension Probes {
    /// Requests `/health` over HTTP from the first of `addresses` that accepts the connection, within `limit` in all.
    /// Sends no secrets, so it reads the answer even when the certificate is not trusted: it may explain why.
    package static func health(
        host: String, addresses: [String], port: UInt16, tls: TLSTrust?, within limit: Duration = .seconds(5)
    ) -> ServerAnswer {
        let deadline = Timestamp.now() + limit
        var answer = ServerAnswer()
        for address in addresses {
            do throws(ProbeFailure) {
                // One address that swallows packets must leave time for the others.
                let stream = try ProbeStream(
                    address, port: port, connectWithin: limit / addresses.count, deadline: deadline)
                answer.address = address
                if let tls { answer.certificate = try stream.startTLS(host: host, trust: tls) }
                // Without a zone, which has no meaning to others (RFC 6874 §4).
                let name = host.contains(":") ? "[\(host.prefix { $0 != "%" })]" : host
                answer.times.sent = realTime()
                try stream.write(
                    Array("GET /health HTTP/1.1\r\nHost: \(name):\(port)\r\nConnection: close\r\n\r\n".utf8))
                let head = try responseHead(from: stream)
                answer.times.received = realTime()
                answer.status = head?.status
                answer.date = head?.fields.value("date").flatMap { HTTPDate.parse($0, now: Int(realTime())) }
                    .map(Double.init)
                answer.failure = nil
            } catch {
                answer.failure = error
            }
            if answer.address != nil { break }
        }
        return answer
    }

    /// The head of the answer, or nil when what comes is none.
    private static func responseHead(from stream: ProbeStream) throws(ProbeFailure) -> ResponseHead? {
        var buffer = HTTPHeadBuffer<ResponseHead>()
        while true {
            let bytes = try stream.read()
            guard !bytes.isEmpty else { return nil }
            let progress = bytes.withUnsafeBytes { bytes in
                var rest = bytes
                return Result { () throws(HTTPHeadFailure) in try buffer.take(&rest) }
            }
            guard case .success(let head) = progress else { return nil }
            if let head { return head }
        }
    }

    /// Seconds since 1970.
    package static func realTime() -> Double { read(CLOCK_REALTIME) }

    static func read(_ clock: clockid_t) -> Double {
        var time = timespec()
        clock_gettime(clock, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}

/// Measures from its creation on how far the adjustable clock and the steady one diverge.
package struct ClockWatch: Sendable {
    private let real = Probes.read(CLOCK_REALTIME)
    private let monotonic = Probes.read(CLOCK_MONOTONIC)

    package init() {}

    /// Returns the measurements, in seconds.
    package func stop() -> (drift: Double, elapsed: Double) {
        let elapsed = Probes.read(CLOCK_MONOTONIC) - monotonic
        return (Probes.read(CLOCK_REALTIME) - real - elapsed, elapsed)
    }
}
