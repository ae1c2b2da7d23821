import RoomProtocol
import RoomValues
import Testing
import TransportValues

@testable import RoomCore

/// Participants that a rejoin does not find: how long they are waited for.
@Suite struct MissedParticipantTests {
    @Test func whoeverTalksToUsIsNotGivenUpByTheServersSilence() throws {
        var driver = RoomDriver.inRoom([makeParticipant("z")])
        let id = try #require(driver.connection(to: ParticipantID("z")))
        driver.feed(.peer(ParticipantID("z"), id, .state(.connected)))
        // The server has lost its state, and z has not been there yet.
        _ = driver.comeBack(makeJoined(epoch: 2, roster: []))
        #expect(!driver.runAnswered(until: 60).events.contains { if case .peerLeft = $0 { true } else { false } })
        driver.feed(.peer(ParticipantID("z"), id, .state(.disconnected)))
        #expect(driver.runAnswered(until: 64).events.contains { if case .peerLeft = $0 { true } else { false } })
    }

    @Test func aRejoinThatFindsAnEmptyRoomWaitsForTheOthersAndMissesNobody() {
        var driver = RoomDriver.inRoom()
        let events = rosterEvents(driver.comeBack(makeJoined(epoch: 2, roster: [])))
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
        var driver = RoomDriver.inRoom([makeParticipant("z")])
        _ = driver.comeBack(makeJoined(epoch: 2, roster: [], grace: .seconds(20)))
        let connection = try #require(driver.connection(to: ParticipantID("z")))
        driver.feed(.peer(ParticipantID("z"), connection, .closed(nil)))
        let last = driver.now.seconds
        #expect(rosterEvents(driver.runAnswered(until: last + 19).events).isEmpty)
        let later = rosterEvents(driver.runAnswered(until: last + 25).events)
        #expect(later == [.peerLeft(makeParticipant("z"), reason: .timedOut)])
    }

    /// Seed 24229 of the simulation: the time was up while this process was stopped, and its news were unread.
    @Test func nobodyIsGivenUpBeforeTheNewsOfAStopAreRead() throws {
        var driver = RoomDriver.inRoom([makeParticipant("z")])
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
        var driver = RoomDriver.inRoom([makeParticipant("z")])
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
        _ = driver.comeBack(makeJoined(epoch: 2, roster: [], grace: .seconds(20)))
        for number in 1...seconds {
            driver.run(until: driver.now.seconds + 1)
            driver.receive(.ping(id: UInt64(number)))
        }
        return driver.now.seconds
    }

    @Test func whoIsMissedIsNotGivenUpWhileTheServerIsAwayAndHasItsTimeAgainAfterwards() {
        var driver = RoomDriver.inRoom([makeParticipant("z")])
        _ = driver.comeBack(makeJoined(epoch: 2, roster: []))
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
        var driver = RoomDriver.inRoom([makeParticipant("z")])
        _ = driver.comeBack(makeJoined(epoch: 2, roster: []))
        driver.now = driver.now + .seconds(300)
        let events = driver.feed(.timerFired(.session)).events
        #expect(rosterEvents(events).isEmpty)
        driver.receive(.pong(id: 1))
        let later = driver.runAnswered(until: driver.now.seconds + 25).events
        #expect(rosterEvents(later) == [.peerLeft(makeParticipant("z"), reason: .timedOut)])
    }

    @Test func whoIsMissedAndReturnsAsSomebodyNewLeavesOnce() {
        var driver = RoomDriver.inRoom([makeParticipant("z")])
        _ = driver.comeBack(makeJoined(epoch: 2, roster: []))
        let new = makeParticipant("z", session: "other")
        let events = rosterEvents(driver.receive(.peerJoined(new), sequence: 1).events)
        #expect(events == [.peerLeft(makeParticipant("z"), reason: .left), .peerJoined(new)])
    }

    @Test func whoIsMissedIsWaitedForAlsoWhenAResumeComesBetween() {
        var driver = RoomDriver.inRoom([makeParticipant("z")])
        _ = driver.comeBack(makeJoined(epoch: 2, roster: []))
        let events = driver.comeBack(makeJoined(epoch: 2, isResumed: true, roster: []))
        #expect(rosterEvents(events).count == 1)
        #expect(driver.machine.participants.count == 1)
    }

    @Test func whoIsMissedIsGivenUpWhenSomebodyElseHasTheName() {
        var driver = RoomDriver.inRoom([makeParticipant("z")])
        _ = driver.comeBack(makeJoined(epoch: 2, roster: []))
        var other = makeParticipant("y")
        other.name = "z"
        let events = rosterEvents(driver.receive(.peerJoined(other), sequence: 1).events)
        #expect(events == [.peerLeft(makeParticipant("z"), reason: .left), .peerJoined(other)])
    }
}
