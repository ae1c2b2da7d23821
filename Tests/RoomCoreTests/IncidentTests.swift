import RoomProtocol
import RoomValues
import Testing
import TransportValues

@testable import RoomCore

/// The record of what was wrong and how it was healed.
@Suite struct IncidentTests {
    private func makeDriver() -> RoomDriver {
        var driver = RoomDriver()
        driver.feed(.started)
        driver.join(makeJoined())
        return driver
    }

    private func incidents(_ actions: [RoomMachine.Action]) -> [RoomIncident] {
        actions.events.compactMap { if case .incident(let incident) = $0 { incident } else { nil } }
    }

    @Test func anOutageOfSignalingIsAnIncidentWithItsAttempts() throws {
        var driver = makeDriver()
        driver.run(until: 1)
        driver.feed(.transportClosed(1, SignalingFailure("reset")))
        driver.run(until: 1.5)
        driver.feed(.transportFailed(2, SignalingFailure("refused")))
        driver.run(until: 3)
        driver.feed(.transportConnected(3))
        driver.now = at(3.1)
        let actions = driver.receive(.joined(makeJoined(isResumed: true)))
        let incident = try #require(incidents(actions).first)
        #expect(incident.participant == nil && incident.rung == nil)
        #expect(incident.cause == .connectionLost)
        #expect(incident.outcome == .recovered)
        #expect(incident.startedAt == at(1) && incident.endedAt == at(3.1))
        #expect(incident.steps.map(\.kind) == [.lost, .attempt, .attempt, .connected, .resumed])
        #expect(incident.steps.map(\.number) == [nil, 1, 2, nil, nil])
        #expect(incident.steps.first?.text == "reset")
        #expect(incident.steps.map(\.at) == incident.steps.map(\.at).sorted())
        guard case .incident = actions.events.last else {
            Issue.record("the incident is told when all is told that it led to")
            return
        }
    }

    @Test func aRejoinIsToldApartAndTheNextOutageIsAnIncidentOfItsOwn() {
        var driver = makeDriver()
        driver.feed(.transportClosed(1, nil))
        driver.run(until: 1)
        let first = incidents(driver.join(makeJoined(epoch: 2)))
        #expect(first.map { $0.steps.last?.kind } == [.rejoined])
        driver.run(until: 2)
        driver.receive(.goingAway(retryAfter: .seconds(1) ... .seconds(1)))
        driver.run(until: 4)
        let second = incidents(driver.join(makeJoined(epoch: 2, isResumed: true)))
        #expect(second.map(\.cause) == [.serverGoingAway])
        #expect(second.first?.steps.first { $0.kind == .attempt }?.number == 1)
    }

    @Test func aSilentServerIsTheCauseItself() {
        var driver = makeDriver()
        driver.run(until: 11)
        #expect(incidents(driver.join(makeJoined(isResumed: true))).map(\.cause) == [.silence])
    }

    @Test func aFirstJoinIsNoIncidentWhateverItTakes() {
        var driver = RoomDriver()
        driver.feed(.started)
        driver.feed(.transportFailed(1, SignalingFailure("refused")))
        driver.run(until: 1)
        #expect(incidents(driver.join(makeJoined())).isEmpty)
    }

    @Test func anEndOfTheRoomEndsTheIncident() {
        var driver = makeDriver()
        driver.feed(.transportClosed(1, nil))
        let actions = driver.feed(.leaveRequested)
        #expect(incidents(actions).map(\.outcome) == [.participantLeft])
        #expect(actions.events.last == .left(.left))
    }

    @Test func ofALongOutageTheBeginningAndTheLatestStepsAreKept() throws {
        var driver = makeDriver()
        driver.feed(.transportClosed(1, nil))
        for minute in 1...600 {
            driver.run(until: Double(minute) * 10)
            driver.feed(.transportFailed(driver.generation, SignalingFailure("refused")))
        }
        driver.run(until: 7000)
        let incident = try #require(incidents(driver.join(makeJoined(epoch: 2))).first)
        #expect(incident.steps.count == RoomIncident.stepLimit)
        #expect(incident.steps.first?.kind == .lost)
        #expect(incident.steps.last?.kind == .rejoined)
        #expect((incident.steps.dropLast(2).last?.number ?? 0) > 100)
    }

    @Test func aProbeIsAStepAndTheBeginningWhereItCameFirst() throws {
        var pair = Pair()
        pair.connect()
        pair.run(until: 20)
        pair.act(.a) { $0.checkPath(.networkChanged, now: $1, using: &$2, &$3) }
        pair.run(until: 20.6)
        let actions = pair.fact(.a, .pathChanged(PeerPath(local: .host, remote: .host)))
        let incident = try #require(actions.incidents.first)
        #expect(incident.startedAt == at(20))
        #expect(
            incident.steps.map(\.kind)
                == [.detected, .probed, .restartRequested, .described, .answered, .nominated, .connected, .recovered])
        // A probe that is answered leaves nothing behind.
        pair.run(until: 40)
        pair.act(.a) { $0.checkPath(.networkChanged, now: $1, using: &$2, &$3) }
        pair.fact(.a, .liveness(.alive))
        pair.run(until: 50)
        pair.fact(.a, .state(.disconnected))
        pair.deliverAll()
        pair.fact(.a, .state(.connected))
        let next = try #require(pair.fact(.a, .dataArrived).incidents.first)
        #expect(next.startedAt == at(50))
        #expect(!next.steps.contains { $0.kind == .probed })
    }
}
