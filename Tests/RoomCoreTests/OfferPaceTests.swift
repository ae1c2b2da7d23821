import RoomProtocol
import RoomValues
import Testing
import TransportValues

@testable import RoomCore

/// One participant's offers must not cost another more than a bounded number of agents, whatever the server lets
/// through.
@Suite struct OfferPaceTests {
    private func makeOffer(
        _ number: Int, from peer: String = "a", connection: String? = nil, negotiation: NegotiationID = 1
    ) -> Signal {
        Signal(
            peer: ParticipantID(peer), session: SessionID("s-\(peer)"),
            connection: PeerConnectionID(connection ?? "c\(number)"), negotiation: negotiation,
            body: .description(.init(kind: .offer, text: "offer \(number)")))
    }

    private func makeDriver(_ others: [String] = ["a"]) -> RoomDriver {
        var driver = RoomDriver()
        driver.feed(.started)
        driver.join(makeJoined(roster: others.map { makeParticipant($0) }))
        return driver
    }

    private func creations(_ actions: [RoomMachine.Action]) -> Int {
        actions.commands.count { if case .create = $0 { true } else { false } }
    }

    private func answers(_ actions: [RoomMachine.Action]) -> [String] {
        actions.commands.compactMap {
            if case .setRemoteDescription(let description) = $0 { description.text } else { nil }
        }
    }

    @Test func aBurstOfOffersMakesFewConnectionsAndTheNewestIsAnswered() {
        var driver = makeDriver()
        var actions: [RoomMachine.Action] = []
        for number in 0..<590 { actions += driver.receive(.signal(makeOffer(number))) }
        #expect(creations(actions) == 8)
        // Those between were superseded before anything was made for them.
        let later = driver.runAnswered(until: 5)
        #expect(answers(later) == ["offer 589"])
        #expect(driver.connection(to: ParticipantID("a")) == PeerConnectionID("c589"))
    }

    @Test func aSteadyFloodIsAnsweredAtItsPace() {
        var driver = makeDriver()
        var count = 0
        for step in 0..<80 {
            count += creations(driver.runAnswered(until: Double(step) / 8))
            for number in 0..<10 { count += creations(driver.receive(.signal(makeOffer(step * 10 + number)))) }
        }
        // A burst of 8, and then two a second for 10 s.
        #expect((26...29).contains(count))
    }

    @Test func offersOfNewPathsHaveTheSamePace() throws {
        var driver = makeDriver()
        driver.receive(.signal(makeOffer(0, connection: "c")))
        let (peer, connection) = (ParticipantID("a"), PeerConnectionID("c"))
        let answer = SessionDescription(kind: .answer, text: "answer")
        driver.feed(.peer(peer, connection, .localDescription(answer)))
        var taken: [String] = []
        for number in 1...590 {
            let offer = makeOffer(number, connection: "c", negotiation: NegotiationID(number + 1))
            taken += answers(driver.receive(.signal(offer)))
            driver.feed(.peer(peer, connection, .localDescription(answer)))
        }
        #expect(taken.count == 7)
        #expect(answers(driver.runAnswered(until: 5)) == ["offer 590"])
    }

    @Test func candidatesOfAnOfferThatWaitsAreKeptForIt() {
        var driver = makeDriver()
        for number in 0..<20 { driver.receive(.signal(makeOffer(number))) }
        var candidate = makeOffer(19)
        candidate.body = .candidate(.init(text: "candidate of 19"))
        #expect(driver.receive(.signal(candidate)).commands.isEmpty)
        #expect(
            driver.runAnswered(until: 5).commands.contains(.addRemoteCandidate(PeerCandidate(text: "candidate of 19"))))
    }

    @Test func whatIsLateSupersedesNothing() {
        var driver = makeDriver()
        for number in 0..<20 { driver.receive(.signal(makeOffer(number))) }
        // Of a connection that was replaced, and of no connection.
        driver.receive(.signal(makeOffer(3)))
        driver.receive(.signal(makeOffer(99, negotiation: 5)))
        #expect(answers(driver.runAnswered(until: 5)) == ["offer 19"])
    }

    @Test func oneParticipantsOffersDoNotDelayAnothers() {
        var driver = makeDriver(["a", "b"])
        for number in 0..<590 { driver.receive(.signal(makeOffer(number))) }
        #expect(creations(driver.receive(.signal(makeOffer(0, from: "b")))) == 1)
    }

    @Test func aNewcomerToAFullRoomAnswersEverybodyAtOnce() {
        let others = (0..<63).map { "a\($0)" }
        var driver = makeDriver(others)
        var actions: [RoomMachine.Action] = []
        for other in others { actions += driver.receive(.signal(makeOffer(0, from: other, connection: "c-\(other)"))) }
        #expect(creations(actions) == 63)
    }

    @Test func allParticipantsTogetherHaveAPaceToo() {
        var pace = OfferPace(RecoveryConfiguration())
        var count = 0
        // As many as come and go with a new id each time.
        for number in 0..<1000 {
            if pace.admits(makeOffer(number, from: "p\(number)"), now: .zero) {
                count += 1
            }
        }
        #expect(count == 64)
        // In turn.
        #expect(pace.next(now: at(0.001)) == nil)
        #expect(pace.next(now: at(0.030))?.peer == ParticipantID("p64"))
        #expect(pace.next(now: at(0.030)) == nil)
        #expect(pace.next(now: at(0.060))?.peer == ParticipantID("p65"))
        pace.forget(ParticipantID("p66"))
        #expect(pace.next(now: at(0.090))?.peer == ParticipantID("p67"))
    }
}
