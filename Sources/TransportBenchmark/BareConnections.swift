internal import CommandLineIO
internal import TransportPluginAPI

/// The connections of a bare `bench-peer`, by index: the offerer opens them one after the other, the answerer as their
/// signals arrive.
final class BareConnections<Transport: PeerTransport>: Sendable {
    private let transport: Transport
    private let isOfferer: Bool
    private let output: BenchmarkPeer.Output
    private let subjects = Locked<[Int: BareSubject<Transport>]>([:])

    init(_ transport: Transport, isOfferer: Bool, output: BenchmarkPeer.Output) {
        self.transport = transport
        self.isOfferer = isOfferer
        self.output = output
    }

    /// Opens the connection; returns when it is open.
    func open(_ index: Int) async throws -> BareSubject<Transport> {
        let (subject, isNew) = subject(index)
        if isNew { try await subject.start(isOfferer: isOfferer) }
        let alarm = Task {
            try await Task.sleep(for: .seconds(10))
            subject.giveUp(TransportError(.timedOut, "connection \(index) did not open within 10 s"))
        }
        defer { alarm.cancel() }
        try await subject.waitUntilOpen()
        return subject
    }

    /// Opens further connections until there are `count`, or one cannot be opened. Returns the number, and why there
    /// are not more.
    func open(upTo count: Int) async -> JSONLine {
        let start = Timestamp.now()
        var opened = subjects.withLock { $0.count }
        var reason: String?
        while opened < count, reason == nil {
            do {
                _ = try await open(opened)
                opened += 1
            } catch {
                reason = "\(error)"
            }
        }
        var line = JSONLine(event: "opened")
        line.add("count", opened)
        line.add("seconds", (Timestamp.now() - start).inSeconds)
        if let reason { line.add("stoppedBy", reason) }
        return line
    }

    func receive(_ signal: BenchmarkSignal) {
        let (subject, isNew) = subject(signal.index)
        subject.receive(signal.value())
        guard isNew, !isOfferer else { return }
        Task {
            // The offerer notices that this one does not open, and says so.
            do { try await subject.start(isOfferer: false) } catch {
                output.printError("bench-peer: connection \(signal.index): \(error)")
            }
        }
    }

    func close() async {
        for subject in subjects.withLock({ Array($0.values) }) { await subject.close() }
    }

    private func subject(_ index: Int) -> (BareSubject<Transport>, isNew: Bool) {
        subjects.withLock { subjects in
            if let known = subjects[index] { return (known, false) }
            let subject = BareSubject(transport) { [output] signal in output.line(signal.line(index)) }
            subjects[index] = subject
            return (subject, true)
        }
    }
}
