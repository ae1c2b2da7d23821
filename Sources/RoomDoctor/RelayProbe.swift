internal import TransportPluginAPI

/// Has a peer backend gather candidates by relay only, and waits for one.
final class RelayProbe: PeerConnectionHandler, Sendable {
    /// Whether there is a relayed candidate.
    private let results = AsyncStream.makeStream(of: Bool.self)

    func peerConnection(didEmit event: PeerConnectionEvent) {
        switch event {
        case .localCandidate(let candidate) where candidate.text.contains("typ relay"):
            results.continuation.yield(true)
        case .localDescription(let description) where description.text.contains("typ relay"):
            results.continuation.yield(true)
        case .endOfLocalCandidates, .closed: results.continuation.yield(false)
        default: break
        }
    }

    func peerConnection(didReceive bytes: UnsafeRawBufferPointer, isText: Bool, on channel: ChannelID) {}

    static func run(
        _ transport: some PeerTransport, _ server: ICEServer
    ) async throws(TransportError) -> Bool {
        let probe = RelayProbe()
        var configuration = PeerConnectionConfiguration()
        configuration.iceServers = [server]
        configuration.icePolicy = .relay
        let hasRelay: Bool
        do throws(TransportError) {
            let connection = try await transport.loop.runThrowing { [configuration] () throws(TransportError) in
                let connection = try transport.makeConnection(configuration, handler: probe)
                _ = try connection.openChannel(ChannelParameters(label: "doctor"))
                try connection.offer()
                return connection
            }
            let timer = Task {
                try await Task.sleep(for: .seconds(5))
                probe.results.continuation.yield(false)
            }
            var results = probe.results.stream.makeAsyncIterator()
            hasRelay = await results.next() ?? false
            timer.cancel()
            await transport.loop.run { connection.close() }
        } catch {
            await transport.shutdown()
            throw error
        }
        await transport.shutdown()
        return hasRelay
    }
}
