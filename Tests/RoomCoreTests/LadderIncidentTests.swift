import RoomProtocol
import RoomValues
import Testing
import TransportValues

@testable import RoomCore

/// The incidents that a recovery is told in.
@Suite struct LadderIncidentTests {
    @Test func anIncidentTellsItsStepsInOrder() throws {
        var pair = Pair.connected()
        pair.fact(.a, .liveness(.suspect(since: at(20))))
        pair.run(until: 22.1)
        pair.fact(.a, .endOfLocalCandidates(usernameFragment: "f"))
        pair.fact(.a, .checked)
        pair.run(until: 22.2)
        pair.fact(.a, .pathChanged(PeerPath(local: .host, remote: .host)))
        pair.run(until: 22.3)
        #expect(pair.fact(.a, .state(.connected)).incidents.isEmpty, "its first data is to come")
        pair.now = at(22.4)
        let incident = try #require(pair.fact(.a, .dataArrived).incidents.first)
        #expect(incident.cause == .silence)
        #expect(incident.rung == .restart)
        #expect(incident.outcome == .recovered)
        #expect(
            incident.steps.map(\.kind) == [
                .detected, .restartRequested, .described, .answered, .gathered, .checked, .nominated, .connected,
                .recovered, .firstData,
            ])
        #expect(incident.steps.map(\.at) == incident.steps.map(\.at).sorted())
        #expect(incident.endedAt == at(22.3))
        #expect(incident.steps.last?.at == at(22.4))
        #expect(pair.fact(.a, .dataArrived).isEmpty, "told once")
    }

    @Test func anIncidentOfAPairThatSaysNothingIsToldASecondLater() throws {
        var pair = Pair.connected()
        pair.fact(.a, .liveness(.suspect(since: at(20))))
        pair.run(until: 21)
        pair.fact(.a, .liveness(.alive))
        #expect(pair.run(until: 21.9)[.a]?.incidents.isEmpty == true)
        let incident = try #require(pair.run(until: 22)[.a]?.incidents.first)
        #expect(incident.endedAt == at(21))
        #expect(incident.steps.last?.kind == .recovered)
        #expect(pair.fact(.a, .dataArrived).isEmpty, "too late to be of it")
    }

    @Test func anOutageBeforeTheFirstDataOfTheLastOneLosesNeitherRecord() {
        var pair = Pair.connected()
        pair.fact(.a, .liveness(.suspect(since: at(20))))
        pair.run(until: 21)
        pair.fact(.a, .liveness(.alive))
        pair.run(until: 21.5)
        pair.fact(.a, .liveness(.suspect(since: at(21.5))))
        #expect(pair.run(until: 22)[.a]?.incidents.map(\.endedAt) == [at(21)])
        pair.fact(.a, .liveness(.alive))
        let second = pair.fact(.a, .dataArrived).incidents
        #expect(second.map(\.startedAt) == [at(21.5)])
        #expect(second.first?.steps.last?.kind == .firstData)
    }

    /// The record of a path that is moved without need ends with the new path, not with the answer.
    @Test func aPlannedRestartHasEndedWhenItsPathIsThere() {
        var pair = Pair.connected()
        pair.act(.a) { $0.restart(now: $1, using: &$2, &$3) }
        pair.run(until: 20.2)
        #expect(pair.actions[.a]?.incidents.isEmpty == true, "answered, and no path yet")
        #expect(pair.machines[.a]?.status == .connected(nil))
        let actions = pair.fact(.a, .pathChanged(PeerPath(local: .host, remote: .host)))
        #expect(actions.incidents.map(\.endedAt) == [at(20.2)])
        #expect(pair.run(until: 60)[.a]?.restarts == 0)
    }
}
