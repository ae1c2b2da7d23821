extension Judgement {
    /// Judges the room server's answer to the health request, step by step. `here` is this machine's time, in seconds
    /// since 1970.
    package static func server(
        _ answer: ServerAnswer, host: String, port: UInt16, isSecure: Bool, here: Double
    ) -> [Finding] {
        guard let address = answer.address else { return [unreachable(answer.failure, host: host, port: port)] }
        var findings = [Finding("port", .ok, "\(address), port \(port), takes connections")]
        let ahead = answer.clockOffset
        if let certificate = answer.certificate {
            findings.append(self.certificate(certificate, host: host, here: here, ahead: ahead?.ahead))
        } else if isSecure {
            findings.append(tls(answer.failure, host: host, port: port))
            return findings
        }
        let url = "\(isSecure ? "https" : "http")://\(host.contains(":") ? "[\(host)]" : host):\(port)/health"
        findings.append(health(answer, url: url))
        if let ahead {
            findings.append(
                clock(ahead: ahead.ahead, precision: ahead.precision, here: here, certificate: answer.certificate))
        } else if answer.status != nil {
            findings.append(
                Finding("clock", .warning, "the clocks were not compared: the server's answer has no Date header"))
        }
        return findings
    }

    private static func unreachable(_ failure: ProbeFailure?, host: String, port: UInt16) -> Finding {
        switch failure {
        case .refused?:
            Finding(
                "port", .problem, "nothing listens on \(host), port \(port): the connection was refused",
                cure: "start the server (room serve --port \(port)), or check the port in --server")
        case .timedOut?:
            Finding(
                "port", .problem, "\(host), port \(port), did not answer in time",
                cure: "check the address, and that firewalls let TCP to port \(port) through")
        case .failed(let reason)?:
            Finding(
                "port", .problem, "\(host), port \(port), cannot be reached: \(reason)",
                cure: "check the address, and this machine's routes (ip route)")
        case nil: Finding("port", .problem, "\(host) has no address")
        }
    }

    private static func tls(_ failure: ProbeFailure?, host: String, port: UInt16) -> Finding {
        switch failure {
        case .timedOut?:
            Finding(
                "tls", .problem, "\(host), port \(port), accepted the connection, but did not answer TLS in time",
                cure: "if the server there does not use TLS, write ws:// in --server; otherwise check whether it hangs")
        case .failed(let reason)?:
            Finding(
                "tls", .problem, "TLS with \(host), port \(port), failed: \(reason)",
                cure: "if the server there does not use TLS, write ws:// in --server")
        case .refused?, nil:
            Finding(
                "tls", .problem, "\(host), port \(port), ended the connection instead of speaking TLS",
                cure: "if the server there does not use TLS, write ws:// in --server")
        }
    }

    /// Judges a certificate. `here` and `ahead` are those of `clock`.
    package static func certificate(
        _ certificate: CertificateReport, host: String, here: Double, ahead: Double?
    ) -> Finding {
        func problem(_ message: String, cure: String) -> Finding {
            Finding("certificate", .problem, message, cure: cure)
        }
        // When the clock is wrong, the finding about the clock says so.
        let isRightByServer = ahead.map { certificate.isValid(at: here - $0) } ?? false
        let clockCure = "set this machine's clock (timedatectl set-ntp true)"
        switch certificate.verdict {
        case .trusted:
            let left = certificate.until - here
            if left < (certificate.until - certificate.from) / 10 {
                return Finding(
                    "certificate", .warning, "the certificate of \(host) expires in \(durationText(left))",
                    cure: "renew it on the server, and restart programs that read it only when they start")
            }
            return Finding("certificate", .ok, "the certificate of \(host) is trusted, for \(durationText(left)) more")
        case .expired where here <= certificate.until:
            return problem(
                "a certificate in the chain of \(host) has expired",
                cure: "renew the chain on the server, or check this machine's clock and authorities (ca-certificates)")
        case .expired:
            return problem(
                "the certificate of \(host) has expired, \(durationText(here - certificate.until)) ago by this "
                    + "machine's clock",
                cure: isRightByServer ? clockCure : "renew it on the server")
        case .notYetValid:
            return problem(
                "the certificate of \(host) is not yet valid, for \(durationText(certificate.from - here)) by this "
                    + "machine's clock",
                cure: isRightByServer ? clockCure : "check the clocks of this machine and of the one that issued it")
        case .wrongName:
            return problem(
                "the certificate is not for \(host), but for "
                    + "\(certificate.names.isEmpty ? "nobody" : certificate.names)",
                cure: "write a name of the certificate in --server, or get a certificate for \(host)")
        case .untrusted(let reason):
            return problem(
                "the certificate of \(host) is not trusted: \(reason) (its issuer: \(certificate.issuer))",
                cure: "name its authority with --tls-authorities FILE, or get a certificate of a public authority")
        }
    }

    private static func health(_ answer: ServerAnswer, url: String) -> Finding {
        switch answer.status {
        case 200?: return Finding("health", .ok, "\(url) reports that the server is well")
        case 503?:
            return Finding(
                "health", .problem, "\(url) answers 503: the server, or the proxy in front, is shutting down or full",
                cure: "wait, or see the server's log")
        case let status?:
            return Finding(
                "health", .warning, "\(url) answers \(status): this may not be a room server",
                cure: "compare the address with what `room serve` prints")
        case nil where answer.failure == .timedOut:
            return Finding(
                "health", .problem, "\(url) accepted the connection, but did not answer in time",
                cure: "check the server, and proxies on the way: one of them may hang")
        case nil:
            return Finding(
                "health", .warning, "\(url) gave no HTTP answer",
                cure: "compare the address with what `room serve` prints; a server with a certificate needs wss://")
        }
    }

    /// Judges this machine's clock against the server's.
    ///
    /// A client needs its clock only for certificates: it receives the lives of TURN credentials as durations. But
    /// making or checking anything with an expiry needs a right clock: join tokens may be 30 s off; TURN credentials
    /// are valid for an hour and are renewed half-way.
    /// - Parameters:
    ///   - ahead: The seconds by which this machine's clock is ahead of the server's.
    ///   - precision: The precision of `ahead`, in seconds.
    ///   - here: This machine's time, in seconds since 1970.
    package static func clock(
        ahead: Double, precision: Double, here: Double, certificate: CertificateReport? = nil
    ) -> Finding {
        let distance = max(0, abs(ahead) - precision)
        let text =
            "this machine's clock is \(durationText(abs(ahead))) \(ahead > 0 ? "ahead of" : "behind") the server's"
        let cure = "correct the clock that is wrong, and synchronise both (timedatectl set-ntp true)"
        if let certificate, certificate.isValid(at: here - ahead), !certificate.isValid(at: here) {
            let state = here > certificate.until ? "has expired" : "is not yet valid"
            return Finding("clock", .problem, "\(text): by it, the server's certificate \(state)", cure: cure)
        }
        switch distance {
        case ...30:
            let bound = Int((abs(ahead) + precision).rounded(.up))
            return Finding("clock", .ok, "this machine's clock and the server's agree, to \(bound) s")
        case ..<1800:
            return Finding(
                "clock", .warning, "\(text): join tokens made with it may be refused", cure: cure)
        default:
            return Finding(
                "clock", .problem,
                "\(text): TURN credentials and join tokens that are made or checked with it count as expired or "
                    + "not yet valid",
                cure: cure)
        }
    }

    /// Returns a span of time for people, in its largest unit.
    static func durationText(_ seconds: Double) -> String {
        let seconds = max(0, seconds)
        switch seconds {
        case ..<120: return "\(Int(seconds.rounded())) s"
        case ..<7200: return "\(Int((seconds / 60).rounded())) min"
        case ..<172_800: return "\(Int((seconds / 3600).rounded())) h"
        case ..<1e11: return "\(Int((seconds / 86_400).rounded())) days"
        default: return "ever"
        }
    }
}
