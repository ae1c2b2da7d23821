import RoomProtocol
import RoomValues
import Testing
import TransportValues

@testable import RoomCore

@Suite struct SessionTests {
    private func makeDriver(_ roster: [Participant] = [makeParticipant("a"), makeParticipant("z")]) -> RoomDriver {
        var driver = RoomDriver()
        driver.feed(.started)
        driver.join(makeJoined(roster: roster))
        return driver
    }

    /// Loses the connection and comes back.
    private func comeBack(_ driver: inout RoomDriver, _ joined: Joined) -> [RoomEvent] {
        driver.feed(.transportClosed(driver.generation, nil))
        driver.run(until: driver.now.seconds + 0.5)
        return driver.join(joined).events
    }

    /// Seed 9770 of the simulation: after the resume two participants were the host, or none.
    @Test func whatIsReplayedAfterAResumeDoesNotUndoANewerHost() {
        var driver = makeDriver()
        var host = makeParticipant("z")
        host.isHost = true
        _ = comeBack(&driver, makeJoined(isResumed: true, roster: [makeParticipant("a"), host], hostTerm: 2))
        // From before the hand-over, and the hand-over itself, which the roster knew already.
        driver.receive(.peerChanged(makeParticipant("z")), sequence: 1)
        driver.receive(.hostChanged(ParticipantID("z"), term: 2, sessionToken: "t"), sequence: 2)
        #expect(driver.machine.participants.filter(\.isHost).map(\.id) == [ParticipantID("z")])
        var old = makeParticipant("a")
        old.isHost = true
        driver.receive(.peerChanged(old), sequence: 3)
        #expect(driver.machine.participants.filter(\.isHost).map(\.id) == [ParticipantID("z")])
    }

    /// Of a newer server, which says how far the replay goes: nothing of it is news.
    @Test func whatIsReplayedIsOlderThanTheRosterAndTellsNothing() {
        var driver = makeDriver()
        let z = makeParticipant("z", epoch: 3, metadata: ["a": "new"])
        _ = comeBack(&driver, makeJoined(isResumed: true, sent: 6, roster: [makeParticipant("b"), z]))
        let replay: [ServerMessage] = [
            .peerChanged(makeParticipant("z", epoch: 2, metadata: ["a": "old"])),
            .peerJoined(makeParticipant("c")), .peerLeft(ParticipantID("c"), SessionID("s-c"), reason: .left),
            .peerLeft(ParticipantID("a"), SessionID("s-a"), reason: .left), .peerJoined(makeParticipant("b")),
            .hostChanged(ParticipantID("z"), term: 1, sessionToken: "old"),
        ]
        for (index, message) in replay.enumerated() {
            #expect(rosterEvents(driver.receive(message, sequence: SequenceNumber(index + 1)).events).isEmpty)
        }
        #expect(driver.machine.participants == [makeParticipant("b"), z])
        let live = makeParticipant("z", epoch: 3, metadata: ["a": "newer"])
        #expect(
            rosterEvents(driver.receive(.peerChanged(live), sequence: 7).events) == [
                .peerChanged(live, ParticipantChanges(from: z, to: live))
            ])
        driver.feed(.transportClosed(driver.generation, nil))
        driver.run(until: driver.now.seconds + 0.5)
        let resume = driver.feed(.transportConnected(driver.generation)).hellos.first?.resume
        #expect(resume?.received == 7 && resume?.sessionToken == "token-1")
    }

    /// Of an older server, which does not say it.
    @Test func aReplayThatIsNotMarkedTakesNoEpochBack() {
        var driver = makeDriver()
        let z = makeParticipant("z", epoch: 3, metadata: ["a": "new"])
        _ = comeBack(&driver, makeJoined(isResumed: true, roster: [z]))
        let old = makeParticipant("z", epoch: 2, metadata: ["a": "old"])
        #expect(rosterEvents(driver.receive(.peerChanged(old), sequence: 1).events).isEmpty)
        #expect(driver.machine.participants == [z])
    }

    @Test func whoeverTalksToUsIsNotGivenUpByTheServersSilence() throws {
        var driver = makeDriver([makeParticipant("z")])
        let id = try #require(driver.connection(to: ParticipantID("z")))
        driver.feed(.peer(ParticipantID("z"), id, .state(.connected)))
        // The server has lost its state, and z has not been there yet.
        _ = comeBack(&driver, makeJoined(epoch: 2, roster: []))
        #expect(!driver.runAnswered(until: 60).events.contains { if case .peerLeft = $0 { true } else { false } })
        driver.feed(.peer(ParticipantID("z"), id, .state(.disconnected)))
        #expect(driver.runAnswered(until: 64).events.contains { if case .peerLeft = $0 { true } else { false } })
    }

    private func rosterEvents(_ events: [RoomEvent]) -> [RoomEvent] {
        events.filter {
            switch $0 {
            case .peerJoined, .peerLeft, .peerChanged, .hostChanged, .joined: true
            case .signaling, .peer, .stalled, .resolved, .incident, .attributesChanged, .undelivered, .error, .left:
                false
            }
        }
    }

    @Test func theFirstHelloHasNoResumeAndLaterOnesShowTheTokenAndThePlace() {
        var driver = RoomDriver()
        driver.feed(.started)
        #expect(driver.feed(.transportConnected(1)).hellos.first?.resume == nil)
        driver.receive(.joined(makeJoined()))
        driver.receive(.peerJoined(makeParticipant("a")), sequence: 1)
        driver.feed(.transportClosed(1, nil))
        driver.run(until: 1)
        #expect(
            driver.feed(.transportConnected(2)).hellos.first?.resume
                == Resume(sessionToken: "token-1", received: 1, attempt: 2))
    }

    @Test func aResumeTellsTheDifferenceAndTheReplayTellsNothingTwice() {
        var driver = makeDriver()
        let events = comeBack(
            &driver, makeJoined(isResumed: true, roster: [makeParticipant("b"), makeParticipant("z")]))
        #expect(rosterEvents(events).contains(.peerLeft(makeParticipant("a"), reason: .left)))
        #expect(rosterEvents(events).contains(.peerJoined(makeParticipant("b"))))
        #expect(rosterEvents(events).count == 3)
        #expect(
            rosterEvents(
                driver.receive(.peerLeft(ParticipantID("a"), SessionID("s-a"), reason: .left), sequence: 1).events
            )
            .isEmpty)
        #expect(rosterEvents(driver.receive(.peerJoined(makeParticipant("b")), sequence: 2).events).isEmpty)
        #expect(driver.machine.participants.map(\.id.rawValue) == ["b", "z"])
    }

    @Test func aNewSessionUnderAnOldIdIsALeaveAndAJoin() {
        var driver = makeDriver()
        let new = makeParticipant("z", session: "other")
        let events = rosterEvents(comeBack(&driver, makeJoined(isResumed: true, roster: [makeParticipant("a"), new])))
        #expect(events.dropFirst() == [.peerLeft(makeParticipant("z"), reason: .left), .peerJoined(new)])
        // News of the former session change nothing.
        #expect(
            driver.receive(.peerLeft(ParticipantID("z"), SessionID("s-z"), reason: .left), sequence: 1).events.isEmpty)
    }

    /// With lost state the server knows nobody who is not back yet: they are the ones who wait for the word.
    @Test func whoIsFirstBackAtAServerWithoutStateTellsTheOthers() throws {
        var driver = makeDriver([makeParticipant("z")])
        driver.run(until: 1)
        let connection = try #require(driver.connection(to: ParticipantID("z")))
        driver.feed(.peer(ParticipantID("z"), connection, .state(.connected)))
        driver.feed(.transportClosed(driver.generation, nil))
        driver.run(until: 2)
        let actions = driver.join(makeJoined(epoch: 2))
        #expect(actions.contains(.peer(ParticipantID("z"), connection, .sendHint(.serverIsBack))))
    }

    @Test func aRejoinThatFindsAnEmptyRoomWaitsForTheOthersAndMissesNobody() {
        var driver = makeDriver()
        let events = rosterEvents(comeBack(&driver, makeJoined(epoch: 2, roster: [])))
        #expect(events.count == 1)
        let back = makeParticipant("a", epoch: 2)
        #expect(
            rosterEvents(driver.receive(.peerJoined(back), sequence: 1).events)
                == [.peerChanged(back, ParticipantChanges(from: makeParticipant("a"), to: back))])
        let later = rosterEvents(driver.runAnswered(until: 40).events)
        #expect(later.contains(.peerLeft(makeParticipant("z"), reason: .timedOut)))
        #expect(!later.contains { if case .peerLeft(let peer, _) = $0 { peer.id.rawValue == "a" } else { false } })
    }

    /// Seed 260940 of the simulation: its connection had failed there, and it did not know yet that the server had lost
    /// its state.
    @Test func aMissedParticipantWhoseConnectionClosedIsWaitedForAsLongAsOthers() throws {
        var driver = makeDriver([makeParticipant("z")])
        _ = comeBack(&driver, makeJoined(epoch: 2, roster: [], grace: .seconds(20)))
        let connection = try #require(driver.connection(to: ParticipantID("z")))
        driver.feed(.peer(ParticipantID("z"), connection, .closed(nil)))
        let last = driver.now.seconds
        #expect(rosterEvents(driver.runAnswered(until: last + 19).events).isEmpty)
        let later = rosterEvents(driver.runAnswered(until: last + 25).events)
        #expect(later == [.peerLeft(makeParticipant("z"), reason: .timedOut)])
    }

    @Test func whoSaysThatItLeavesHasLeftWhateverTheServerKnows() throws {
        let z = makeParticipant("z")
        let left = RoomEvent.peerLeft(z, reason: .left)
        func say(_ driver: inout RoomDriver) throws -> [RoomEvent] {
            let connection = try #require(driver.connection(to: z.id))
            return rosterEvents(driver.feed(.peer(z.id, connection, .leaving)).events)
        }
        var driver = makeDriver([z])
        #expect(try say(&driver) == [left])
        // The server says it too, or does not know it yet, or has forgotten everything.
        #expect(driver.receive(.peerLeft(z.id, z.session, reason: .timedOut), sequence: 1).events.isEmpty)
        #expect(driver.receive(.peerChanged(z), sequence: 2).events.isEmpty)
        #expect(rosterEvents(comeBack(&driver, makeJoined(isResumed: true, roster: [z]))).count == 1)
        #expect(rosterEvents(comeBack(&driver, makeJoined(epoch: 2, roster: []))).count == 1)
        // As somebody new it is welcome.
        let new = makeParticipant("z", session: "other")
        #expect(rosterEvents(driver.receive(.peerJoined(new), sequence: 1).events) == [.peerJoined(new)])
        // One that is missed already.
        var other = makeDriver([z])
        _ = comeBack(&other, makeJoined(epoch: 2, roster: []))
        #expect(try say(&other) == [left])
    }

    @Test func whoLeavesSaysSoToEverybodyWhoseConnectionWorks() throws {
        let ids = ["y", "z"].map { ParticipantID($0) }
        var driver = makeDriver(ids.map { makeParticipant($0.rawValue) })
        for id in ids { driver.feed(.peer(id, try #require(driver.connection(to: id)), .state(.connected))) }
        driver.feed(.peer(ids[0], try #require(driver.connection(to: ids[0])), .state(.disconnected)))
        let actions = driver.feed(.leaveRequested)
        let commands = ids.map { id in
            actions.compactMap { if case .peer(id, _, let command) = $0 { command } else { nil } }
        }
        #expect(commands == [[.close], [.sendHint(.leaving), .close]])
    }

    /// Seed 24229 of the simulation: the time was up while this process was stopped, and its news were unread.
    @Test func nobodyIsGivenUpBeforeTheNewsOfAStopAreRead() throws {
        var driver = makeDriver([makeParticipant("z")])
        let last = comeBackAndStayFor(14, &driver)
        driver.now = at(last + 6.5)
        let woken = driver.feed(.timerFired(.session))
        #expect(rosterEvents(woken.events).isEmpty)
        let id = try #require(woken.sent.compactMap { if case .ping(let id) = $0 { id } else { nil } }.first)
        // What was said before.
        driver.receive(.ping(id: 9))
        #expect(rosterEvents(driver.run(until: driver.now.seconds + 1).events).isEmpty)
        driver.receive(.pong(id: id))
        let later = driver.runAnswered(until: driver.now.seconds + 4).events
        #expect(rosterEvents(later) == [.peerLeft(makeParticipant("z"), reason: .timedOut)])
    }

    /// Seed 34715 of the simulation: signaling was half-open when the time was up, and the participant had come back.
    @Test func nobodyIsGivenUpBeforeTheServerHasAnswered() throws {
        var driver = makeDriver([makeParticipant("z")])
        let last = comeBackAndStayFor(19, &driver)
        let asked = driver.run(until: last + 1.2)
        #expect(rosterEvents(asked.events).isEmpty)
        #expect(asked.sent.contains { if case .ping = $0 { true } else { false } })
        #expect(rosterEvents(driver.run(until: last + 2.5).events).isEmpty)
        // What the answer comes behind.
        let back = makeParticipant("z", epoch: 2)
        #expect(
            rosterEvents(driver.receive(.peerJoined(back), sequence: 1).events)
                == [.peerChanged(back, ParticipantChanges(from: makeParticipant("z"), to: back))])
        driver.answerPings(in: asked)
        #expect(rosterEvents(driver.runAnswered(until: last + 9).events).isEmpty)
    }

    /// Rejoins an empty room, whose server then says something every second. Returns the last time.
    private func comeBackAndStayFor(_ seconds: Int, _ driver: inout RoomDriver) -> Double {
        _ = comeBack(&driver, makeJoined(epoch: 2, roster: [], grace: .seconds(20)))
        for number in 1...seconds {
            driver.run(until: driver.now.seconds + 1)
            driver.receive(.ping(id: UInt64(number)))
        }
        return driver.now.seconds
    }

    @Test func whoIsMissedIsNotGivenUpWhileTheServerIsAwayAndHasItsTimeAgainAfterwards() {
        var driver = makeDriver([makeParticipant("z")])
        _ = comeBack(&driver, makeJoined(epoch: 2, roster: []))
        _ = driver.runAnswered(until: 15)
        driver.feed(.transportClosed(driver.generation, nil))
        let meanwhile = driver.run(until: 100).events
        #expect(rosterEvents(meanwhile).isEmpty)
        driver.feed(.reconnectRequested)
        #expect(rosterEvents(driver.join(makeJoined(epoch: 3, roster: [])).events).count == 1)
        let soon = driver.runAnswered(until: 119).events
        #expect(rosterEvents(soon).isEmpty)
        let late = driver.runAnswered(until: 125).events
        #expect(rosterEvents(late) == [.peerLeft(makeParticipant("z"), reason: .timedOut)])
    }

    @Test func nobodyIsGivenUpByAClockThatJumps() {
        var driver = makeDriver([makeParticipant("z")])
        _ = comeBack(&driver, makeJoined(epoch: 2, roster: []))
        driver.now = driver.now + .seconds(300)
        let events = driver.feed(.timerFired(.session)).events
        #expect(rosterEvents(events).isEmpty)
        driver.receive(.pong(id: 1))
        let later = driver.runAnswered(until: driver.now.seconds + 25).events
        #expect(rosterEvents(later) == [.peerLeft(makeParticipant("z"), reason: .timedOut)])
    }

    @Test func whoIsMissedAndReturnsAsSomebodyNewLeavesOnce() {
        var driver = makeDriver([makeParticipant("z")])
        _ = comeBack(&driver, makeJoined(epoch: 2, roster: []))
        let new = makeParticipant("z", session: "other")
        let events = rosterEvents(driver.receive(.peerJoined(new), sequence: 1).events)
        #expect(events == [.peerLeft(makeParticipant("z"), reason: .left), .peerJoined(new)])
    }

    @Test func theHostOfTheHighestTermCounts() {
        var driver = makeDriver()
        #expect(
            driver.receive(.hostChanged(ParticipantID("a"), term: 2, sessionToken: "token-h"), sequence: 1).events == [
                .hostChanged(ParticipantID("a"), term: 2)
            ])
        #expect(
            driver.receive(.hostChanged(ParticipantID("z"), term: 2, sessionToken: "token-h"), sequence: 2).events
                .isEmpty)
        #expect(driver.machine.participants.first(where: \.isHost)?.id.rawValue == "a")
        driver.receive(.hostChanged(ParticipantID("m"), term: 3, sessionToken: "token-h"), sequence: 3)
        #expect(driver.machine.membership?.isHost == true)
    }

    /// The server renews the token of a living session with the host that is known already, or with none.
    @Test(arguments: [("z", 1), ("-", 0)])
    func aTokenIsRenewedUnnoticed(host: String, term: HostTerm) {
        var driver = makeDriver()
        let message = ServerMessage.hostChanged(ParticipantID(host), term: term, sessionToken: "renewed")
        #expect(driver.receive(message, sequence: 1).events.isEmpty)
        driver.feed(.transportClosed(1, nil))
        driver.run(until: 1)
        #expect(driver.feed(.transportConnected(2)).hellos.first?.resume?.sessionToken == "renewed")
    }

    @Test(arguments: [ProtocolError.Code.roomNotFound, .nameTaken, .roomExists, .roomFull])
    func aRefusalThatEndsAFirstJoinIsRetriedByARejoin(code: ProtocolError.Code) {
        let error = makeError(code)
        var fresh = RoomDriver()
        fresh.feed(.started)
        fresh.feed(.transportConnected(1))
        #expect(fresh.receive(.error(error)).events.last == .left(.refused(SignalingFailure(error))))
        var known = makeDriver()
        known.feed(.transportClosed(1, nil))
        known.run(until: 1)
        known.feed(.transportConnected(2))
        known.receive(.error(error))
        #expect(!known.machine.isEnded)
        #expect(known.run(until: 3).opened == [3])
    }

    @Test func kickedStaysKicked() {
        var driver = makeDriver()
        let events = driver.receive(.error(makeError(.kicked))).events
        #expect(events.last == .left(.kicked(message: "no")))
        #expect(driver.machine.signalingStatus == .closed(.kicked(message: "no")))
        let before = driver.all.count
        driver.feed(.transportClosed(1, nil))
        driver.feed(.reconnectRequested)
        driver.feed(.networkChanged(.init()))
        driver.run(until: 100)
        #expect(driver.all.count == before)
    }

    @Test(
        arguments: [
            (.versionMismatch, .refused(SignalingFailure(makeError(.versionMismatch)))),
            (.roomClosed, .roomClosed(message: "no")),
        ] as [(ProtocolError.Code, EndReason)])
    func someRefusalsAreFinalForEverybody(code: ProtocolError.Code, reason: EndReason) {
        var driver = makeDriver()
        #expect(driver.receive(.error(makeError(code))).events.last == .left(reason))
    }

    @Test func anAttemptOfOursThatArrivedLateIsOutlivedButAFightOverTheSessionIsNotFought() {
        var driver = makeDriver()
        driver.receive(.error(makeError(.replaced)))
        #expect(!driver.machine.isEnded)
        driver.run(until: 1)
        driver.join(makeJoined(isResumed: true))
        #expect(driver.receive(.error(makeError(.replaced))).events.last == .left(.replaced))
    }

    @Test func whoseNameSomebodyElseHasDoesNotComeBackToFight() {
        var error = makeError(.replaced)
        error.replacedBy = .participant
        var driver = makeDriver()
        #expect(driver.receive(.error(error)).events.last == .left(.refused(SignalingFailure(error))))
        // The same in answer to a hello.
        var other = makeDriver()
        other.feed(.transportClosed(1, nil))
        other.run(until: 1)
        other.feed(.transportConnected(2))
        #expect(other.receive(.error(error)).events.last == .left(.refused(SignalingFailure(error))))
        // Our own session over a newer connection.
        error.replacedBy = .session
        var own = makeDriver()
        own.receive(.error(error))
        #expect(!own.machine.isEnded)
    }

    @Test func aStaleEpochLeadsToARejoinAndASecondOneToTheEnd() {
        var driver = makeDriver()
        driver.receive(.error(makeError(.staleEpoch)))
        driver.run(until: 1)
        #expect(driver.feed(.transportConnected(2)).hellos.first?.resume?.mustRejoin == true)
        #expect(driver.receive(.error(makeError(.staleEpoch))).events.last == .left(.staleEpoch(message: "no")))
    }

    @Test func anErrorThatIsNotFatalIsReportedAndNothingEnds() {
        var driver = makeDriver()
        let error = makeError(.notHost, isFatal: false)
        #expect(driver.receive(.error(error)).events == [.error(.refused(error))])
    }

    @Test func freshICEServersAreFetchedBeforeTheOldOnesExpire() {
        var driver = RoomDriver()
        driver.feed(.started)
        driver.join(makeJoined(servers: [.init(urls: ["turn:x"], username: "u", credential: "1")], ttl: .seconds(100)))
        for second in stride(from: 4.0, to: 70, by: 4) {
            #expect(driver.run(until: second).opened.isEmpty)
            driver.receive(.ack(received: 0))
        }
        let actions = driver.run(until: 70)
        #expect(actions.contains(.closeTransport(1, .normal)))
        #expect(actions.opened == [2])
    }

    @Test func leavingSaysSoAndIsTheLastEvent() {
        var driver = makeDriver()
        let actions = driver.feed(.leaveRequested)
        #expect(actions.sent == [.leave])
        #expect(actions.contains(.closeTransport(1, .normal)))
        #expect(actions.events.last == .left(.left))
        #expect(actions.commands.contains(.close))
        #expect(driver.feed(.leaveRequested).isEmpty)
    }

    @Test func ourOwnEntryInTheRosterIsNotAPeer() {
        let driver = makeDriver([makeParticipant("m"), makeParticipant("z")])
        #expect(driver.machine.participants.map(\.id.rawValue) == ["z"])
    }

    @Test func whoIsMissedIsWaitedForAlsoWhenAResumeComesBetween() {
        var driver = makeDriver([makeParticipant("z")])
        _ = comeBack(&driver, makeJoined(epoch: 2, roster: []))
        let events = comeBack(&driver, makeJoined(epoch: 2, isResumed: true, roster: []))
        #expect(rosterEvents(events).count == 1)
        #expect(driver.machine.participants.count == 1)
    }

    @Test func whoIsMissedIsGivenUpWhenSomebodyElseHasTheName() {
        var driver = makeDriver([makeParticipant("z")])
        _ = comeBack(&driver, makeJoined(epoch: 2, roster: []))
        var other = makeParticipant("y")
        other.name = "z"
        let events = rosterEvents(driver.receive(.peerJoined(other), sequence: 1).events)
        #expect(events == [.peerLeft(makeParticipant("z"), reason: .left), .peerJoined(other)])
    }

    @Test func aHostThatAServerWithoutStateHasToLearnAgainIsNoNews() {
        var driver = makeDriver()
        let roster = [makeParticipant("a", isHost: true), makeParticipant("z")]
        let events = rosterEvents(comeBack(&driver, makeJoined(epoch: 2, roster: roster, hostTerm: 0)))
        #expect(!events.contains { if case .hostChanged = $0 { true } else { false } })
        #expect(
            driver.receive(.hostChanged(ParticipantID("a"), term: 1, sessionToken: "token-h"), sequence: 1).events
                .isEmpty)
        #expect(
            driver.receive(.hostChanged(ParticipantID("z"), term: 2, sessionToken: "token-h"), sequence: 2).events
                == [.hostChanged(ParticipantID("z"), term: 2)])
        // The token that came with it is the one that is shown.
        driver.feed(.transportClosed(driver.generation, nil))
        driver.run(until: driver.now.seconds + 1)
        let hello = driver.feed(.transportConnected(driver.generation)).hellos.first
        #expect(hello?.resume?.sessionToken == "token-h")
    }

    @Test func aMessageOfOursThatTheServerCannotTakeLeadsToARejoin() {
        var driver = makeDriver()
        driver.receive(.error(makeError(.malformed)))
        #expect(!driver.machine.isEnded)
        driver.run(until: 1)
        #expect(driver.feed(.transportConnected(2)).hellos.first?.resume?.mustRejoin == true)
    }

    @Test func onlyWhoIsThereCanBeKickedAndASignalThatComesTooLateIsNoError() {
        var driver = makeDriver()
        let actions = driver.feed(.kickRequested(ParticipantID("nobody"), reason: ""))
        #expect(actions.sent.isEmpty)
        #expect(actions.events.count == 1)
        #expect(driver.receive(.error(makeError(.peerNotFound, isFatal: false))).events.isEmpty)
    }
}
