internal import CommandLineIO
internal import TransportPluginAPI

/// A signal of the bare transport as it travels between the two processes.
struct BenchmarkSignal: Sendable {
    var index: Int
    var kind: String
    var text: String
    var mediaID: String
    var fragment: String

    init(_ object: [String: Any]) {
        func text(_ key: String) -> String { object[key] as? String ?? "" }
        index = Int(text("index")) ?? 0
        kind = text("kind")
        self.text = text("text")
        mediaID = text("mid")
        fragment = text("ufrag")
    }

    func value<Transport>() -> BareSubject<Transport>.Signal {
        if let kind = SessionDescription.Kind(rawValue: kind) {
            return .description(SessionDescription(kind: kind, text: text))
        }
        return .candidate(
            PeerCandidate(
                text: text, mediaID: mediaID, mediaLineIndex: 0, usernameFragment: fragment.isEmpty ? nil : fragment))
    }
}

extension BareSubject.Signal {
    func line(_ index: Int) -> JSONLine {
        var line = JSONLine(event: "signal")
        line.add("index", String(index))
        switch self {
        case .description(let description):
            line.add("kind", description.kind.rawValue)
            line.add("text", description.text)
        case .candidate(let candidate):
            line.add("kind", "candidate")
            line.add("text", candidate.text)
            line.add("mid", candidate.mediaID ?? "")
            line.add("ufrag", candidate.usernameFragment ?? "")
        }
        return line
    }
}
