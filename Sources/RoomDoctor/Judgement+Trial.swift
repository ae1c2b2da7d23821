internal import RoomConnection
internal import TransportPluginAPI

extension Judgement {
    /// Judges two participants' trial of a room: `join`, `ice`, `dtls` and `messages`, as far as it got.
    package static func trial(_ record: TrialRecord) -> [Finding] {
        let way = record.isRelayOnly ? "by relay only: " : ""
        guard let joinTime = record.joinTime else { return [notJoined(record)] }
        var findings = [
            Finding("join", .ok, "\(way)two participants joined the room \(record.room) in \(text(joinTime))")
        ]
        if let connectTime = record.connectTime {
            findings += connected(record, in: connectTime, way)
            if let messages = messages(record, way) { findings.append(messages) }
        } else if let failure = record.failure {
            findings.append(
                Finding(
                    "ice", .problem, "\(way)a participant lost its place in the room: \(failure.message)",
                    cure: "see the room server's log"))
        } else {
            findings += notConnected(record, way)
        }
        return findings
    }

    /// The finding that nothing was tried, since the room server could not be reached.
    package static func roomNotTried() -> Finding {
        Finding(
            "join", .problem, "no room was tried: the room server cannot be reached",
            cure: "see the findings about the room server")
    }

    /// The finding that there is no relay to try.
    package static func relays(_ record: TrialRecord) -> Finding? {
        guard record.joinTime != nil, !record.hasRelays else { return nil }
        return Finding(
            "turn", .warning,
            "neither the room server nor the configuration names a TURN server: if there is no direct path to a "
                + "peer, it cannot be reached",
            cure: "run one, and configure the room server with it (room serve --turn-uri, --turn-secret-file)")
    }

    private static func notJoined(_ record: TrialRecord) -> Finding {
        let failure = record.failure
        let cure =
            switch failure?.protocolCode {
            case .unauthorized, .tokenExpired:
                "give a token with --token that is valid for the room \(record.room), for a host, and for any name"
            case .nameTaken, .roomExists, ProtocolError.Code(rawValue: "host_exists"):
                "choose an empty room"
            case .some: "check the room server's limits and log"
            case nil: "see the findings about the room server"
            }
        return Finding(
            "join", .problem, "the room \(record.room) was not joined: \(failure?.message ?? "nothing says why")",
            cure: cure)
    }

    private static func connected(_ record: TrialRecord, in time: Duration, _ way: String) -> [Finding] {
        var ice = Finding("ice", .ok, "\(way)the participants have a path to each other")
        if let path = record.path {
            ice.message += " (\(path.local.rawValue) to \(path.remote.rawValue)): \(path.summary)"
        }
        return [ice, Finding("dtls", .ok, "\(way)the connection was up and encrypted after \(text(time))")]
    }

    private static func notConnected(_ record: TrialRecord, _ way: String) -> [Finding] {
        guard let stall = record.stall else {
            return [
                Finding(
                    "ice", .problem, "\(way)the participants did not connect, and nothing says why",
                    cure: "look for a firewall on this machine that forbids UDP; --log-level trace shows more")
            ]
        }
        let isBehindICE: [PeerStall.Code] = [
            .handshakeUnanswered, .fingerprintMismatch, .channelsUnanswered, .channelNotOpen, .datagramsTooLarge,
        ]
        guard isBehindICE.contains(stall.code) else {
            return [
                Finding(
                    "ice", .problem, "\(way)the participants found no path to each other: \(stall.message)",
                    cure: stall.cure)
            ]
        }
        return [
            Finding("ice", .ok, "\(way)the participants have a path to each other"),
            Finding("dtls", .problem, "\(way)the connection did not come up: \(stall.message)", cure: stall.cure),
        ]
    }

    private static func messages(_ record: TrialRecord, _ way: String) -> Finding? {
        let through = record.exchanges.filter { $0.time != nil }
        let list = through.map { "\(bytes($0.size)) in \(text($0.time ?? .zero))" }.joined(separator: ", ")
        guard let lost = record.exchanges.first(where: { $0.time == nil }) else {
            guard !through.isEmpty else { return nil }
            return Finding("messages", .ok, "\(way)messages arrived in both directions: \(list)")
        }
        guard !through.isEmpty else {
            return Finding(
                "messages", .problem,
                "\(way)the connection is up, but a message of \(bytes(lost.size)) did not arrive",
                cure: "look for something between the two that drops packets; --log-level trace shows more")
        }
        return Finding(
            "messages", .problem,
            "\(way)a message of \(bytes(lost.size)) did not arrive in both directions; smaller ones did: \(list)",
            cure: "large packets may be dropped: try a smaller one (peerOptions: {max-datagram-size: 1000})")
    }

    private static func text(_ time: Duration) -> String { "\(Int((time.inSeconds * 1000).rounded())) ms" }

    private static func bytes(_ count: Int) -> String {
        switch count {
        case ..<1024: "\(count) bytes"
        case ..<(1 << 20): "\(count >> 10) KiB"
        default: "\(count >> 20) MiB"
        }
    }
}
