extension Judgement {
    /// Judges the answer of a STUN server to the request for this machine's address.
    package static func stun(_ result: Result<String, ProbeFailure>, url: String) -> Finding {
        func warning(_ message: String, cure: String) -> Finding {
            Finding(
                "stun", .warning, "\(url) \(message)",
                cure: cure + "; without it only local addresses and relays are tried")
        }
        switch result {
        case .success(let address): return Finding("stun", .ok, "\(url) sees this machine as \(address)")
        case .failure(.refused):
            return warning(
                "does not run there: its machine reports that the port is closed", cure: "check its address and port")
        case .failure(.timedOut):
            return warning("did not answer", cure: "check its address, and that firewalls let UDP to it through")
        case .failure(.failed(let reason)): return warning("cannot be used: \(reason)", cure: "check its address")
        }
    }

    /// Judges a TURN server from which the peer backend requested a relayed address.
    /// - Parameters:
    ///   - hasRelay: Whether the backend got one.
    ///   - outcome: The server's answer to the doctor itself.
    ///   - now: Seconds since 1970, by the room server's clock if that is known.
    package static func turn(
        hasRelay: Bool, url: String, backend: String, outcome: TURNOutcome, username: String? = nil, now: Double
    ) -> Finding {
        func problem(_ message: String, cure: String) -> Finding {
            Finding("turn", .problem, "\(url) \(message)", cure: cure)
        }
        if hasRelay { return Finding("turn", .ok, "\(url) gave a relayed address") }
        let isTLS = url.lowercased().hasPrefix("turns:")
        switch outcome {
        case .allocated where isTLS:
            return Finding(
                "turn", .warning, "\(url) gives relayed addresses, but none to \(backend)",
                cure: "\(backend) may not support TLS to relays: name the server as turn: too")
        case .allocated:
            return problem(
                "gives relayed addresses, but none to \(backend)",
                cure:
                    "see the log of \(backend) (--log-level trace); name a relay on this machine by an address "
                    + "that others can reach, not by 127.0.0.1")
        case .needsCredentials:
            return problem(
                "requires a username and a credential", cure: "write them into the configuration file, under iceServers"
            )
        case .unauthorized:
            if let end = expiry(ofUsername: username), end < now {
                return problem(
                    "refuses the credential: it expired \(durationText(now - end)) ago",
                    cure: "get a fresh one: the part of the username before the colon is its time of expiry")
            }
            return problem(
                "refuses the username or the credential (401)",
                cure:
                    "check both; for time-limited ones check the shared secret, and the clocks of the TURN server "
                    + "and of the machine that makes them"
            )
        case .refused(let code, let reason):
            return problem(
                "refuses to relay: \(code) \(reason)", cure: "check the TURN server's configuration, limits and log")
        case .failed(.refused):
            return problem(
                "does not run there: its machine reports that the port is closed",
                cure: "start the TURN server, or check its address, port and transport")
        case .failed(.timedOut):
            let protocolName = isTLS || url.lowercased().hasSuffix("transport=tcp") ? "TCP" : "UDP"
            return problem(
                "did not answer in time",
                cure: "check its address, and that firewalls let \(protocolName) to it through")
        case .failed(.failed(let reason)):
            return problem("cannot be used: \(reason)", cure: "check its address and transport")
        }
    }

    /// Returns the expiry of a time-limited credential's user name (`SECONDS:NAME`, as in coturn's use-auth-secret), in
    /// seconds since 1970.
    package static func expiry(ofUsername username: String?) -> Double? {
        let digits = (username ?? "").prefix { $0 != ":" }
        guard digits.utf8.count == 10, digits.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) else { return nil }
        return Double(digits)
    }
}
