public import TransportPluginAPI

/// What the connection lacks.
extension WebRTCConnection {
    /// A round that is younger has not had the time to show what it lacks; the one before tells more.
    private static let youth = Duration.milliseconds(1500)

    public var stall: PeerStall? {
        core.loop.preconditionIsCurrent()
        guard !isClosed, let active else { return nil }
        var link = active
        if let pending, active.isConnected || core.loop.turnTime - pending.madeAt >= Self.youth { link = pending }
        var diagnosis = ConnectionDiagnosis()
        diagnosis.local = link.localCandidates
        diagnosis.remote = link.remoteCandidates
        diagnosis.isAnswered = link.remote != nil
        diagnosis.isRelayOnly = configuration.icePolicy == .relay
        diagnosis.relays = iceServers.flatMap(\.urls).filter { $0.hasPrefix("turn") }
        diagnosis.hasPath = link.isConnected
        diagnosis.isSilent = liveness?.isSuspect ?? false
        if link.isConnected { diagnosis.encryption = dtls?.isEstablished == true ? .up : .unanswered }
        if diagnosis.encryption == .up { diagnosis.association = canCarryData ? .up : .unanswered }
        return diagnosis.stall
    }
}
