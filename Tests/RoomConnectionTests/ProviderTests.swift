import InProcessTransport
import RoomProtocol
import RoomServerCore
import Testing
import TransportPluginAPI
import TransportTestKit

@testable import RoomConnection

/// The calls of the application's providers while a room is connected and reconnected.
@Suite(.timeLimit(.minutes(1))) struct ProviderTests {
    /// Breaks the connection to the server, and waits until it is back.
    private func reconnect(_ member: Member, times: Int = 1) async throws {
        try await member.events.wait("the first join") { !Member.joins($0).isEmpty }
        for _ in 0..<times {
            let count = Member.joins(member.events.entries).count
            member.faults.reset()
            try await member.events.wait("the way back") { Member.joins($0).count > count }
        }
    }

    @Test func aTokenThatIsNearItsEndIsAskedForAnewAndOneWithLifeLeftIsNot() async throws {
        try await World.run { world in
            let asked = Locked(0)
            let lives: [Duration] = [.seconds(10), .seconds(20), .seconds(3600)]
            try await world.member(
                "alice", host: true,
                {
                    $0.token = { _ in
                        let count = asked.withLock { count in
                            defer { count += 1 }
                            return count
                        }
                        return JoinCredential("token-\(count)", validFor: lives[min(count, lives.count - 1)])
                    }
                }
            ) { alice in
                #expect(asked.withLock { $0 } == 1)
                try await reconnect(alice, times: 2)
                #expect(asked.withLock { $0 } == 3, "each of the first two was near its end")
                try await reconnect(alice, times: 2)
                #expect(asked.withLock { $0 } == 3, "the third is good for an hour")
            }
        }
    }

    /// A provider with these answers, in order, the last one repeated; and a record of its questions.
    private func provider(
        _ tokens: [String], _ asked: Journal<Bool>
    ) -> @Sendable (TokenRequest) async throws -> any JoinCredentialConvertible {
        { request in
            let count = asked.entries.count
            asked.append(request.mustBeFresh)
            return tokens[min(count, tokens.count - 1)]
        }
    }

    @Test func anExpiredTokenIsReplacedUntilTheProviderHasAGoodOne() async throws {
        try await World.run(authority: TokenAuthority()) { world in
            let asked = Journal<Bool>()
            let provider = provider(["expired-1", "expired-2", "expired-3", "good"], asked)
            try await world.member("alice", host: true, { $0.token = provider }) { _ in
                #expect(asked.entries == [false, true, true, true])
            }
        }
    }

    @Test(arguments: [["revoked"], ["expired", "revoked"], ["expired"]])
    func aTokenThatIsRefusedIsReplacedOnceAndTheReasonIsTold(_ tokens: [String]) async throws {
        try await World.run(authority: TokenAuthority()) { world in
            let asked = Journal<Bool>()
            let provider = provider(tokens, asked)
            let error = await #expect(throws: RoomError.self) {
                try await world.member("alice", host: true, { $0.token = provider }) { _ in }
            }
            #expect(error?.code == .refused)
            #expect(error?.protocolCode == (tokens == ["expired"] ? .tokenExpired : .unauthorized))
            #expect(error?.message == "refused: \(tokens.last ?? "")")
            #expect(asked.entries == [false, true])
        }
    }

    /// One provider serves rooms of one runtime.
    @Test func theRequestSaysForWhomAndWhy() async throws {
        try await World.run(authority: TokenAuthority()) { world in
            let asked = Journal<TokenRequest>()
            var configuration = try world.configuration
            configuration.token = { request in
                let count = asked.entries.count { $0.room == request.room }
                asked.append(request)
                if request.room == "kitchen", count == 0 { return "expired" }
                return JoinCredential("good", validFor: count == 0 ? .seconds(10) : .seconds(3600))
            }
            let faults = SignalingFaultControl()
            try await TransportRuntime.withRunning(configuration, registry: world.registry(faults)) { runtime in
                let lab = try await runtime.connect(toRoom: "lab", as: "alice", host: true)
                faults.reset()
                for await event in lab.events { if case .joined(let stay) = event, stay.isResumed { break } }
                _ = try await runtime.connect(toRoom: "kitchen", as: "cook", host: true)
            }
            func request(_ room: String, _ name: String, _ reason: TokenRequest.Reason) -> TokenRequest {
                TokenRequest(room: room, name: name, role: .host, reason: reason)
            }
            #expect(
                asked.entries == [
                    request("lab", "alice", .firstJoin), request("lab", "alice", .expired),
                    request("kitchen", "cook", .firstJoin), request("kitchen", "cook", .refused),
                ])
            #expect(asked.entries.map(\.mustBeFresh) == [false, false, false, true])
        }
    }

    @Test func a403OnTheWayEndsNoRoom() async throws {
        try await World.run { world in
            try await world.pair { alice, bob in
                alice.faults.admission = .refused(status: 403)
                alice.faults.reset()
                try await alice.events.wait("a few attempts") { events in
                    events.contains {
                        if case .signaling(.connecting(let attempt, _, _)) = $0 { attempt > 4 } else { false }
                    }
                }
                alice.faults.restore()
                try await alice.events.wait("the way back") { Member.joins($0).count == 2 }
                #expect(Member.left(bob.events.entries) == 0)
            }
        }
    }

    @Test func aPlainStringIsAToken() async throws {
        try await World.run { world in
            let asked = Locked(0)
            let provider: @Sendable (TokenRequest) async throws -> String = { _ in
                asked.withLock { $0 += 1 }
                return "token"
            }
            try await world.member("alice", host: true, { $0.token = provider }) { alice in
                try await reconnect(alice, times: 2)
                #expect(asked.withLock { $0 } == 1)
            }
        }
    }

    @Test func aMemberRejoinsAlthoughItsTokenProviderFails() async throws {
        struct Down: Error {}
        try await World.run { world in
            let isDown = Locked(false)
            try await world.member(
                "alice", host: true,
                {
                    $0.token = { _ in
                        if isDown.withLock({ $0 }) { throw Down() }
                        return JoinCredential("short", validFor: .seconds(1))
                    }
                }
            ) { alice in
                isDown.withLock { $0 = true }
                try await reconnect(alice, times: 2)
            }
        }
    }

    @Test func aHangingICEServerProviderDelaysNoConnection() async throws {
        let calls = Locked<[UnsafeContinuation<Void, Never>]>([])
        try await World.run { world in
            try await world.pair {
                $0.iceServerProvider = { _ in
                    await withUnsafeContinuation { call in calls.withLock { $0.append(call) } }
                    return ProvidedICEServers([])
                }
            } _: { alice, bob in
                try await alice.room.send("hello")
                try await bob.messages.wait("a message") { $0.count == 1 }
                try await reconnect(bob)
            }
        }
        for call in calls.withLock({ $0 }) { call.resume() }
    }

    @Test func serversOfTheProviderReachThePeerTransport() async throws {
        try await World.run { world in
            let made = Journal<[ICEServer]>()
            let turn = ICEServer(urls: ["turn:192.0.2.1:3478"], username: "u", credential: "c")
            let fixed = ICEServer(urls: ["stun:192.0.2.1:3478"])
            var configuration = try world.configuration
            configuration.peer = "recording"
            configuration.iceServers = [fixed]
            let asked = Journal<Bool>()
            configuration.iceServerProvider = { _ in
                defer { asked.append(true) }
                return ProvidedICEServers([turn], validFor: .seconds(600))
            }
            var registry = world.registry(SignalingFaultControl())
            registry.register(
                PeerPlugin(PluginDescriptor(name: "recording", summary: "", capabilities: [])) {
                    [peers = world.peers] _ in
                    RecordingTransport(inner: InProcessPeerTransport(network: peers), made: made)
                })
            try await TransportRuntime.withRunning(configuration, registry: registry) { runtime in
                _ = try await runtime.connect(toRoom: "lab", as: "alice", host: true)
                try await asked.wait("the question") { !$0.isEmpty }
                // After the answer, which is on its way to the loop.
                try await world.member("bob") { bob in
                    try await bob.waitUntilConnected()
                    #expect(made.entries.first == [fixed, turn])
                }
            }
        }
    }

    @Test func aProviderOfICEServersThatFailsIsToldAndTheRoomGoesOn() async throws {
        struct Down: Error {}
        try await World.run { world in
            try await world.pair {
                $0.iceServerProvider = { _ in throw Down() }
            } _: { alice, bob in
                try await alice.events.wait("the failure") { events in
                    events.contains {
                        if case .error(let error) = $0 { error.protocolCode == .iceProviderFailed } else { false }
                    }
                }
                try await alice.room.send("hello")
                try await bob.messages.wait("a message") { $0.count == 1 }
            }
        }
    }

    @Test func aListThatIsHalfOverIsAskedForAnewWithAReconnect() async throws {
        try await World.run { world in
            let asked = Journal<Int>()
            try await world.member(
                "alice", host: true,
                {
                    $0.iceServerProvider = { _ in
                        asked.append(1)
                        return ProvidedICEServers(
                            [ICEServer(urls: ["turn:192.0.2.1:3478"], username: "u", credential: "c")],
                            validFor: .seconds(3600))
                    }
                }
            ) { alice in
                try await asked.wait("the first question") { $0.count == 1 }
                try await reconnect(alice, times: 2)
                #expect(asked.entries.count == 1, "it is good for an hour")
            }
        }
    }
}

/// Judges join tokens by their first word.
private struct TokenAuthority: RoomAuthority {
    private let trusting = TrustingAuthority()

    func sessionToken(for claims: SessionClaims, lifetime: Duration) -> String {
        trusting.sessionToken(for: claims, lifetime: lifetime)
    }
    func claims(ofSessionToken token: String) -> SessionClaims? { trusting.claims(ofSessionToken: token) }
    func iceServers(for participant: ParticipantID) -> ICEServerList { ICEServerList() }

    func authorize(_ hello: Hello) throws(ProtocolError) -> Admission {
        let token = hello.token ?? ""
        if token == "good" { return Admission(ownsName: true) }
        throw ProtocolError(
            code: token.hasPrefix("expired") ? .tokenExpired : .unauthorized, message: "refused: \(token)",
            isRetryable: false, isFatal: true)
    }
}

/// Records the ICE servers of each connection.
private struct RecordingTransport: PeerTransport {
    let inner: InProcessPeerTransport
    let made: Journal<[ICEServer]>
    var loop: TransportLoop { inner.loop }

    func makeConnection(
        _ configuration: PeerConnectionConfiguration, handler: any PeerConnectionHandler
    ) throws(TransportError) -> InProcessPeerConnection {
        made.append(configuration.iceServers)
        return try inner.makeConnection(configuration, handler: handler)
    }

    nonisolated(nonsending) func shutdown() async { await inner.shutdown() }
}
