package import TransportPluginAPI

extension Probes {
    /// Requests an allocation from a TURN server, within `limit`: from the first of `addresses` that answers.
    package static func allocation(
        _ url: ICEServerURL, addresses: [String], username: String?, password: String?, trust: TLSTrust,
        within limit: Duration = .milliseconds(3500)
    ) -> TURNOutcome {
        let deadline = Timestamp.now() + limit
        let allocation = TURNAllocation(username: username, password: password)
        var outcome = TURNOutcome.failed(.failed("it has no address"))
        for address in addresses where Timestamp.now() < deadline {
            do throws(ProbeFailure) {
                let share = min(deadline, .now() + limit / addresses.count)
                outcome =
                    switch url.transport {
                    case .udp: try byDatagrams(allocation, address, url.port, share)
                    case .tcp: try byStream(allocation, address, url, trust, share)
                    }
            } catch {
                outcome = .failed(error)
            }
            if case .failed = outcome { continue }
            break
        }
        return outcome
    }

    private static func byDatagrams(
        _ allocation: TURNAllocation, _ address: String, _ port: UInt16, _ deadline: Timestamp
    ) throws(ProbeFailure) -> TURNOutcome {
        let socket = try ProbeDatagrams(address, port: port, deadline: deadline)
        return allocation.run { request, bytes throws(ProbeFailure) in
            var answer: STUNMessage?
            _ = try socket.exchange(bytes, attempts: 3) {
                answer = STUNMessage($0, answering: request.transaction)
                return answer != nil
            }
            guard let answer else { throw .timedOut }
            return answer
        } send: { bytes throws(ProbeFailure) in
            try socket.send(bytes)
        }
    }

    private static func byStream(
        _ allocation: TURNAllocation, _ address: String, _ url: ICEServerURL, _ trust: TLSTrust, _ deadline: Timestamp
    ) throws(ProbeFailure) -> TURNOutcome {
        let stream = try ProbeStream(
            address, port: url.port, connectWithin: deadline - .now(), deadline: deadline)
        if url.scheme == .turns {
            let certificate = try stream.startTLS(host: url.host, trust: trust)
            // Credentials go only to a server that the certificate names.
            guard certificate.verdict == .trusted else {
                throw .failed("its certificate is not trusted: \(certificate.verdict)")
            }
        }
        var received: [UInt8] = []
        return allocation.run { request, bytes throws(ProbeFailure) in
            try stream.write(bytes)
            while true {
                // RFC 8489 §6.2.2: messages follow each other; the header has the length.
                if received.count >= 20 {
                    let count = 20 + (Int(received[2]) << 8 | Int(received[3]))
                    if received.count >= count {
                        let answer = STUNMessage(Array(received.prefix(count)), answering: request.transaction)
                        received.removeFirst(count)
                        guard let answer else { throw .failed("it does not speak STUN") }
                        return answer
                    }
                }
                let more = try stream.read()
                guard !more.isEmpty else { throw .failed("it ended the connection") }
                received += more
            }
        } send: { bytes throws(ProbeFailure) in
            try stream.write(bytes)
        }
    }
}
