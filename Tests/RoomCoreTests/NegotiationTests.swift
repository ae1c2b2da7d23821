import RoomProtocol
import RoomValues
import Testing
import TransportValues

@testable import RoomCore

@Suite struct NegotiationTests {
    private func makeSignal(
        connection: PeerConnectionID, negotiation: NegotiationID, _ body: Signal.Body, from peer: String
    ) -> Signal {
        Signal(
            peer: ParticipantID(peer), session: SessionID("s-\(peer)"), connection: connection,
            negotiation: negotiation, body: body)
    }

    private func makeAnswer(_ text: String = "answer") -> Signal.Body { .description(.init(kind: .answer, text: text)) }
    private func makeOffer(_ text: String = "offer") -> Signal.Body { .description(.init(kind: .offer, text: text)) }
    private func makeCandidate(_ text: String) -> Signal.Body { .candidate(.init(text: text)) }

    @Test func theSmallerIdOffersAndTheOtherAnswers() {
        var pair = Pair()
        pair.connect()
        #expect(pair.actions[.a]?.bodies == [makeOffer()])
        #expect(pair.actions[.b]?.bodies == [makeAnswer()])
        #expect(pair.machines[.a]?.connection == pair.machines[.b]?.connection)
        #expect(pair.machines[.a]?.status == .connected(nil))
        #expect(pair.machines[.b]?.status == .connected(nil))
    }

    @Test func bothSidesRestartingInTheSameTickMakeOneRestart() {
        for seed in 0..<1000 {
            var pair = Pair(seed: UInt64(seed))
            pair.connect()
            pair.now = at(1)
            for side in [Pair.Side.a, .b] { pair.fact(side, .state(.disconnected)) }
            var generator = SeededGenerator(seed: UInt64(seed))
            for _ in 0..<40 { pair.deliver(to: Bool.random(using: &generator) ? .a : .b) }
            #expect(pair.actions[.a]?.restarts == 1, "seed \(seed)")
            #expect(pair.actions[.b]?.restartRequests == 1, "seed \(seed)")
            for side in [Pair.Side.a, .b] { pair.fact(side, .state(.connected)) }
            #expect(pair.machines[.a]?.status == .connected(nil))
            #expect(pair.machines[.b]?.status == .connected(nil))
        }
    }

    /// Seed 42331 of the simulation: the old path came back, and every later offer waited for the refused one's answer.
    @Test func anOfferThatWasRefusedDoesNotKeepTheNextOneWaiting() throws {
        var pair = Pair()
        pair.connect()
        let id = try #require(pair.machines[.b]?.connection)
        let refused = makeSignal(connection: id, negotiation: 2, makeOffer("refused"), from: "a")
        #expect(!pair.act(.b) { $0.received(refused, now: $1, using: &$2, &$3) }.commands.isEmpty)
        pair.fact(.b, .descriptionRefused(PeerFailure("not acceptable")))
        pair.fact(.b, .state(.connected))
        let offer = makeSignal(connection: id, negotiation: 3, makeOffer("new"), from: "a")
        #expect(
            pair.act(.b) { $0.received(offer, now: $1, using: &$2, &$3) }.commands.contains(
                .setRemoteDescription(SessionDescription(kind: .offer, text: "new"))))
    }

    @Test func aRestartThatCannotBePreparedLeavesThePathAloneAndTheNextOneWorks() throws {
        var pair = Pair()
        pair.connect()
        pair.now = at(20)
        pair.answersDescriptions = false
        let shortage = PeerFact.notPrepared(PeerFailure("no port", code: .resourceExhausted))
        #expect(pair.act(.a) { $0.restart(now: $1, using: &$2, &$3) }.restarts == 1)
        let actions = pair.fact(.a, shortage)
        #expect(pair.machines[.a]?.status == .connected(nil))
        #expect(actions.creations == 0 && actions.restarts == 0)
        #expect(pair.run(until: 60)[.a]?.creations == 0)
        #expect(pair.machines[.a]?.status == .connected(nil))
        // The answering side too.
        pair.answersDescriptions = true
        #expect(pair.act(.a) { $0.restart(now: $1, using: &$2, &$3) }.restarts == 1)
        pair.answersDescriptions = false
        pair.deliver(to: .b)
        #expect(pair.fact(.b, shortage).isEmpty)
        pair.answersDescriptions = true
        pair.run(until: 70)
        #expect(pair.actions[.a]?.creations == 1)
        #expect(pair.machines[.a]?.connection == pair.machines[.b]?.connection)
    }

    @Test func aBrokenPathThatNothingCanBePreparedForIsRebuilt() {
        var pair = Pair()
        pair.connect()
        pair.now = at(20)
        pair.answersDescriptions = false
        #expect(pair.fact(.a, .state(.disconnected)).restarts == 1)
        #expect(pair.fact(.a, .notPrepared(PeerFailure("no port"))).creations == 1)
    }

    @Test func aShortageIsToldOnceUntilThereIsAPath() throws {
        var driver = RoomDriver()
        driver.feed(.started)
        driver.join(makeJoined(roster: [makeParticipant("z")]))
        let (peer, connection) = (ParticipantID("z"), try #require(driver.connection(to: ParticipantID("z"))))
        let failure = PeerFailure("no port", code: .resourceExhausted)
        func feed(_ fact: PeerFact) -> [RoomEvent] {
            driver.feed(.peer(peer, connection, fact)).events.filter { if case .error = $0 { true } else { false } }
        }
        #expect(feed(.gatheringFailed(failure)) == [.error(.outOfResources(peer, failure))])
        #expect(feed(.gatheringFailed(failure)).isEmpty)
        _ = feed(.pathChanged(PeerPath(local: .host, remote: .host)))
        #expect(feed(.gatheringFailed(failure)).count == 1)
    }

    @Test func aStaleAnswerIsDropped() throws {
        var pair = Pair()
        pair.connect()
        pair.fact(.a, .state(.disconnected))
        let id = try #require(pair.machines[.a]?.connection)
        pair.inFlight[.a] = []
        for (connection, negotiation) in [(id, 1), (id, 3), (PeerConnectionID("x"), 2)]
            as [(PeerConnectionID, NegotiationID)]
        {
            let stale = makeSignal(connection: connection, negotiation: negotiation, makeAnswer("stale"), from: "b")
            #expect(pair.act(.a) { $0.received(stale, now: $1, using: &$2, &$3) }.commands.isEmpty)
        }
        let answer = makeSignal(connection: id, negotiation: 2, makeAnswer(), from: "b")
        #expect(
            pair.act(.a) { $0.received(answer, now: $1, using: &$2, &$3) }.commands
                == [.setRemoteDescription(SessionDescription(kind: .answer, text: "answer"))])
        // The same answer again is stale too.
        #expect(pair.act(.a) { $0.received(answer, now: $1, using: &$2, &$3) }.commands.isEmpty)
    }

    @Test func signalsOfAnotherSessionAreDropped() throws {
        var pair = Pair()
        pair.act(.b) { $0.begin(now: $1, using: &$2, &$3) }
        var offer = makeSignal(connection: PeerConnectionID("c"), negotiation: 1, makeOffer(), from: "a")
        offer.session = SessionID("former")
        #expect(pair.act(.b) { $0.received(offer, now: $1, using: &$2, &$3) }.isEmpty)
    }

    @Test func candidatesThatComeBeforeTheirDescriptionAreKeptWithinALimit() throws {
        var pair = Pair()
        pair.act(.b) { $0.begin(now: $1, using: &$2, &$3) }
        let id = PeerConnectionID("c")
        for number in 0..<100 {
            let candidate = makeSignal(connection: id, negotiation: 1, makeCandidate("\(number)"), from: "a")
            #expect(pair.act(.b) { $0.received(candidate, now: $1, using: &$2, &$3) }.isEmpty)
        }
        let offer = makeSignal(connection: id, negotiation: 1, makeOffer(), from: "a")
        let commands = pair.act(.b) { $0.received(offer, now: $1, using: &$2, &$3) }.commands
        #expect(
            commands.prefix(2) == [
                .create(isOfferer: false, iceServers: []),
                .setRemoteDescription(SessionDescription(kind: .offer, text: "offer")),
            ])
        #expect(commands.dropFirst(2) == (0..<64).map { .addRemoteCandidate(PeerCandidate(text: "\($0)")) }[...])
    }

    @Test func candidatesOfTheNextRoundWaitForItAndThoseOfAnOldOneAreDropped() throws {
        var pair = Pair()
        pair.connect()
        let id = try #require(pair.machines[.b]?.connection)
        func receive(_ body: Signal.Body, _ negotiation: NegotiationID) -> [PeerCommand] {
            let signal = makeSignal(connection: id, negotiation: negotiation, body, from: "a")
            return pair.act(.b) { $0.received(signal, now: $1, using: &$2, &$3) }.commands
        }
        #expect(receive(makeCandidate("new"), 2).isEmpty)
        #expect(receive(makeCandidate("current"), 1) == [.addRemoteCandidate(PeerCandidate(text: "current"))])
        #expect(
            receive(makeOffer("again"), 2) == [
                .setRemoteDescription(SessionDescription(kind: .offer, text: "again")),
                .addRemoteCandidate(PeerCandidate(text: "new")),
            ])
        #expect(receive(makeCandidate("old"), 1).isEmpty)
        #expect(
            receive(.endOfCandidates(usernameFragment: "f"), 2)
                == [.addRemoteCandidate(PeerCandidate(text: "", usernameFragment: "f"))])
    }

    @Test func aNewConnectionOfTheOffererReplacesTheOldOneAndItsLateSignalsAreDropped() throws {
        var pair = Pair()
        pair.connect()
        let old = try #require(pair.machines[.b]?.connection)
        let offer = makeSignal(connection: PeerConnectionID("new"), negotiation: 1, makeOffer(), from: "a")
        let actions = pair.act(.b) { $0.received(offer, now: $1, using: &$2, &$3) }
        #expect(actions.contains(.command(old, .close)))
        #expect(pair.machines[.b]?.connection == PeerConnectionID("new"))
        for negotiation in [1, 2] as [NegotiationID] {
            let late = makeSignal(connection: old, negotiation: negotiation, makeOffer(), from: "a")
            #expect(pair.act(.b) { $0.received(late, now: $1, using: &$2, &$3) }.isEmpty)
        }
        // So are late facts of the old connection.
        #expect(pair.fact(.b, .state(.disconnected), old).isEmpty)
        #expect(pair.fact(.b, .closed(PeerFailure("x")), old).isEmpty)
    }

    @Test func anOfferThatComesAgainDoesNotMakeAnewWhatHasEnded() throws {
        var pair = Pair()
        pair.connect()
        let id = try #require(pair.machines[.b]?.connection)
        pair.fact(.b, .closed(PeerFailure("failed")))
        let again = makeSignal(connection: id, negotiation: 1, makeOffer(), from: "a")
        #expect(pair.act(.b) { $0.received(again, now: $1, using: &$2, &$3) }.isEmpty)
        let restart = makeSignal(connection: id, negotiation: 2, makeOffer(), from: "a")
        #expect(pair.act(.b) { $0.received(restart, now: $1, using: &$2, &$3) }.rebuildRequests == 1)
    }

    @Test func aRestartOfAConnectionThatIsUnknownIsAnsweredByARebuildRequest() throws {
        var pair = Pair()
        pair.act(.b) { $0.begin(now: $1, using: &$2, &$3) }
        let offer = makeSignal(connection: PeerConnectionID("lost"), negotiation: 4, makeOffer(), from: "a")
        #expect(pair.act(.b) { $0.received(offer, now: $1, using: &$2, &$3) }.rebuildRequests == 1)
    }

    @Test func aNewerOfferWaitsUntilTheOlderIsAnswered() throws {
        var pair = Pair()
        pair.connect()
        pair.answersDescriptions = false
        let id = try #require(pair.machines[.b]?.connection)
        for negotiation in [2, 3, 4] as [NegotiationID] {
            let offer = makeSignal(connection: id, negotiation: negotiation, makeOffer("\(negotiation)"), from: "a")
            let commands = pair.act(.b) { $0.received(offer, now: $1, using: &$2, &$3) }.commands
            #expect(commands.isEmpty == (negotiation > 2))
        }
        let actions = pair.fact(.b, .localDescription(SessionDescription(kind: .answer, text: "answer")))
        #expect(actions.bodies == [makeAnswer()])
        #expect(actions.commands == [.setRemoteDescription(SessionDescription(kind: .offer, text: "4"))])
    }

    @Test func aRestartThatIsAskedForWhileOneIsInFlightWaitsForItsAnswer() {
        var machine = NegotiationMachine(isOfferer: true, candidateLimit: 64)
        var generator = SeededGenerator(seed: 1)
        var actions: [NegotiationMachine.Action] = []
        machine.rebuild(reason: "", using: &generator, &actions)
        machine.localDescription(SessionDescription(kind: .offer, text: "o"), &actions)
        guard let id = machine.connection else {
            Issue.record("no connection")
            return
        }
        machine.received(makeSignal(connection: id, negotiation: 1, makeAnswer(), from: "b"), &actions)
        machine.restart(superseding: false, reason: "", using: &generator, &actions)
        machine.localDescription(SessionDescription(kind: .offer, text: "o2"), &actions)
        actions = []
        machine.restart(superseding: false, reason: "", using: &generator, &actions)
        #expect(actions.isEmpty)
        machine.received(makeSignal(connection: id, negotiation: 2, makeAnswer(), from: "b"), &actions)
        #expect(actions.last == .restartPath(id))
        #expect(machine.isNegotiating)
    }

    @Test func garbageFromTheOtherSideDoesNothing() throws {
        var pair = Pair()
        pair.connect()
        let id = try #require(pair.machines[.a]?.connection)
        let bodies: [Signal.Body] = [
            makeOffer(), makeAnswer(), makeCandidate("c"), .endOfCandidates(usernameFragment: "f"),
            .restartRequest(reason: "r"), .rebuildRequest(reason: "r"),
        ]
        for negotiation in [0, 2, .max] as [NegotiationID] {
            for body in bodies {
                for connection in [id, PeerConnectionID("unknown")] {
                    for (side, peer) in [(Pair.Side.a, "b"), (.b, "a")] {
                        var copy = pair
                        copy.answersDescriptions = false
                        let signal = makeSignal(connection: connection, negotiation: negotiation, body, from: peer)
                        for _ in 0..<3 { copy.act(side) { $0.received(signal, now: $1, using: &$2, &$3) } }
                        #expect((copy.actions[side]?.count ?? 0) - (pair.actions[side]?.count ?? 0) < 12)
                    }
                }
            }
        }
    }
}
