internal import Foundation
internal import TransportBenchmark
internal import TransportPluginAPI

/// A signal of the bare transport as it travels between the two processes.
struct BenchSignal: Sendable {
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

/// Requests from standard input, and signals for the bare transport among them.
final class BenchRequests: Sendable {
    private struct State {
        var early: [BenchSignal] = []
        var onSignal: (@Sendable (BenchSignal) -> Void)?
    }

    let stream: AsyncStream<[String: any Sendable]>
    private let state = Locked(State())

    init() {
        let (stream, feed) = AsyncStream.makeStream(of: [String: any Sendable].self)
        self.stream = stream
        let state = state
        let thread = Thread {
            while let line = readLine() {
                guard let object = try? JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any] else {
                    continue
                }
                if object["do"] as? String == "signal" {
                    let signal = BenchSignal(object)
                    let handler = state.withLock { state in
                        if state.onSignal == nil { state.early.append(signal) }
                        return state.onSignal
                    }
                    handler?(signal)
                } else {
                    feed.yield(Self.request(object))
                }
            }
            // Whoever asked is gone.
            exit(0)
        }
        thread.start()
    }

    private static func request(_ object: [String: Any]) -> [String: any Sendable] {
        var request: [String: any Sendable] = [:]
        for (key, value) in object {
            switch (key, value) {
            case (_, let text as String): request[key] = text
            case ("seconds", let number as NSNumber): request[key] = number.doubleValue
            case (_, let number as NSNumber): request[key] = number.intValue
            default: break
            }
        }
        return request
    }

    func onSignal(_ handler: @escaping @Sendable (BenchSignal) -> Void) {
        let early = state.withLock { state in
            state.onSignal = handler
            defer { state.early = [] }
            return state.early
        }
        for signal in early { handler(signal) }
    }
}
