import RoomProtocol
import RoomValues
import Testing
import TransportValues

@testable import RoomCore

/// Why a pair is not connected, or carries nothing, is told within ten seconds.
@Suite struct StallTests {
    private static let deadline = 10.0

    /// In the room with `z`, whom this side is to offer a connection, or with `a`, who is to offer one.
    private func makeRoom(with others: String...) -> RoomDriver {
        var driver = RoomDriver()
        driver.feed(.started)
        driver.join(makeJoined(roster: others.map { makeParticipant($0) }))
        return driver
    }

    private func stalls(_ actions: [RoomMachine.Action]) -> [PeerStall.Code] {
        actions.events.compactMap { if case .stalled(_, let stall) = $0 { stall.code } else { nil } }
    }

    private func resolved(_ actions: [RoomMachine.Action]) -> [PeerStall.Code] {
        actions.events.compactMap { if case .resolved(_, let stall) = $0 { stall.code } else { nil } }
    }

    private func offer(_ driver: inout RoomDriver, to peer: String = "z") -> PeerConnectionID? {
        let z = ParticipantID(peer)
        guard let connection = driver.connection(to: z) else { return nil }
        driver.feed(.peer(z, connection, .localDescription(SessionDescription(kind: .offer, text: "offer"))))
        return connection
    }

    private func answer(_ driver: inout RoomDriver, _ connection: PeerConnectionID) {
        driver.receive(
            .signal(
                Signal(
                    peer: ParticipantID("z"), session: SessionID("s-z"), connection: connection, negotiation: 1,
                    body: .description(SessionDescription(kind: .answer, text: "answer")))), sequence: 1)
    }

    /// A room with z, whose connection is up.
    private func makeConnectedRoom() throws -> (RoomDriver, ParticipantID, PeerConnectionID) {
        var driver = makeRoom(with: "z")
        let z = ParticipantID("z")
        let connection = try #require(offer(&driver))
        answer(&driver, connection)
        driver.feed(.peer(z, connection, .state(.connected)))
        return (driver, z, connection)
    }

    @Test func anOfferThatIsNotAnsweredIsTold() {
        var driver = makeRoom(with: "z")
        _ = offer(&driver)
        #expect(stalls(driver.runAnswered(until: 7)).isEmpty)
        #expect(stalls(driver.runAnswered(until: Self.deadline)) == [.noAnswer])
    }

    @Test func anOfferThatDoesNotComeIsTold() {
        var driver = makeRoom(with: "a")
        #expect(stalls(driver.runAnswered(until: Self.deadline)) == [.noOffer])
    }

    @Test func aReasonIsToldOnceAndRarelyAgain() {
        var driver = makeRoom(with: "a")
        #expect(stalls(driver.runAnswered(until: 100)) == [.noOffer])
        #expect(stalls(driver.runAnswered(until: 140)) == [.noOffer])
    }

    @Test func whatTheTransportSaysIsTold() throws {
        var driver = makeRoom(with: "z")
        let z = ParticipantID("z")
        let connection = try #require(offer(&driver))
        answer(&driver, connection)
        let actions = driver.runAnswered(until: 8.5)
        #expect(actions.commands.contains(.diagnose))
        let stall = PeerStall(.checksUnanswered, "nothing answers", cure: "open the firewall")
        let told = driver.feed(.peer(z, connection, .diagnosed(stall)))
        #expect(told.events == [.stalled(z, stall)])
    }

    @Test func aTransportThatSaysNothingIsToldToo() throws {
        var driver = makeRoom(with: "z")
        let connection = try #require(offer(&driver))
        answer(&driver, connection)
        driver.runAnswered(until: 8.5)
        #expect(stalls(driver.feed(.peer(ParticipantID("z"), connection, .diagnosed(nil)))) == [.notConnected])
    }

    @Test func aConnectionThatCannotBeMadeIsToldWithItsReason() throws {
        for (code, expected) in [
            (TransportError.Code.resourceExhausted, PeerStall.Code.resourceExhausted), (.unreachable, .noNetwork),
            (.invalidArgument, .invalidConfiguration), (.fingerprintMismatch, .fingerprintMismatch),
            (.handshakeFailed, .connectionFailed),
        ] {
            var driver = makeRoom(with: "z")
            let z = ParticipantID("z")
            var told: [PeerStall.Code] = []
            while driver.now.seconds < Self.deadline {
                if let connection = driver.machine.peerStatus(of: z).flatMap({ _ in driver.connection(to: z) }) {
                    driver.feed(.peer(z, connection, .closed(PeerFailure("no", code: code))))
                }
                told += stalls(driver.runAnswered(until: driver.now.seconds + 0.5))
            }
            #expect(told == [expected])
        }
    }

    @Test func aDescriptionThatIsRefusedInALoopIsTold() throws {
        var driver = makeRoom(with: "a")
        let a = ParticipantID("a")
        var told: [PeerStall.Code] = []
        var sequence: SequenceNumber = 0
        while driver.now.seconds < Self.deadline {
            sequence += 1
            let id = PeerConnectionID("c\(sequence)")
            driver.receive(
                .signal(
                    Signal(
                        peer: a, session: SessionID("s-a"), connection: id, negotiation: 1,
                        body: .description(SessionDescription(kind: .offer, text: "odd")))), sequence: sequence)
            let failure = PeerFailure("odd", code: .protocolViolation, isRefusal: true)
            driver.feed(.peer(a, id, .descriptionRefused(failure)))
            told += stalls(driver.runAnswered(until: driver.now.seconds + 1))
        }
        #expect(told == [.descriptionRefused])
    }

    @Test func aDescriptionThatTheOtherSideRefusesIsTold() throws {
        var driver = makeRoom(with: "z")
        let connection = try #require(offer(&driver))
        driver.receive(
            .signal(
                Signal(
                    peer: ParticipantID("z"), session: SessionID("s-z"), connection: connection, negotiation: 1,
                    body: .rebuildRequest(reason: "descriptionRefused"))), sequence: 1)
        _ = offer(&driver)
        #expect(stalls(driver.runAnswered(until: Self.deadline)) == [.descriptionRefused])
    }

    @Test func whoWaitsForItsTurnIsToldSo() {
        let names = (0..<9).map { "z\($0)" }
        var driver = RoomDriver()
        driver.feed(.started)
        driver.join(makeJoined(roster: names.map { makeParticipant($0) }))
        for name in names { _ = offer(&driver, to: name) }
        let told = stalls(driver.runAnswered(until: Self.deadline))
        #expect(told.count { $0 == .noAnswer } == 8)
        #expect(told.count { $0 == .waitingForTurn } == 1)
    }

    @Test func aPairThatWaitsForTheRoomServerIsToldSo() throws {
        var driver = makeRoom(with: "z")
        _ = offer(&driver)
        driver.feed(.transportClosed(driver.generation, SignalingFailure("gone")))
        #expect(stalls(driver.run(until: Self.deadline)) == [.signalingDown])
    }

    @Test func aReasonThatChangesIsToldAgainAndEndsWithTheConnection() throws {
        var driver = makeRoom(with: "z")
        let z = ParticipantID("z")
        _ = offer(&driver)
        // Ten seconds later a new connection is made.
        #expect(stalls(driver.runAnswered(until: 11)) == [.noAnswer])
        let connection = try #require(offer(&driver))
        answer(&driver, connection)
        #expect(driver.runAnswered(until: 16.5).commands.contains(.diagnose))
        let stall = PeerStall(.checksUnanswered, "", cure: "")
        #expect(stalls(driver.feed(.peer(z, connection, .diagnosed(stall)))) == [.checksUnanswered])
        #expect(resolved(driver.feed(.peer(z, connection, .state(.connected)))) == [.checksUnanswered])
        let later = driver.runAnswered(until: 60)
        #expect(stalls(later).isEmpty && !later.commands.contains(.diagnose))
    }

    /// A new path was offered a moment ago: its answer is not missed yet, and the transport knows what the previous
    /// path lacks.
    @Test func anOfferOfANewPathHasItsTimeBeforeItsAnswerIsMissed() throws {
        var driver = makeRoom(with: "z")
        let z = ParticipantID("z")
        let connection = try #require(offer(&driver))
        answer(&driver, connection)
        driver.runAnswered(until: 7.5)
        driver.feed(.peer(z, connection, .state(.disconnected)))
        _ = offer(&driver)
        #expect(driver.runAnswered(until: 9).commands.contains(.diagnose))
        let stall = PeerStall(.checksUnanswered, "", cure: "")
        #expect(stalls(driver.feed(.peer(z, connection, .diagnosed(stall)))) == [.checksUnanswered])
    }

    @Test func aPairThatConnectsInTimeIsNotSpokenOf() throws {
        var driver = makeRoom(with: "z")
        let connection = try #require(offer(&driver))
        answer(&driver, connection)
        driver.runAnswered(until: 7)
        driver.feed(.peer(ParticipantID("z"), connection, .state(.connected)))
        driver.runAnswered(until: 60)
        #expect(stalls(driver.all).isEmpty && resolved(driver.all).isEmpty)
        #expect(driver.timers[.peer(ParticipantID("z"), .stall)] == nil)
    }

    @Test func dataThatIsNotAcknowledgedIsToldAtOnceAndWhenItIsOver() throws {
        let (room, z, connection) = try makeConnectedRoom()
        var driver = room
        #expect(driver.feed(.peer(z, connection, .unacknowledged)).commands == [.diagnose])
        #expect(stalls(driver.feed(.peer(z, connection, .diagnosed(nil)))) == [.notAcknowledged])
        #expect(resolved(driver.feed(.peer(z, connection, .acknowledged))) == [.notAcknowledged])
    }

    /// The path was broken when it was noticed, and works again: acknowledgements have their time anew.
    @Test func dataThatIsStillNotAcknowledgedAfterARecoveryIsTold() throws {
        let (room, z, connection) = try makeConnectedRoom()
        var driver = room
        driver.feed(.peer(z, connection, .liveness(.suspect(since: driver.now))))
        driver.feed(.peer(z, connection, .unacknowledged))
        driver.feed(.peer(z, connection, .liveness(.alive)))
        #expect(driver.runAnswered(until: driver.now.seconds + 7).commands.contains(.diagnose) == false)
        #expect(driver.runAnswered(until: driver.now.seconds + 2).commands.contains(.diagnose))
    }

    @Test func aProcessThatStoodStillGivesThePairTimeBeforeItSpeaks() {
        var driver = makeRoom(with: "a")
        driver.now = at(30)
        #expect(stalls(driver.feed(.timerFired(.peer(ParticipantID("a"), .stall)))).isEmpty)
        #expect(driver.timers[.peer(ParticipantID("a"), .stall)] == at(38))
    }

    @Test func whoHasLeftIsNotSpokenOf() {
        var driver = makeRoom(with: "a")
        driver.receive(
            .peerLeft(ParticipantID("a"), SessionID("s-a"), reason: .left), sequence: 1)
        #expect(stalls(driver.runAnswered(until: 60)).isEmpty)
        #expect(driver.timers[.peer(ParticipantID("a"), .stall)] == nil)
    }

    @Test func aChannelIsOpenedAgainAtOnceAndThenMoreAndMoreRarely() {
        var backoff = ReopeningBackoff()
        let delays = (0..<8).map { backoff.delay(now: at(Double($0))) }
        #expect(delays == [0, 1, 2, 4, 8, 16, 30, 30].map { .seconds($0) })
        #expect(backoff.delay(now: at(100)) == .zero, "it was open for a while")
    }

    @Test func dataIsUnacknowledgedAfterFourLooksWithoutProgress() {
        var watch = AcknowledgementWatch()
        for _ in 0..<4 {
            watch.sample(acknowledged: 7)
            #expect(!watch.isUnacknowledged)
        }
        watch.sample(acknowledged: 7)
        #expect(watch.isUnacknowledged)
        watch.sample(acknowledged: 8)
        #expect(!watch.isUnacknowledged)
        for _ in 0..<9 { watch.sample(acknowledged: nil) }
        #expect(!watch.isUnacknowledged)
    }
}
