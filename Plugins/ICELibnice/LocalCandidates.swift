internal import TransportPluginAPI

/// Decides which candidates of this side are reported: those of libnice, and the server-reflexive ones that STUN
/// servers show. Pure.
struct LocalCandidates: Equatable {
    /// Priorities of host candidates, by address and port.
    private var hostPriorities: [String: UInt32] = [:]
    /// Addresses and ports of server-reflexive candidates that were reported.
    private var reflexive: Set<String> = []

    /// libnice has found a candidate. Returns false if it was reported before: a relay reports the same address as a
    /// STUN server.
    mutating func found(_ candidate: NiceCandidateValue) -> Bool {
        switch candidate.kind {
        case .srflx: return reflexive.insert(candidate.name).inserted
        case .host:
            if candidate.isUDP { hostPriorities[candidate.name] = candidate.priority }
            return true
        default: return true
        }
    }

    /// A STUN server sees the socket `index`, bound to `base`, at `address`. Returns the line of the candidate;
    /// nil where there is nothing new to report (RFC 8445 §5.1.3: where it is the base's own address).
    mutating func reflexiveLine(
        _ index: Int, base: IPEndpoint, seenAt address: IPEndpoint
    ) -> String? {
        let name = "\(address.host) \(address.port)"
        guard let basePriority = hostPriorities["\(base.host) \(base.port)"], hostPriorities[name] == nil,
            reflexive.insert(name).inserted
        else { return nil }
        // RFC 8445 §5.1.2.1: as its base, except for the preference of the type.
        let priority = 100 << 24 | basePriority & 0xFF_FFFF
        return "candidate:S\(index) 1 UDP \(priority) \(name) typ srflx raddr \(base.host) rport \(base.port)"
    }

    /// The path of a pair. libnice learns the address of a peer-reflexive candidate from a check's answer, where a STUN
    /// server may have shown it before.
    func path(local: NiceCandidateValue, remote: NiceCandidateValue) -> PeerPath {
        let isReflexive = local.kind == .prflx && reflexive.contains(local.name)
        return PeerPath(
            local: isReflexive ? .srflx : local.kind, remote: remote.kind,
            summary: "\(local.isUDP ? "udp" : "tcp") \(local.text) → \(remote.text)",
            localAddress: local.kind == .relay ? nil : local.baseHost)
    }
}
