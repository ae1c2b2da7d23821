import RoomProtocol
import RoomValues
import Testing
import TransportValues

@testable import RoomCore

@Suite struct SessionTests {
    /// Seed 9770 of the simulation: after the resume two participants were the host, or none.
    @Test func whatIsReplayedAfterAResumeDoesNotUndoANewerHost() {
        var driver = RoomDriver.inRoom()
        var host = makeParticipant("z")
        host.isHost = true
        _ = driver.comeBack(makeJoined(isResumed: true, roster: [makeParticipant("a"), host], hostTerm: 2))
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
        var driver = RoomDriver.inRoom()
        let z = makeParticipant("z", epoch: 3, metadata: ["a": "new"])
        _ = driver.comeBack(makeJoined(isResumed: true, sent: 6, roster: [makeParticipant("b"), z]))
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
        var driver = RoomDriver.inRoom()
        let z = makeParticipant("z", epoch: 3, metadata: ["a": "new"])
        _ = driver.comeBack(makeJoined(isResumed: true, roster: [z]))
        let old = makeParticipant("z", epoch: 2, metadata: ["a": "old"])
        #expect(rosterEvents(driver.receive(.peerChanged(old), sequence: 1).events).isEmpty)
        #expect(driver.machine.participants == [z])
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
        var driver = RoomDriver.inRoom()
        let events = driver.comeBack(
            makeJoined(isResumed: true, roster: [makeParticipant("b"), makeParticipant("z")]))
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
        var driver = RoomDriver.inRoom()
        let new = makeParticipant("z", session: "other")
        let events = rosterEvents(driver.comeBack(makeJoined(isResumed: true, roster: [makeParticipant("a"), new])))
        #expect(events.dropFirst() == [.peerLeft(makeParticipant("z"), reason: .left), .peerJoined(new)])
        // News of the former session change nothing.
        #expect(
            driver.receive(.peerLeft(ParticipantID("z"), SessionID("s-z"), reason: .left), sequence: 1).events.isEmpty)
    }

    /// With lost state the server knows nobody who is not back yet: they are the ones who wait for the word.
    @Test func whoIsFirstBackAtAServerWithoutStateTellsTheOthers() throws {
        var driver = RoomDriver.inRoom([makeParticipant("z")])
        driver.run(until: 1)
        let connection = try #require(driver.connection(to: ParticipantID("z")))
        driver.feed(.peer(ParticipantID("z"), connection, .state(.connected)))
        driver.feed(.transportClosed(driver.generation, nil))
        driver.run(until: 2)
        let actions = driver.join(makeJoined(epoch: 2))
        #expect(actions.contains(.peer(ParticipantID("z"), connection, .sendHint(.serverIsBack))))
    }

    @Test func whoSaysThatItLeavesHasLeftWhateverTheServerKnows() throws {
        let z = makeParticipant("z")
        let left = RoomEvent.peerLeft(z, reason: .left)
        func say(_ driver: inout RoomDriver) throws -> [RoomEvent] {
            let connection = try #require(driver.connection(to: z.id))
            return rosterEvents(driver.feed(.peer(z.id, connection, .leaving)).events)
        }
        var driver = RoomDriver.inRoom([z])
        #expect(try say(&driver) == [left])
        // The server says it too, or does not know it yet, or has forgotten everything.
        #expect(driver.receive(.peerLeft(z.id, z.session, reason: .timedOut), sequence: 1).events.isEmpty)
        #expect(driver.receive(.peerChanged(z), sequence: 2).events.isEmpty)
        #expect(rosterEvents(driver.comeBack(makeJoined(isResumed: true, roster: [z]))).count == 1)
        #expect(rosterEvents(driver.comeBack(makeJoined(epoch: 2, roster: []))).count == 1)
        // As somebody new it is welcome.
        let new = makeParticipant("z", session: "other")
        #expect(rosterEvents(driver.receive(.peerJoined(new), sequence: 1).events) == [.peerJoined(new)])
        // One that is missed already.
        var other = RoomDriver.inRoom([z])
        _ = other.comeBack(makeJoined(epoch: 2, roster: []))
        #expect(try say(&other) == [left])
    }

    @Test func whoLeavesSaysSoToEverybodyWhoseConnectionWorks() throws {
        let ids = ["y", "z"].map { ParticipantID($0) }
        var driver = RoomDriver.inRoom(ids.map { makeParticipant($0.rawValue) })
        for id in ids { driver.feed(.peer(id, try #require(driver.connection(to: id)), .state(.connected))) }
        driver.feed(.peer(ids[0], try #require(driver.connection(to: ids[0])), .state(.disconnected)))
        let actions = driver.feed(.leaveRequested)
        let commands = ids.map { id in
            actions.compactMap { if case .peer(id, _, let command) = $0 { command } else { nil } }
        }
        #expect(commands == [[.close], [.sendHint(.leaving), .close]])
    }

    @Test func theHostOfTheHighestTermCounts() {
        var driver = RoomDriver.inRoom()
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
        var driver = RoomDriver.inRoom()
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
        var known = RoomDriver.inRoom()
        known.feed(.transportClosed(1, nil))
        known.run(until: 1)
        known.feed(.transportConnected(2))
        known.receive(.error(error))
        #expect(!known.machine.isEnded)
        #expect(known.run(until: 3).opened == [3])
    }

    @Test func kickedStaysKicked() {
        var driver = RoomDriver.inRoom()
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
        var driver = RoomDriver.inRoom()
        #expect(driver.receive(.error(makeError(code))).events.last == .left(reason))
    }

    @Test func anAttemptOfOursThatArrivedLateIsOutlivedButAFightOverTheSessionIsNotFought() {
        var driver = RoomDriver.inRoom()
        driver.receive(.error(makeError(.replaced)))
        #expect(!driver.machine.isEnded)
        driver.run(until: 1)
        driver.join(makeJoined(isResumed: true))
        #expect(driver.receive(.error(makeError(.replaced))).events.last == .left(.replaced))
    }

    @Test func whoseNameSomebodyElseHasDoesNotComeBackToFight() {
        var error = makeError(.replaced)
        error.replacedBy = .participant
        var driver = RoomDriver.inRoom()
        #expect(driver.receive(.error(error)).events.last == .left(.refused(SignalingFailure(error))))
        // The same in answer to a hello.
        var other = RoomDriver.inRoom()
        other.feed(.transportClosed(1, nil))
        other.run(until: 1)
        other.feed(.transportConnected(2))
        #expect(other.receive(.error(error)).events.last == .left(.refused(SignalingFailure(error))))
        // Our own session over a newer connection.
        error.replacedBy = .session
        var own = RoomDriver.inRoom()
        own.receive(.error(error))
        #expect(!own.machine.isEnded)
    }

    @Test func aStaleEpochLeadsToARejoinAndASecondOneToTheEnd() {
        var driver = RoomDriver.inRoom()
        driver.receive(.error(makeError(.staleEpoch)))
        driver.run(until: 1)
        #expect(driver.feed(.transportConnected(2)).hellos.first?.resume?.mustRejoin == true)
        #expect(driver.receive(.error(makeError(.staleEpoch))).events.last == .left(.staleEpoch(message: "no")))
    }

    @Test func anErrorThatIsNotFatalIsReportedAndNothingEnds() {
        var driver = RoomDriver.inRoom()
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
        var driver = RoomDriver.inRoom()
        let actions = driver.feed(.leaveRequested)
        #expect(actions.sent == [.leave])
        #expect(actions.contains(.closeTransport(1, .normal)))
        #expect(actions.events.last == .left(.left))
        #expect(actions.commands.contains(.close))
        #expect(driver.feed(.leaveRequested).isEmpty)
    }

    @Test func ourOwnEntryInTheRosterIsNotAPeer() {
        let driver = RoomDriver.inRoom([makeParticipant("m"), makeParticipant("z")])
        #expect(driver.machine.participants.map(\.id.rawValue) == ["z"])
    }

    @Test func aHostThatAServerWithoutStateHasToLearnAgainIsNoNews() {
        var driver = RoomDriver.inRoom()
        let roster = [makeParticipant("a", isHost: true), makeParticipant("z")]
        let events = rosterEvents(driver.comeBack(makeJoined(epoch: 2, roster: roster, hostTerm: 0)))
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
        var driver = RoomDriver.inRoom()
        driver.receive(.error(makeError(.malformed)))
        #expect(!driver.machine.isEnded)
        driver.run(until: 1)
        #expect(driver.feed(.transportConnected(2)).hellos.first?.resume?.mustRejoin == true)
    }

    @Test func onlyWhoIsThereCanBeKickedAndASignalThatComesTooLateIsNoError() {
        var driver = RoomDriver.inRoom()
        let actions = driver.feed(.kickRequested(ParticipantID("nobody"), reason: ""))
        #expect(actions.sent.isEmpty)
        #expect(actions.events.count == 1)
        #expect(driver.receive(.error(makeError(.peerNotFound, isFatal: false))).events.isEmpty)
    }
}
