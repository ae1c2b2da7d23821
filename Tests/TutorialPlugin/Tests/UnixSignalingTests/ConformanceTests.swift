import Testing
import TransportTestKit
import UnixSignaling

@Suite struct Conformance {
    static let subject = {
        var subject = SignalingSubject(
            capabilities: UnixTransport.plugin().descriptor.capabilities,
            makeTransport: { try UnixTransport() },
            startServer: { behaviour in try await FrameServer.unix(behaviour) })
        subject.startUncheckedServer = { messages in try await FrameServer.unix(.echo, saying: messages) }
        return subject
    }()

    @Test(arguments: SignalingConformance.clauses(of: subject))
    func keepsTheContract(_ clause: ConformanceClause) async throws { try await clause.run() }
}

@Suite struct TCPConformance {
    static let subject = {
        var subject = SignalingSubject(
            capabilities: [],
            makeTransport: { try TCPTransport() },
            startServer: { behaviour in try await FrameServer.tcp(behaviour) })
        subject.startUncheckedServer = { messages in try await FrameServer.tcp(.echo, saying: messages) }
        subject.silentEndpoint = { try SignalingFront.silentTCP() }
        subject.resolvesNames = true
        return subject
    }()

    @Test(arguments: SignalingConformance.clauses(of: subject))
    func keepsTheContract(_ clause: ConformanceClause) async throws { try await clause.run() }
}
