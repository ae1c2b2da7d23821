import RoomProtocol
import RoomServerCore
import Testing
import TransportValues

@Suite("Resuming a session")
struct ResumeTests {
    @Test func resumeWithinTheGracePeriodReplaysMissedMessagesWithoutEventsForOthers() throws {
        let server = ServerHarness.lobby()
        let before = try #require(server.joined("bob"))
        server.sayNumbered(server.signal(to: "bob", negotiation: 1), as: "ann")
        server.drop("bob")
        server.sayNumbered(server.signal(to: "bob", negotiation: 2), as: "ann")
        server.sayNumbered(server.signal(to: "bob", negotiation: 3), as: "ann")
        server.pass(.seconds(4))
        server.comeBack("bob")
        let after = try #require(server.joined("bob"))
        #expect(after.isResumed && after.epoch == before.epoch && after.session == before.session)
        #expect(after.participant == before.participant)
        let inbox = server.clients["bob"]?.inbox ?? []
        #expect(inbox.compactMap(\.message.signalNegotiation) == [2, 3])
        #expect(inbox.compactMap(\.sequence) == [2, 3])
        #expect(before.sent == nil && after.sent == 3, "what is sent again is older than the roster")
        #expect(server.take("ann").compactMap(\.left).isEmpty)
        #expect(server.take("ann").compactMap(\.changed).isEmpty)
    }

    @Test func messageWrittenIntoAHalfOpenSocketIsReplayed() throws {
        let server = ServerHarness.lobby()
        server.sayNumbered(server.signal(to: "bob", negotiation: 7), as: "ann")
        // Bob's socket is dead, and the server does not know it: what it wrote is lost.
        server.clients["bob"]?.received = 0
        server.comeBack("bob")
        #expect(server.joined("bob")?.isResumed == true)
        #expect(server.take("bob").compactMap(\.signalNegotiation) == [7])
    }

    @Test func resumeTellsWhatHasComeFromTheClient() throws {
        let server = ServerHarness.lobby()
        server.sayNumbered(server.signal(to: "ann", negotiation: 1), as: "bob")
        server.sayNumbered(server.signal(to: "ann", negotiation: 2), as: "bob")
        server.drop("bob")
        server.comeBack("bob")
        #expect(server.joined("bob")?.received == 2)
        // Replayed by a client that had not heard of the acknowledgement: taken once.
        server.say(server.signal(to: "ann", negotiation: 2), as: "bob", sequence: 2)
        server.say(server.signal(to: "ann", negotiation: 3), as: "bob", sequence: 3)
        #expect(server.take("ann").compactMap(\.signalNegotiation) == [1, 2, 3])
    }

    @Test func newerConnectionReplacesTheOlderOne() throws {
        let server = ServerHarness.lobby()
        let old = try #require(server.clients["bob"]).connection
        let token = server.token("bob")
        server.clients["old"] = server.clients["bob"]
        server.comeBack("bob", token: token)
        #expect(server.joined("bob")?.isResumed == true)
        // The old connection's late end changes nothing.
        server.perform(server.machine.disconnected(old, at: server.now))
        server.pass(.seconds(4))
        #expect(server.names == ["ann", "bob"])
        server.sayNumbered(server.signal(to: "bob", negotiation: 5), as: "ann")
        #expect(server.take("bob").compactMap(\.signalNegotiation) == [5])
    }

    @Test func olderConnectionOfTheSameSessionIsToldThatItWasReplaced() throws {
        let server = ServerHarness.lobby()
        let old = try #require(server.clients["bob"]).connection
        let token = server.token("bob")
        let id = ConnectionID(77)
        _ = server.machine.connected(id, at: server.now)
        var hello = Hello(room: RoomName("lobby"), role: .guest, name: "bob")
        hello.resume = Resume(sessionToken: token, received: 0)
        let actions = server.machine.received(Envelope(.hello(hello)), from: id, at: server.now)
        let errors = actions.compactMap { action in
            if case .send(let envelope, old) = action, case .error(let error) = envelope.message {
                error
            } else {
                nil
            }
        }
        #expect(errors.map(\.code) == [.replaced] && errors.map(\.replacedBy) == [.session])
        #expect(actions.contains(.close(old, .refused)))
    }

    @Test func lateAttemptDoesNotReplaceANewerConnection() throws {
        let server = ServerHarness.lobby()
        let token = server.token("bob")
        server.drop("bob")
        server.comeBack("bob", token: token, attempt: 2)
        #expect(server.joined("bob")?.isResumed == true)
        let connection = server.clients["bob"]?.connection
        // Attempt 1 was given up by the client; its hello arrives now.
        let late = ConnectionID(77)
        _ = server.machine.connected(late, at: server.now)
        var hello = Hello(room: RoomName("lobby"), role: .guest, name: "bob")
        hello.resume = Resume(sessionToken: token, received: 0, attempt: 1)
        let actions = server.machine.received(Envelope(.hello(hello)), from: late, at: server.now)
        #expect(actions.contains(.close(late, .refused)))
        #expect(!actions.contains { if case .close(connection, _) = $0 { true } else { false } })
    }

    @Test func overflownStreamLeadsToARejoin() {
        let server = ServerHarness.lobby { $0.streamMessages = 4 }
        server.drop("bob")
        for negotiation in 1...5 {
            server.sayNumbered(server.signal(to: "bob", negotiation: NegotiationID(negotiation)), as: "ann")
        }
        server.comeBack("bob")
        #expect(server.joined("bob")?.isResumed == false)
        #expect(server.joined("bob")?.epoch == 2)
        #expect(server.take("ann").compactMap(\.changed).map(\.epoch) == [2])
    }

    @Test func overflowOfBytesIsBoundedToo() {
        let server = ServerHarness.lobby { $0.streamBytes = 200_000 }
        server.drop("bob")
        let bob = server.joined("bob")
        for negotiation in 1...5 {
            server.sayNumbered(
                .signal(
                    Signal(
                        peer: bob?.participant ?? ParticipantID(""), session: bob?.session ?? SessionID(""),
                        connection: PeerConnectionID("c"), negotiation: NegotiationID(negotiation),
                        body: .description(.init(kind: .offer, text: String(repeating: "a", count: 60_000))))),
                as: "ann"
            )
        }
        server.comeBack("bob", received: 2)
        #expect(server.joined("bob")?.isResumed == true)
        #expect(server.take("bob").compactMap(\.signalNegotiation) == [3, 4, 5])
    }

    @Test func streamsTogetherAreBoundedToo() {
        let server = ServerHarness.lobby { $0.totalStreamBytes = 20_000 }
        server.join("carol")
        for name in ["bob", "carol"] { server.drop(name) }
        for negotiation in 1...200 {
            server.sayNumbered(server.signal(to: "bob", negotiation: NegotiationID(negotiation)), as: "ann")
            server.sayNumbered(server.signal(to: "carol", negotiation: NegotiationID(negotiation)), as: "ann")
            #expect(server.machine.streamBytes <= 20_000)
        }
        for name in ["bob", "carol"] {
            server.comeBack(name)
            #expect(server.joined(name)?.isResumed == false)
        }
    }

    @Test func graceExpiryIsALeaveAndAReturnBeginsANewSession() throws {
        let server = ServerHarness.lobby()
        let before = try #require(server.joined("bob"))
        server.drop("bob")
        server.pass(.seconds(29))
        #expect(server.take("ann").compactMap(\.left).isEmpty)
        server.pass(.seconds(2))
        #expect(server.take("ann").compactMap(\.left) == [.timedOut])
        server.comeBack("bob")
        let after = try #require(server.joined("bob"))
        #expect(after.participant == before.participant && after.epoch == 2 && !after.isResumed)
        #expect(after.session != before.session)
    }

    @Test func unknownOrForeignTokenIsRefused() {
        let server = ServerHarness.lobby()
        server.comeBack("bob", token: "nonsense")
        #expect(server.lastError("bob")?.code == .unauthorized)
        server.join("carol", .host, room: "other")
        server.comeBack("carol", room: "lobby")
        #expect(server.lastError("carol")?.code == .unauthorized)
    }
}

@Suite("Fencing by epochs")
struct EpochTests {
    @Test func olderEpochIsRefusedOnceTheNewerOneIsInUse() {
        let server = ServerHarness.lobby()
        let old = server.token("bob")
        server.comeBack("bob", mustRejoin: true)
        #expect(server.joined("bob")?.epoch == 2)
        server.say(.ping(id: 1), as: "bob")
        server.clients["late"] = nil
        server.comeBack("late", token: old)
        #expect(server.lastError("late")?.code == .staleEpoch)
        #expect(server.clients["bob"]?.closed == nil)
    }

    @Test func clientWhoseAnswerWasLostMayComeBackWithItsOldToken() {
        let server = ServerHarness.lobby()
        let old = server.token("bob")
        // The answer with epoch 2 is written into a dead socket: the client never says anything in this epoch.
        server.comeBack("bob", mustRejoin: true)
        server.comeBack("bob", token: old)
        #expect(server.joined("bob")?.epoch == 3 && server.joined("bob")?.isResumed == false)
        #expect(server.names == ["ann", "bob"])
    }

    /// Two servers with the same key, each with some of the participants: both count on from the same epoch.
    @Test func epochThatAnotherServerHasBegunIsNotResumed() throws {
        let server = ServerHarness.lobby()
        let token = server.token("bob")
        // The answer is lost, and the next attempt comes to the other server.
        server.comeBack("bob", mustRejoin: true)
        let other = ServerHarness(seed: 99)
        other.comeBack("bob", token: token)
        let presented = try #require(other.joined("bob"))
        #expect(presented.epoch == server.joined("bob")?.epoch, "the same number")
        server.drop("bob")
        server.comeBack("bob", token: presented.sessionToken, received: 0)
        let joined = try #require(server.joined("bob"))
        #expect(!joined.isResumed && joined.epoch == presented.epoch + 1 && joined.session == presented.session)
    }

    @Test func epochIsAboveBothKnownAndPresented() {
        let server = ServerHarness.lobby()
        for _ in 0..<3 { server.comeBack("bob", mustRejoin: true) }
        #expect(server.joined("bob")?.epoch == 4)
        server.restartServer()
        server.comeBack("bob")
        #expect(server.joined("bob")?.epoch == 5)
    }
}

@Suite("A server that has lost its state")
struct StateLossTests {
    @Test(arguments: [["ann", "bob", "carol"], ["carol", "bob", "ann"], ["bob", "ann", "carol"]])
    func theFirstReturningMemberRebuildsTheRoom(_ order: [String]) throws {
        let server = ServerHarness.lobby(guests: ["bob", "carol"])
        let before = server.clients.mapValues { $0.joined }
        server.restartServer()
        for name in order { server.comeBack(name, role: name == "ann" ? .host : .guest) }
        for name in order {
            let old = try #require(before[name] ?? nil)
            let new = try #require(server.joined(name))
            #expect(new.participant == old.participant && new.session == old.session && new.epoch == old.epoch + 1)
            #expect(!new.isResumed && server.clients[name]?.closed == nil)
        }
        #expect(server.host == "ann")
        #expect(Set(server.names) == ["ann", "bob", "carol"])
        #expect(server.joined("ann")?.hostTerm == 1)
    }

    @Test func guestLearnsOfTheHostThatReturnsAfterIt() throws {
        let server = ServerHarness.lobby(guests: ["bob", "carol"])
        server.restartServer()
        server.comeBack("bob")
        #expect(server.joined("bob")?.hostTerm == 0)
        server.take("bob").forEach { _ in }
        server.comeBack("ann", role: .host)
        let messages = server.take("bob")
        #expect(messages.compactMap(\.arrived).map(\.isHost) == [true])
        #expect(messages.compactMap(\.hostTerm) == [1])
    }

    @Test func roomWaitsForItsHostThenHandsOver() {
        let server = ServerHarness.lobby(guests: ["bob", "carol"])
        server.restartServer()
        server.comeBack("bob")
        server.comeBack("carol")
        server.pass(.seconds(29))
        #expect(server.host == nil)
        server.pass(.seconds(2))
        #expect(server.host == "bob")
        #expect(server.take("carol").compactMap(\.hostTerm) == [2])
        // The old host is a guest now.
        server.comeBack("ann", role: .host)
        #expect(server.host == "bob" && server.joined("ann")?.isHost == false)
    }

    @Test func highestHostTermWins() throws {
        let server = ServerHarness.lobby(guests: ["bob", "carol"])
        let old = server.token("ann")
        server.say(.leave, as: "ann")
        #expect(server.host == "bob")
        server.restartServer()
        // Ann has left, but the new server cannot know: its token is of term 1.
        server.comeBack("ann", role: .host, token: old)
        #expect(server.host == "ann")
        server.comeBack("carol")
        #expect(server.host == "ann")
        server.comeBack("bob")
        #expect(server.host == "bob")
        #expect(server.joined("bob")?.hostTerm == 2)
        #expect(server.take("ann").compactMap(\.hostTerm) == [2])
        #expect(server.take("carol").compactMap(\.hostTerm) == [2])
    }

    @Test func rejoinIsRetryableWhereAFirstJoinIsNot() throws {
        let server = ServerHarness.lobby(guests: ["bob", "carol"])
        server.restartServer { $0.participantsPerRoom = 2 }
        server.comeBack("ann", role: .host)
        // A newcomer takes Bob's name before Bob is back.
        server.open("eve")
        server.say(.hello(Hello(room: RoomName("lobby"), role: .guest, name: "bob")), as: "eve")
        #expect(server.joined("eve") != nil)
        server.say(.leave, as: "eve")
        server.join("eve")
        server.comeBack("bob")
        let error = try #require(server.lastError("bob"))
        #expect(error.code == .roomFull && error.isRetryable)
        server.say(.leave, as: "eve")
        server.open("mallory")
        server.say(.hello(Hello(room: RoomName("lobby"), role: .guest, name: "carol")), as: "mallory")
        server.comeBack("carol")
        #expect(server.lastError("carol")?.code == .roomFull)
    }

    @Test func nameTakenByANewcomerIsRetryableForARejoin() throws {
        let server = ServerHarness.lobby(guests: ["bob", "carol"])
        server.restartServer()
        server.comeBack("ann", role: .host)
        server.open("eve")
        server.say(.hello(Hello(room: RoomName("lobby"), role: .guest, name: "bob")), as: "eve")
        server.comeBack("bob")
        let error = try #require(server.lastError("bob"))
        #expect(error.code == .nameTaken && error.isRetryable && error.isFatal)
    }
}

@Suite("Hosts")
struct HostTests {
    @Test func hostThatLeavesHandsOverToTheLongestPresent() {
        let server = ServerHarness()
        for (index, name) in ["ann", "bob", "carol"].enumerated() { server.join(name, index == 0 ? .host : .guest) }
        let before = server.token("carol")
        server.say(.leave, as: "ann")
        #expect(server.host == "bob")
        #expect(server.take("carol").compactMap(\.hostTerm) == [2])
        #expect(server.token("carol") != before)
    }

    @Test func absentHostKeepsItsPlaceForTheGracePeriodOnly() {
        let server = ServerHarness.lobby()
        server.drop("ann")
        server.pass(.seconds(5))
        server.comeBack("ann")
        #expect(server.joined("ann")?.isHost == true)
        server.drop("ann")
        server.pass(.seconds(31))
        #expect(server.host == "bob")
        server.comeBack("ann", role: .host)
        #expect(server.joined("ann")?.isHost == false && server.joined("ann")?.hostTerm == 2)
    }

    @Test func handOverSkipsAbsentMembers() {
        let server = ServerHarness()
        for (index, name) in ["ann", "bob", "carol"].enumerated() { server.join(name, index == 0 ? .host : .guest) }
        server.drop("bob")
        server.say(.leave, as: "ann")
        #expect(server.host == "carol")
        server.comeBack("bob")
        // Bob was absent: the change waits in its stream, and the answer to its hello has it too.
        #expect(server.joined("bob")?.hostTerm == 2 && server.joined("bob")?.isResumed == true)
        #expect(server.take("bob").compactMap(\.hostTerm) == [2])
    }

    @Test func aRoomWithoutConnectedMembersGetsAHostWithTheNextJoin() {
        let server = ServerHarness.lobby()
        server.drop("bob")
        server.say(.leave, as: "ann")
        #expect(server.host == nil)
        server.comeBack("bob")
        #expect(server.host == "bob" && server.joined("bob")?.isHost == true)
    }
}
