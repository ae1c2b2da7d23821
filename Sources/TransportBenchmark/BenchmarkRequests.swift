internal import CommandLineIO
internal import Foundation
internal import TransportPluginAPI

/// Requests from standard input, and signals for the bare transport among them.
final class BenchmarkRequests: Sendable {
    private struct State {
        var early: [BenchmarkSignal] = []
        var onSignal: (@Sendable (BenchmarkSignal) -> Void)?
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
                    let signal = BenchmarkSignal(object)
                    let handler = state.withLock { state in
                        if state.onSignal == nil { state.early.append(signal) }
                        return state.onSignal
                    }
                    handler?(signal)
                } else {
                    feed.yield(Self.request(object))
                }
            }
            // The runner is gone.
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

    func onSignal(_ handler: @escaping @Sendable (BenchmarkSignal) -> Void) {
        let early = state.withLock { state in
            state.onSignal = handler
            defer { state.early = [] }
            return state.early
        }
        for signal in early { handler(signal) }
    }
}
