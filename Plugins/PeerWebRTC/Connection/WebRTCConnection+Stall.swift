public import TransportPluginAPI

/// What the connection lacks.
extension WebRTCConnection {
    public var stall: PeerStall? {
        core.loop.preconditionIsCurrent()
        guard !isClosed, let link = pending ?? active else { return nil }
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
