internal import Testing
internal import TransportPluginAPI

@testable internal import PeerWebRTC

/// Which agent carries: the decisions.
struct PathMachineTests {
    typealias Action = PathMachine.Action

    private func at(_ milliseconds: Int64) -> Timestamp { Timestamp(nanoseconds: milliseconds * 1_000_000) }
    private let hold = Duration.milliseconds(50)
    private let path = PeerPath(local: .host, remote: .host, summary: "udp")

    /// One agent, connected, with data over it.
    private func established() -> PathMachine {
        var machine = PathMachine()
        _ = machine.agentMade(1, candidateHold: nil, at: at(0))
        _ = machine.connected(1)
        _ = machine.associationEstablished()
        #expect(machine.connectionState == .connected)
        return machine
    }

    @Test func firstAgentCarriesAndTheHandshakeFollowsItsPath() {
        var machine = PathMachine()
        #expect(machine.connectionState == .new && machine.carrying == nil && machine.newest == nil)
        #expect(machine.agentMade(1, candidateHold: nil, at: at(0)) == [.carry(1), .reportState(.connecting)])
        #expect(machine.selected(path, by: 1) == [.reportChecked, .reportPath(1, path)])
        #expect(machine.connected(1) == [.flush, .handshake])
        #expect(machine.isConnected)
        #expect(machine.associationEstablished() == [.reportState(.connected)])
        // A pair that is chosen later is reported, the check is not.
        #expect(machine.selected(path, by: 1) == [.reportPath(1, path)])
        #expect(machine.connected(1) == [.flush])
    }

    @Test func nextAgentTakesOverWhenItIsConnected() {
        var machine = established()
        #expect(machine.agentMade(2, candidateHold: nil, at: at(1000)).isEmpty)
        #expect(machine.carrying == 1 && machine.newest == 2)
        #expect(machine.selected(path, by: 2) == [.reportChecked], "it does not carry yet")
        #expect(
            machine.connected(2) == [
                .carry(2), .expire(1), .scheduleRetirement(after: PathMachine.retirementTime), .reportPath(2, nil),
                .flush, .examinePath,
            ])
        #expect(machine.carrying == 2 && machine.isRetired(1) && !machine.isRetired(2))
        // What the replaced one says matters to nobody.
        #expect(machine.failed(1).isEmpty && machine.connected(1).isEmpty && machine.selected(path, by: 1).isEmpty)
        #expect(machine.retirementOver() == [.close(1)])
        #expect(machine.retirementOver().isEmpty)
    }

    @Test func nextAgentIsReplacedByAnother() {
        var machine = established()
        _ = machine.agentMade(2, candidateHold: nil, at: at(0))
        #expect(machine.agentMade(3, candidateHold: nil, at: at(1)) == [.expire(2), .close(2)])
        #expect(machine.connected(2).isEmpty)
        #expect(machine.connected(3).contains(.carry(3)))
        #expect(machine.carrying == 3)
    }

    @Test func secondReplacementClosesTheOneThatStillReceives() {
        var machine = established()
        _ = machine.agentMade(2, candidateHold: nil, at: at(0))
        _ = machine.connected(2)
        _ = machine.agentMade(3, candidateHold: nil, at: at(10))
        #expect(
            machine.connected(3).starts(with: [.reportChecked, .cancelRetirement, .close(1), .carry(3), .expire(2)]))
        #expect(machine.isRetired(2))
    }

    @Test func failureOfTheCarryingAgentIsADisconnection() {
        var machine = established()
        #expect(machine.failed(1) == [.reportState(.disconnected)])
        #expect(machine.failed(1).isEmpty && !machine.isConnected)
        _ = machine.agentMade(2, candidateHold: nil, at: at(0))
        #expect(machine.failed(2).isEmpty, "the one before may come back")
        #expect(machine.connected(1) == [.flush, .reportState(.connected)])
    }

    @Test func associationOverAFailedPathIsNoConnection() {
        var machine = PathMachine()
        _ = machine.agentMade(1, candidateHold: nil, at: at(0))
        _ = machine.connected(1)
        _ = machine.failed(1)
        #expect(machine.associationEstablished().isEmpty)
        #expect(machine.connected(1) == [.flush, .reportState(.connected)])
    }

    @Test func candidatesAreHeldOnlyWhereThereIsAPathToLose() {
        var machine = PathMachine()
        #expect(machine.agentMade(1, candidateHold: hold, at: at(0)) == [.carry(1), .reportState(.connecting)])
        #expect(machine.agentMade(2, candidateHold: hold, at: at(0)).isEmpty)
        _ = machine.connected(1)
        #expect(machine.agentMade(3, candidateHold: nil, at: at(0)) == [.expire(2), .close(2)])
        #expect(
            machine.agentMade(4, candidateHold: hold, at: at(0))
                == [.expire(3), .close(3), .holdCandidates(of: 4, for: hold)])
    }

    @Test func heldCandidatesAreReleasedWhenThePathInUseFails() {
        var machine = established()
        #expect(machine.agentMade(2, candidateHold: hold, at: at(0)) == [.holdCandidates(of: 2, for: hold)])
        #expect(machine.failed(2).isEmpty, "the next one has not connected: there is still a path to lose")
        #expect(machine.failed(1) == [.releaseCandidates(of: 2), .reportState(.disconnected)])
        #expect(machine.peerSuspected().isEmpty, "once")
    }

    @Test func heldCandidatesAreReleasedWhenTheOtherSideIsSuspect() {
        var machine = established()
        #expect(machine.peerSuspected().isEmpty, "nothing is held")
        _ = machine.agentMade(2, candidateHold: hold, at: at(0))
        #expect(machine.peerSuspected() == [.releaseCandidates(of: 2)])
        #expect(machine.failed(1) == [.reportState(.disconnected)], "once")
        // Each round has its own.
        _ = machine.connected(1)
        _ = machine.agentMade(3, candidateHold: hold, at: at(10))
        #expect(machine.peerSuspected() == [.releaseCandidates(of: 3)])
        _ = machine.agentMade(4, candidateHold: nil, at: at(20))
        #expect(machine.peerSuspected().isEmpty, "nothing was held from it")
    }

    @Test func theEndOfHeldCandidatesIsNeverDropped() {
        var held = HeldCandidates()
        let lines = (0..<HeldCandidates.maximumCount + 10).map { "candidate:\($0)" }
        for line in lines { held.add(.candidate(line)) }
        held.add(.end)
        #expect(held.take() == lines.prefix(HeldCandidates.maximumCount).map { .candidate($0) } + [.end])
        #expect(held.take().isEmpty)
    }

    @Test func roundThatIsTooYoungIsNotDiagnosed() {
        var machine = PathMachine()
        #expect(machine.diagnosed(at: at(0)) == nil)
        _ = machine.agentMade(1, candidateHold: nil, at: at(0))
        _ = machine.agentMade(2, candidateHold: nil, at: at(1000))
        #expect(machine.diagnosed(at: at(2000))?.generation == 1)
        #expect(machine.diagnosed(at: at(2500))?.generation == 2)
        _ = machine.connected(1)
        #expect(machine.diagnosed(at: at(1001))?.generation == 2, "nothing is missing in the one before")
        #expect(machine.diagnosed(at: at(1001))?.isConnected == false)
    }
}
