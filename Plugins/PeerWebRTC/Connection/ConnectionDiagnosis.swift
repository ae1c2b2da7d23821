internal import TransportPluginAPI

/// Candidates of one side and one generation, by what matters for a path.
struct CandidateTally: Equatable {
    private(set) var host = 0
    private(set) var reflexive = 0
    private(set) var relay = 0
    /// Names that stand for addresses which a browser hides (`….local`), and other names.
    private(set) var names = 0
    private(set) var tcp = 0
    private(set) var ipv4 = 0
    private(set) var ipv6 = 0
    var isComplete = false

    var isEmpty: Bool { count == 0 }
    private var count: Int { host + reflexive + relay + names + tcp }

    /// Counts a line that begins with `candidate:` (RFC 8839 §5.1). Other lines are ignored.
    mutating func add(_ line: String) {
        let words = line.split(separator: " ", maxSplits: 8)
        guard words.count >= 8, count < 1024 else { return }
        let address = words[4]
        guard words[2].lowercased() == "udp" else {
            tcp += 1
            return
        }
        if address.contains(":") {
            ipv6 += 1
        } else if address.utf8.allSatisfy({ $0 == UInt8(ascii: ".") || (0x30...0x39).contains($0) }) {
            ipv4 += 1
        } else {
            names += 1
            return
        }
        switch words[7] {
        case "host": host += 1
        case "relay": relay += 1
        default: reflexive += 1
        }
    }

    /// The counts in words: `2 host, 1 srflx`.
    var description: String {
        let kinds = [
            (host, "host"), (reflexive, "srflx"), (relay, "relay"), (names, "named"), (tcp, "tcp"),
        ]
        let text = kinds.filter { $0.0 > 0 }.map { "\($0.0) \($0.1)" }.joined(separator: ", ")
        return text.isEmpty ? "none" : text
    }
}

/// Finds the layer that a connection waits for, from the state of each. Pure.
struct ConnectionDiagnosis: Equatable {
    /// The state of a layer.
    enum Layer: Equatable {
        /// The layer below is not up.
        case unreached
        /// Its handshake was begun, and the other side has not taken part.
        case unanswered
        case up
    }

    var local = CandidateTally()
    var remote = CandidateTally()
    /// The other side's description of the latest round is here.
    var isAnswered = false
    /// Only relayed candidates may be offered.
    var isRelayOnly = false
    /// The URLs of the relays of this side.
    var relays: [String] = []
    /// A pair was found by the latest round.
    var hasPath = false
    /// The other side has been silent since the path was found, or for a while.
    var isSilent = false
    var encryption = Layer.unreached
    var association = Layer.unreached

    /// The stall of the missing layer; nil when none is missing, or none that is known here.
    var stall: PeerStall? {
        guard isAnswered else { return local.isComplete && local.isEmpty ? withoutLocalCandidates : nil }
        guard hasPath else { return withoutPath }
        switch (encryption, association) {
        case (.unanswered, _), (.unreached, _):
            return PeerStall(
                .handshakeUnanswered, "a path was found, but the DTLS handshake over it is not answered",
                cure: "check that nothing between the two machines filters UDP by content or size, and see the "
                    + "other side's log"
            )
        case (.up, .unanswered), (.up, .unreached):
            return PeerStall(
                .channelsUnanswered, "the encryption is up, but the SCTP handshake over it is not answered",
                cure: "check that the other side wants data channels, and that packets of 1280 bytes pass between "
                    + "the machines"
            )
        case (.up, .up):
            guard isSilent else { return nil }
            return PeerStall(
                .pathSilent, "a path was found, but nothing arrives over it from the other side",
                cure: "check that the other side runs and is not suspended, and that no firewall drops UDP flows "
                    + "after a while"
            )
        }
    }

    private var withoutPath: PeerStall {
        if local.isEmpty { return withoutLocalCandidates }
        if remote.isEmpty {
            return PeerStall(
                .noRemoteCandidates,
                remote.isComplete
                    ? "the other side has found no candidate to offer"
                    : "the other side has sent its description, but no candidate",
                cure: "see the other side's events; run room doctor on its machine")
        }
        if let unusable { return unusable }
        return PeerStall(
            .checksUnanswered,
            "no connectivity check is answered: this side offers \(local.description); the other side "
                + remote.description,
            cure: local.relay + remote.relay == 0
                ? "let UDP pass between the two machines, or configure a TURN server (room serve --turn-uri)"
                : "let UDP pass between the machines and the TURN server; run room doctor with the server's URL on both"
        )
    }

    private var withoutLocalCandidates: PeerStall {
        if isRelayOnly {
            let asked = relays.isEmpty ? "none is configured" : "asked: " + relays.prefix(4).joined(separator: ", ")
            return PeerStall(
                .noRelay, "only relayed candidates may be offered, and no TURN server has provided one (\(asked))",
                cure: relays.contains { !$0.hasPrefix("turns:") }
                    ? "check the server's address, credentials and ports: room doctor asks it"
                    : "configure a server with turn: (room serve --turn-uri); not every backend speaks turns:")
        }
        guard local.isComplete else {
            return PeerStall(
                .gathering, "this side is still looking for candidates to offer",
                cure: "check that the STUN and TURN servers answer: room doctor asks them")
        }
        return PeerStall(
            .noLocalCandidates, "this side has found no candidate to offer",
            cure: "connect this machine to a network, and see room doctor for its interfaces")
    }

    /// The reason why no candidate of the other side can be reached from here.
    private var unusable: PeerStall? {
        let addresses = remote.ipv4 + remote.ipv6
        if addresses == 0 {
            return PeerStall(
                .noUsableCandidates,
                "the other side offers only "
                    + (remote.tcp > 0 ? "TCP" : "names that cannot be resolved here (mDNS)")
                    + ": \(remote.description)",
                cure: "configure a STUN or TURN server (room serve --stun-uri), or let the browser show its addresses")
        }
        let hasCommonFamily = local.ipv4 > 0 && remote.ipv4 > 0 || local.ipv6 > 0 && remote.ipv6 > 0
        // A relay may have the other family.
        guard !hasCommonFamily, local.relay + remote.relay == 0 else { return nil }
        let (ours, theirs) = local.ipv6 > 0 ? ("IPv6", "IPv4") : ("IPv4", "IPv6")
        return PeerStall(
            .noUsableCandidates, "this side has only \(ours) addresses, and the other side offers only \(theirs) ones",
            cure: "give both machines an address of the same family, or configure a TURN server with both")
    }
}
