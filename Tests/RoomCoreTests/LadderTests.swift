import RoomProtocol
import RoomValues
import Testing
import TransportValues

@testable import RoomCore

@Suite struct LadderTests {
    private func makeConnected(_ configuration: RecoveryConfiguration = RecoveryConfiguration()) -> Pair {
        var pair = Pair(configuration)
        pair.connect()
        pair.run(until: 20)
        return pair
    }

    /// Checks that the fact ends the recovery of `a`, without a later step. Returns the incidents that its first data
    /// ends.
    private func incidents(in pair: inout Pair, endedBy fact: PeerFact) -> [RoomIncident] {
        pair.fact(.a, fact)
        #expect(pair.machines[.a]?.status == .connected(nil))
        let incidents = pair.fact(.a, .dataArrived).incidents
        let later = pair.run(until: 60)[.a]
        #expect(later?.restarts == 0 && later?.creations == 0)
        return incidents
    }

    @Test func evidenceThatIsMerelyLateIsWaitedFor() {
        var pair = makeConnected()
        pair.fact(.a, .liveness(.suspect(since: at(20))))
        #expect(pair.machines[.a]?.status == .recovering(.wait, attempt: 1, since: at(20)))
        pair.run(until: 21.9)
        let incidents = incidents(in: &pair, endedBy: .liveness(.alive))
        #expect(incidents.map(\.rung) == [.wait])
    }

    @Test func twoSecondsOfSilenceLeadToARestart() {
        var pair = makeConnected()
        pair.run(until: 21)
        pair.fact(.a, .liveness(.suspect(since: at(20.5))))
        #expect(pair.run(until: 22.4)[.a]?.restarts == 0)
        #expect(pair.run(until: 22.5)[.a]?.restarts == 1)
    }

    @Test func theAnsweringSideAsksForARestartInstead() {
        var pair = makeConnected()
        pair.fact(.b, .liveness(.suspect(since: at(20))))
        let actions = pair.run(until: 22)
        #expect(actions[.b]?.restartRequests == 1)
        #expect(actions[.a]?.restarts == 1)
    }

    @Test func aPathThatIsLostIsRestartedAtOnceAndAgainWhileItIsNotUpWithGrowingPatience() {
        var pair = makeConnected()
        pair.act(.b) { machine, _, _, _ in _ = machine }
        #expect(pair.fact(.a, .state(.disconnected)).restarts == 1)
        pair.inFlight = [.a: [], .b: []]
        var times: [Double] = []
        for tick in 1...300 {
            let actions = pair.run(until: 20 + Double(tick) / 10, delivers: false)
            if actions[.a]?.restarts == 1 { times.append(Double(tick) / 10) }
        }
        #expect(times.prefix(4) == [2.5, 6, 10.5, 16])
    }

    @Test func restartsThatBringAPathWithoutASignOfLifeLeadToARebuildAfterFifteenSeconds() {
        var pair = makeConnected()
        pair.fact(.a, .state(.disconnected))
        pair.deliverAll()
        pair.fact(.a, .pathChanged(PeerPath(local: .host, remote: .host)))
        let creationsBefore = pair.actions[.a]?.creations ?? 0
        pair.run(until: 34.9)
        #expect(pair.actions[.a]?.creations == creationsBefore)
        pair.run(until: 36)
        #expect(pair.actions[.a]?.creations == creationsBefore + 1)
        #expect(pair.machines[.a]?.connection == pair.machines[.b]?.connection)
        pair.fact(.a, .state(.connected))
        pair.fact(.b, .state(.connected))
        let actions = pair.fact(.a, .dataArrived)
        #expect(actions.incidents.map(\.rung) == [.rebuild])
        #expect(pair.machines[.b]?.status == .connected(nil))
    }

    /// A new connection would find no path either, and the old one would be gone when its path is back.
    @Test func restartsThatBringNoPathKeepTheConnectionForAMinute() {
        var pair = makeConnected()
        pair.fact(.a, .liveness(.suspect(since: at(20))))
        pair.fact(.b, .liveness(.suspect(since: at(20))))
        let creations = pair.actions[.a]?.creations
        pair.run(until: 79)
        #expect((pair.actions[.a]?.restarts ?? 0) > 8)
        #expect(pair.actions[.a]?.creations == creations)
        #expect(pair.actions[.b]?.rebuildRequests == 0)
        pair.fact(.a, .liveness(.alive))
        let actions = pair.fact(.a, .dataArrived)
        #expect(actions.incidents.map(\.rung) == [.restart])
        pair.fact(.b, .liveness(.suspect(since: at(20))))
        pair.run(until: 100)
        #expect(pair.actions[.b]?.rebuildRequests == 1, "not for ever")
    }

    @Test func somebodyWhoDoesNotAnswerAtAllIsNotRebuiltBeforeAMinute() {
        var pair = makeConnected()
        pair.fact(.a, .state(.disconnected))
        pair.inFlight[.b] = []
        let creations = pair.actions[.a]?.creations
        for tick in 1...58 {
            pair.run(until: 20 + Double(tick), delivers: false)
            pair.inFlight = [.a: [], .b: []]
        }
        #expect(pair.actions[.a]?.creations == creations)
        pair.run(until: 100, delivers: false)
        #expect(pair.actions[.a]?.creations != creations)
    }

    @Test func aFirstConnectionThatTakesTooLongIsRebuiltWithGrowingPatience() {
        var pair = Pair()
        pair.act(.a) { $0.begin(now: $1, using: &$2, &$3) }
        var times: [Int] = []
        for second in 1...120 {
            if (pair.run(until: Double(second), delivers: false)[.a]?.creations ?? 0) > 0 { times.append(second) }
        }
        #expect(times == [10, 20, 40, 70, 110])
    }

    @Test func aConnectionThatFailsIsRebuiltAtOnceAndThenWithGrowingDelays() {
        var pair = makeConnected()
        var times: [Double] = []
        #expect(pair.fact(.a, .closed(PeerFailure("boom"))).creations == 1)
        for tick in 1...400 {
            let time = 20 + Double(tick) / 10
            if (pair.run(until: time, delivers: false)[.a]?.creations ?? 0) > 0 { times.append(Double(tick) / 10) }
            pair.fact(.a, .closed(PeerFailure("boom")))
        }
        #expect(times == [1, 3, 7, 15, 31])
    }

    @Test func aFailureOfTheAnsweringSideIsARebuildRequest() {
        var pair = makeConnected()
        pair.fact(.b, .closed(PeerFailure("boom")))
        pair.deliverAll()
        #expect(pair.actions[.b]?.rebuildRequests == 1)
        #expect(pair.actions[.a]?.creations == 2)
        #expect(pair.machines[.a]?.connection == pair.machines[.b]?.connection)
    }

    @Test func aConnectionClosedInOrderIsRebuiltOnlyAfterAWhile() {
        var pair = makeConnected()
        #expect(pair.fact(.a, .closed(nil)).creations == 0)
        #expect(pair.run(until: 21.9)[.a]?.creations == 0)
        #expect(pair.run(until: 22)[.a]?.creations == 1)
    }

    @Test func aClosedChannelIsNoConnectionUntilItIsOpenAgain() {
        var pair = makeConnected()
        pair.fact(.a, .channelClosed)
        #expect(pair.machines[.a]?.isRecovering == true)
        pair.fact(.a, .liveness(.alive))
        #expect(pair.machines[.a]?.isRecovering == true, "a sign of life carries no messages")
        pair.run(until: 21)
        let incidents = incidents(in: &pair, endedBy: .state(.connected))
        #expect(incidents.map(\.cause) == [.channelClosed])
    }

    @Test func aChannelThatIsNotOpenedAgainLeadsToARebuildAskedForByEitherSide() {
        var pair = makeConnected()
        pair.fact(.a, .channelClosed)
        #expect(pair.run(until: 21.9)[.a]?.creations == 0)
        #expect(pair.run(until: 22)[.a]?.creations == 1)
        var other = makeConnected()
        other.fact(.b, .channelClosed)
        #expect(other.run(until: 22, delivers: false)[.b]?.rebuildRequests == 1)
    }

    @Test func aRefusedDescriptionLeadsToARebuildOnEitherSide() {
        var pair = makeConnected()
        #expect(pair.fact(.a, .descriptionRefused(PeerFailure("x"))).creations == 1)
        var other = makeConnected()
        #expect(other.fact(.b, .descriptionRefused(PeerFailure("x"))).rebuildRequests == 1)
        other.deliverAll()
        #expect(other.actions[.a]?.creations == 2)
    }

    @Test func whileSignalingIsDownStepsAreHeldAndMadeAtOnceWhenItIsBack() {
        var pair = makeConnected()
        pair.act(.a) { $0.setReachable(false, now: $1, using: &$2, &$3) }
        #expect(pair.fact(.a, .state(.disconnected)).restarts == 0)
        #expect(pair.run(until: 60)[.a]?.restarts == 0)
        #expect(pair.machines[.a]?.status == .recovering(.restart, attempt: 1, since: at(20)))
        #expect(pair.act(.a) { $0.setReachable(true, now: $1, using: &$2, &$3) }.restarts == 1)
    }

    @Test(arguments: RejoinPolicy.allCases)
    func aStepThatWasHeldIsMadeAfterARejoinWhateverThePolicy(policy: RejoinPolicy) {
        var configuration = RecoveryConfiguration()
        configuration.rejoinPolicy = policy
        var pair = makeConnected(configuration)
        pair.act(.a) { $0.setReachable(false, now: $1, using: &$2, &$3) }
        pair.fact(.a, .state(.disconnected))
        #expect(pair.act(.a) { $0.rejoined(.rejoined, now: $1, using: &$2, &$3) }.restarts == 1)
        pair.act(.b) { $0.setReachable(false, now: $1, using: &$2, &$3) }
        pair.fact(.b, .closed(PeerFailure("boom")))
        #expect(pair.act(.b) { $0.rejoined(.peerRejoined, now: $1, using: &$2, &$3) }.rebuildRequests == 1)
    }

    @Test func aPathThatComesBackByItselfMakesAHeldStepNeedless() {
        var pair = makeConnected()
        pair.act(.a) { $0.setReachable(false, now: $1, using: &$2, &$3) }
        pair.fact(.a, .state(.disconnected))
        pair.fact(.a, .state(.connected))
        #expect(pair.act(.a) { $0.setReachable(true, now: $1, using: &$2, &$3) }.restarts == 0)
        #expect(pair.machines[.a]?.status == .connected(nil))
    }

    @Test(arguments: RejoinPolicy.allCases)
    func aRejoinRestartsWhatThePolicySays(policy: RejoinPolicy) {
        var configuration = RecoveryConfiguration()
        configuration.rejoinPolicy = policy
        var healthy = makeConnected(configuration)
        healthy.act(.a) { $0.rejoined(.rejoined, now: $1, using: &$2, &$3) }
        healthy.act(.b) { $0.rejoined(.rejoined, now: $1, using: &$2, &$3) }
        let actions = healthy.run(until: 21)
        #expect(actions[.a]?.restarts == (policy == .all ? 1 : 0))
        #expect(actions[.b]?.restartRequests == 0)
        #expect(healthy.machines[.a]?.status == .connected(nil))
        var suspect = makeConnected(configuration)
        suspect.fact(.a, .liveness(.suspect(since: at(20))))
        #expect(
            suspect.act(.a) { $0.rejoined(.rejoined, now: $1, using: &$2, &$3) }.restarts == (policy == .none ? 0 : 1))
    }

    @Test func aRoundWhoseMessagesARejoinLostIsSuperseded() {
        var pair = makeConnected()
        pair.fact(.a, .state(.disconnected))
        pair.inFlight = [.a: [], .b: []]
        #expect(pair.act(.a) { $0.rejoined(.rejoined, now: $1, using: &$2, &$3) }.restarts == 1)
        pair.deliverAll()
        pair.fact(.a, .state(.connected))
        pair.fact(.b, .state(.connected))
        #expect(pair.machines[.a]?.status == .connected(nil))
        // A first round cannot be restarted: it is made anew.
        var fresh = Pair()
        fresh.act(.a) { $0.begin(now: $1, using: &$2, &$3) }
        #expect(fresh.act(.a) { $0.rejoined(.rejoined, now: $1, using: &$2, &$3) }.creations == 1)
    }

    @Test func aChangeOfTheNetworkProbesAndRestartsWithoutAnAnswerOnly() {
        var alive = makeConnected()
        #expect(alive.act(.a) { $0.checkPath(.networkChanged, now: $1, using: &$2, &$3) }.probes == 1)
        #expect(alive.machines[.a]?.status == .connected(nil))
        alive.fact(.a, .liveness(.alive))
        #expect(alive.run(until: 30)[.a]?.restarts == 0)
        var silent = makeConnected()
        silent.act(.a) { $0.checkPath(.networkChanged, now: $1, using: &$2, &$3) }
        #expect(silent.run(until: 20.4)[.a]?.restarts == 0)
        #expect(silent.run(until: 20.5)[.a]?.restarts == 1)
    }

    @Test func aPathWhoseAddressIsGoneIsReplacedAtOnceAndAgainWithTheNextChange() {
        var pair = makeConnected()
        pair.fact(.a, .pathChanged(PeerPath(local: .host, remote: .host, localAddress: "192.0.2.1")))
        let other = NetworkChange(addresses: ["192.0.2.1", "192.0.2.9"])
        let actions = pair.act(.a) { $0.networkChanged(other, now: $1, using: &$2, &$3) }
        #expect(actions.probes == 1 && actions.restarts == 0, "the path's address is still there")
        pair.fact(.a, .liveness(.alive))
        let gone = NetworkChange(addresses: [])
        #expect(pair.act(.a) { $0.networkChanged(gone, now: $1, using: &$2, &$3) }.restarts == 1)
        pair.inFlight = [.a: [], .b: []]
        // What was gathered on the old network is of no use on the new one.
        let new = NetworkChange(addresses: ["192.0.2.2"])
        #expect(
            pair.act(.a) { $0.networkChanged(new, now: $1, using: &$2, &$3) }.restarts == 0, "not twice in a moment")
        #expect(pair.run(until: 20.1, delivers: false)[.a]?.restarts == 1)
        pair.run(until: 20.3, delivers: false)
        #expect(pair.act(.a) { $0.networkChanged(gone, now: $1, using: &$2, &$3) }.restarts == 1)
    }

    /// The old address goes and the new one comes a moment later: the other side may have answered in between.
    @Test func anAnswerIsNoPathWhereTheOldOneIsLost() {
        var pair = makeConnected()
        pair.fact(.a, .pathChanged(PeerPath(local: .host, remote: .host, localAddress: "192.0.2.1")))
        let actions = pair.act(.a) { $0.networkChanged(.init(addresses: []), now: $1, using: &$2, &$3) }
        #expect(actions.restarts == 1 && actions.probes == 1)
        pair.deliverAll()
        #expect(pair.machines[.a]?.status == .recovering(.restart, attempt: 1, since: at(20)), "nothing works yet")
        #expect(pair.actions[.a]?.incidents.isEmpty == true)
        pair.now = at(20.01)
        pair.act(.a) { $0.networkChanged(.init(addresses: ["192.0.2.2"]), now: $1, using: &$2, &$3) }
        #expect(pair.run(until: 20.2)[.a]?.restarts == 1, "what was gathered in between was of no network")
        pair.fact(.a, .pathChanged(PeerPath(local: .host, remote: .host, localAddress: "192.0.2.2")))
        pair.fact(.a, .liveness(.alive))
        let incidents = pair.fact(.a, .dataArrived).incidents
        #expect(incidents.map(\.cause) == [.networkChanged])
        #expect(pair.run(until: 60)[.a]?.restarts == 0)
    }

    /// The attempts of a first connection belong to the network that there was.
    @Test func aFirstConnectionBeginsAnewWhenTheAddressesChange() {
        for isOther in [true, false] {
            var pair = Pair()
            pair.act(.b) { $0.begin(now: $1, using: &$2, &$3) }
            pair.act(.a) { $0.begin(now: $1, using: &$2, &$3) }
            pair.run(until: 1)
            pair.act(.a) {
                $0.networkChanged(.init(addresses: ["192.0.2.2"]), isOther: isOther, now: $1, using: &$2, &$3)
            }
            #expect(pair.run(until: 1.4)[.a]?.creations == 0, "it has a moment to come to an end")
            #expect(pair.run(until: 1.5)[.a]?.creations == (isOther ? 1 : 0))
        }
    }

    /// The event that interrupted signaling may have hit an idle path too.
    @Test func aHealthyPathIsProbedWhenSignalingIsBack() {
        var pair = makeConnected()
        pair.act(.a) { $0.setReachable(false, now: $1, using: &$2, &$3) }
        #expect(pair.run(until: 23)[.a]?.isEmpty == true)
        let actions = pair.act(.a) { $0.setReachable(true, now: $1, using: &$2, &$3) }
        #expect(actions.probes == 1)
        #expect(pair.machines[.a]?.status == .connected(nil))
        #expect(pair.run(until: 24.9)[.a]?.restarts == 0)
        #expect(pair.run(until: 25)[.a]?.restarts == 1)
    }

    @Test func anAnsweredProbeOfAReturnOfSignalingLeavesNothingBehind() {
        var pair = makeConnected()
        pair.act(.a) { $0.setReachable(false, now: $1, using: &$2, &$3) }
        pair.act(.a) { $0.setReachable(true, now: $1, using: &$2, &$3) }
        pair.fact(.a, .liveness(.alive))
        let actions = pair.run(until: 60)[.a] ?? []
        #expect(actions.restarts == 0 && actions.incidents.isEmpty)
    }

    /// Found by the simulation: it was called connected until the silence was noticed.
    @Test func aPathWhoseAddressIsGoneIsNotConnectedWhileItsStepWaitsForSignaling() {
        var pair = makeConnected()
        pair.fact(.a, .pathChanged(PeerPath(local: .host, remote: .host, localAddress: "192.0.2.1")))
        pair.act(.a) { $0.setReachable(false, now: $1, using: &$2, &$3) }
        pair.act(.a) { $0.restart(now: $1, using: &$2, &$3) }
        guard case .connected = pair.machines[.a]?.status else {
            Issue.record("the old path carries until there is a new one")
            return
        }
        pair.act(.a) { $0.networkChanged(.init(addresses: []), now: $1, using: &$2, &$3) }
        if case .connected = pair.machines[.a]?.status { Issue.record("over an address that is gone") }
    }

    @Test func aPathOfThisMachineAloneOutlivesEveryNetwork() {
        var pair = makeConnected()
        pair.fact(.a, .pathChanged(PeerPath(local: .host, remote: .host, localAddress: "127.0.0.1")))
        #expect(pair.act(.a) { $0.networkChanged(.init(addresses: []), now: $1, using: &$2, &$3) }.restarts == 0)
    }

    @Test func aTimerThatComesAnHourLateLeadsToAProbeFirst() {
        var pair = makeConnected()
        pair.fact(.a, .liveness(.suspect(since: at(20))))
        pair.now = at(3620)
        let actions = pair.act(.a) { $0.timerFired(.recovery, isSignalingUp: true, now: $1, using: &$2, &$3) }
        #expect(actions.probes == 1)
        #expect(actions.restarts == 0)
        pair.timers[.b] = nil
        #expect(pair.run(until: 3620.5)[.a]?.restarts == 1)
    }

    @Test func timersThatFireTwiceOrTooEarlyDoNothing() {
        var pair = makeConnected()
        #expect(pair.act(.a) { $0.timerFired(.recovery, isSignalingUp: true, now: $1, using: &$2, &$3) }.isEmpty)
        pair.fact(.a, .liveness(.suspect(since: at(20))))
        #expect(
            pair.act(.a) { $0.timerFired(.recovery, isSignalingUp: true, now: $1, using: &$2, &$3) } == [
                .scheduleTimer(.recovery, at: at(22))
            ])
    }

    @Test func duplicateFactsChangeNothing() {
        var pair = makeConnected()
        pair.fact(.a, .state(.disconnected))
        #expect(pair.fact(.a, .state(.disconnected)).isEmpty)
        pair.fact(.a, .state(.connected))
        #expect(pair.fact(.a, .state(.connected)).isEmpty)
        #expect(pair.fact(.a, .liveness(.alive)).isEmpty)
    }

    @Test func aFloodOfRequestsIsPaced() throws {
        var pair = makeConnected()
        let id = try #require(pair.machines[.a]?.connection)
        for tick in 0..<1000 {
            pair.run(until: 20 + Double(tick) / 100)
            for negotiation in 0..<30 {
                for body in [Signal.Body.restartRequest(reason: "x"), .rebuildRequest(reason: "x")] {
                    let signal = Signal(
                        peer: ParticipantID("b"), session: SessionID("s-b"),
                        connection: pair.machines[.a]?.connection ?? id, negotiation: NegotiationID(negotiation),
                        body: body)
                    pair.act(.a) { $0.received(signal, now: $1, using: &$2, &$3) }
                }
            }
        }
        // Ten seconds: a restart each half second at most, and rebuilds with doubling delays.
        #expect((pair.actions[.a]?.restarts ?? 0) <= 21)
        #expect((pair.actions[.a]?.creations ?? 0) <= 6)
    }

    @Test func anIncidentTellsItsStepsInOrder() throws {
        var pair = makeConnected()
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
        var pair = makeConnected()
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
        var pair = makeConnected()
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
        var pair = makeConnected()
        pair.act(.a) { $0.restart(now: $1, using: &$2, &$3) }
        pair.run(until: 20.2)
        #expect(pair.actions[.a]?.incidents.isEmpty == true, "answered, and no path yet")
        #expect(pair.machines[.a]?.status == .connected(nil))
        let actions = pair.fact(.a, .pathChanged(PeerPath(local: .host, remote: .host)))
        #expect(actions.incidents.map(\.endedAt) == [at(20.2)])
        #expect(pair.run(until: 60)[.a]?.restarts == 0)
    }

    /// The old agent changes its pair while the new one has none yet.
    @Test func aPathOfAnOlderGenerationIsNotTakenForTheNewOnes() {
        var pair = makeConnected()
        pair.fact(.a, .localCandidate(PeerCandidate(text: "x", usernameFragment: "old")))
        pair.fact(.a, .pathChanged(PeerPath(local: .relay, remote: .host, usernameFragment: "old")))
        pair.act(.a) { $0.restart(now: $1, using: &$2, &$3) }
        pair.fact(.a, .localCandidate(PeerCandidate(text: "x", usernameFragment: "new")))
        pair.deliverAll()
        let told = pair.actions[.a]?.incidents.count ?? 0
        pair.fact(.a, .pathChanged(PeerPath(local: .relay, remote: .srflx, usernameFragment: "old")))
        #expect(pair.actions[.a]?.incidents.count == told, "the restart goes on")
        pair.fact(.a, .pathChanged(PeerPath(local: .relay, remote: .host, usernameFragment: "new")))
        #expect(pair.actions[.a]?.incidents.count == told + 1)
    }

    @Test func aPlannedRestartThatFindsNoPathLeavesTheOldOneAndIsNotRepeated() {
        var pair = makeConnected()
        pair.act(.a) { $0.restart(now: $1, using: &$2, &$3) }
        #expect(pair.run(until: 60)[.a]?.restarts == 0)
        #expect(pair.actions[.a]?.incidents.map(\.endedAt) == [at(22.5)])
        #expect(pair.machines[.a]?.status == .connected(nil))
    }

    /// A probe went unanswered before: an answer of the other side's signaling shows nothing of the path.
    @Test func aRestartForAnUnansweredProbeIsNotHealedByTheAnswer() {
        var pair = makeConnected()
        pair.act(.a) { $0.checkPath(.networkChanged, now: $1, using: &$2, &$3) }
        #expect(pair.run(until: 22)[.a]?.restarts == 1)
        #expect(pair.actions[.a]?.incidents.isEmpty == true)
        #expect(pair.run(until: 24)[.a]?.restarts == 1, "again, since no path came of it")
    }

    /// The outcomes of a first connection whose agent has failed, and how the machine gets there.
    enum Failure: CaseIterable { case ofTheOfferer, ofTheAnswerer, ofBoth, twice }

    @Test(arguments: Failure.allCases)
    func aFirstConnectionThatFindsNoPathIsGivenANewOneAtOnce(failure: Failure) {
        var pair = Pair()
        pair.act(.b) { $0.begin(now: $1, using: &$2, &$3) }
        pair.act(.a) { $0.begin(now: $1, using: &$2, &$3) }
        pair.deliverAll()
        pair.run(until: 3)
        if failure != .ofTheAnswerer { pair.fact(.a, .state(.disconnected)) }
        if failure == .ofTheAnswerer || failure == .ofBoth { pair.fact(.b, .state(.disconnected)) }
        if failure == .twice { pair.fact(.a, .state(.disconnected)) }
        pair.deliverAll()
        #expect(pair.actions[.a]?.restarts == 1, "one new attempt, whoever asks for it")
        #expect(pair.actions[.a]?.creations == 1)
        #expect(pair.machines[.a]?.status == .connecting, "nothing has recovered that never was")
        // As with a connection that was up: repeated with growing patience, and no rebuild while no path is found.
        let repeated = pair.run(until: 13.4)[.a]?.restarts ?? 0
        #expect((2...3).contains(repeated))
        #expect(pair.run(until: 60)[.a]?.creations == 0)
        #expect((pair.actions[.a]?.restarts ?? 0) < 20)
        pair.fact(.a, .state(.connected))
        pair.fact(.b, .state(.connected))
        #expect(pair.machines[.a]?.status == .connected(nil))
        #expect(pair.machines[.b]?.status == .connected(nil))
    }

    @Test func aRebuiltConnectionThatFindsNoPathIsGivenANewOneAtOnce() {
        var pair = makeConnected()
        pair.fact(.a, .closed(PeerFailure("boom")))
        pair.deliverAll()
        #expect(pair.actions[.a]?.creations == 2)
        let actions = pair.fact(.a, .state(.disconnected))
        #expect(actions.restarts == 1)
        #expect(pair.machines[.a]?.status == .recovering(.restart, attempt: 1, since: at(20)))
    }

    @Test func anApplicationsWishDoesNotDisturbAFirstConnection() {
        var pair = Pair()
        pair.act(.a) { $0.begin(now: $1, using: &$2, &$3) }
        #expect(pair.act(.a) { $0.restart(now: $1, using: &$2, &$3) }.isEmpty)
    }

    // MARK: Sleep

    @Test func afterASleepAPathIsAskedAndLivesOnWhenItAnswers() {
        var pair = makeConnected()
        let actions = pair.act(.a) { $0.woke(after: .seconds(3600), now: $1, using: &$2, &$3) }
        #expect(actions.probes == 1)
        #expect(pair.machines[.a]?.status == .connected(nil))
        let incidents = pair.fact(.a, .liveness(.alive)).incidents
        #expect(incidents.isEmpty, "nothing was wrong")
        #expect(pair.run(until: 60)[.a]?.restarts == 0)
    }

    @Test func afterASleepAPathThatDoesNotAnswerIsRestarted() {
        var pair = makeConnected()
        pair.act(.a) { $0.woke(after: .seconds(3600), now: $1, using: &$2, &$3) }
        #expect(pair.run(until: 20.4)[.a]?.restarts == 0)
        #expect(pair.run(until: 20.5)[.a]?.restarts == 1)
    }

    /// A moment before the sleep ended, each of these was about to be judged by the clock.
    @Test func nothingIsJudgedByTheClockOfASleeper() {
        var watching = makeConnected()
        watching.fact(.a, .liveness(.suspect(since: at(20))))
        watching.run(until: 21.99)
        #expect(watching.act(.a) { $0.woke(after: .seconds(60), now: $1, using: &$2, &$3) }.probes == 1)
        #expect(watching.run(until: 22.4)[.a]?.restarts == 0)
        #expect(watching.run(until: 22.5)[.a]?.restarts == 1)

        var restarting = makeConnected()
        restarting.fact(.a, .state(.disconnected))
        restarting.run(until: 22.49)
        #expect(restarting.act(.a) { $0.woke(after: .seconds(60), now: $1, using: &$2, &$3) }.probes == 1)
        #expect(restarting.run(until: 22.9)[.a]?.restarts == 0)
        #expect(restarting.run(until: 23)[.a]?.restarts == 1)

        var connecting = Pair()
        connecting.act(.a) { $0.begin(now: $1, using: &$2, &$3) }
        connecting.run(until: 9.99, delivers: false)
        connecting.act(.a) { $0.woke(after: .seconds(60), now: $1, using: &$2, &$3) }
        #expect(connecting.run(until: 14.9, delivers: false)[.a]?.creations == 0)
        #expect(connecting.run(until: 15, delivers: false)[.a]?.creations == 1)
    }

    @Test func aParticipantThatLeavesEndsItsIncidentAndItsConnection() throws {
        var pair = makeConnected()
        pair.fact(.a, .state(.disconnected))
        let id = try #require(pair.machines[.a]?.connection)
        let actions = pair.act(.a) { $0.end(now: $1, using: &$2, &$3) }
        #expect(actions.contains(.command(id, .close)))
        #expect(actions.incidents.map(\.outcome) == [.participantLeft])
        #expect(pair.run(until: 100)[.a]?.isEmpty == true)
    }

    @Test func aRelayedPathIsMovedToFreshCredentialsBeforeTheOldOnesExpire() {
        var pair = makeConnected()
        pair.fact(.a, .pathChanged(PeerPath(local: .relay, remote: .host)))
        let servers = [ICEServer(urls: ["turn:x"])]
        pair.act(.a) { $0.iceServersChanged(servers, ttl: .seconds(3600), now: $1, using: &$2, &$3) }
        #expect(pair.run(until: 22)[.a]?.restarts == 0)
        pair.now = at(2500)
        pair.act(.a) { $0.iceServersChanged(servers, ttl: .seconds(3600), now: $1, using: &$2, &$3) }
        #expect(pair.run(until: 2502)[.a]?.commands.contains(.restartPath(iceServers: servers)) == true)
    }

    /// The server hands out fresh ones half-way through their life: a path that was made shortly before must not wait
    /// for the next.
    @Test func aRelayedPathThatIsYoungerThanItsCredentialsIsMovedInTime() {
        var pair = makeConnected()
        pair.fact(.a, .pathChanged(PeerPath(local: .relay, remote: .host)))
        func fresh(at time: Double) -> Int? {
            pair.run(until: time)
            let servers = [ICEServer(urls: ["turn:x"], credential: "\(time)")]
            pair.act(.a) { $0.iceServersChanged(servers, ttl: .seconds(200), now: $1, using: &$2, &$3) }
            return pair.run(until: time + 2)[.a]?.restarts
        }
        let first = fresh(at: 30)
        #expect(first == 0)
        // A new round, with the credentials of 30 s.
        pair.run(until: 80)
        pair.fact(.a, .state(.disconnected))
        pair.fact(.a, .pathChanged(PeerPath(local: .relay, remote: .host)))
        pair.fact(.a, .state(.connected))
        let second = fresh(at: 90)
        #expect(second == 1)
    }

    /// A pair over a relay, 50 s after it got credentials that live for 200 s.
    private func makeRelayed() -> Pair {
        var pair = makeConnected()
        pair.fact(.a, .pathChanged(PeerPath(local: .relay, remote: .host)))
        pair.run(until: 30)
        pair.act(.a) {
            $0.iceServersChanged([ICEServer(urls: ["turn:x"])], ttl: .seconds(200), now: $1, using: &$2, &$3)
        }
        pair.run(until: 80)
        return pair
    }

    /// A restart that found nothing has not changed what the old path lives on.
    @Test func anOldRelayedPathThatOutlivesANewerRoundIsMovedInTimeAndNotAllTheTime() {
        var pair = makeRelayed()
        pair.fact(.a, .state(.disconnected))
        pair.deliverAll()
        #expect(pair.fact(.a, .state(.connected)).restarts == 0)
        let actions = pair.run(until: 82)
        #expect(actions[.a]?.restarts == 1)
        // No path comes of it either: again after an eighth of their life.
        #expect(pair.run(until: 104.9)[.a]?.restarts == 0)
        #expect(pair.run(until: 107)[.a]?.restarts == 1)
        pair.fact(.a, .pathChanged(PeerPath(local: .relay, remote: .host)))
        #expect(pair.run(until: 190)[.a]?.restarts == 0)
    }

    /// Seed 569627 of the simulation: each interruption delayed the new path by an eighth of the credentials' life,
    /// beyond their end.
    @Test func aPathThatFlapsIsMovedInTimeAllTheSame() {
        var pair = makeRelayed()
        for _ in 0..<6 {
            pair.fact(.a, .liveness(.suspect(since: pair.now)))
            pair.fact(.a, .liveness(.alive))
        }
        #expect(pair.run(until: 82)[.a]?.restarts == 1)
    }

    @Test func aPathThatIsBrokenWhenFreshCredentialsComeIsMovedWhenItIsBack() {
        var pair = makeConnected()
        pair.fact(.a, .pathChanged(PeerPath(local: .relay, remote: .host)))
        pair.fact(.a, .liveness(.suspect(since: at(20))))
        pair.act(.a) {
            $0.iceServersChanged([ICEServer(urls: ["turn:x"])], ttl: .seconds(60), now: $1, using: &$2, &$3)
        }
        pair.fact(.a, .liveness(.alive))
        #expect(pair.run(until: 22)[.a]?.restarts == 1)
    }
}

@Suite struct PacingTests {
    @Test func onlyEightOfOursConnectAtATime() {
        var driver = RoomDriver()
        driver.feed(.started)
        let roster = (10..<30).map { makeParticipant("p\($0)") }
        var created = driver.join(makeJoined("a", roster: roster)).commands.count {
            if case .create = $0 { true } else { false }
        }
        #expect(created == 8)
        #expect(driver.machine.peerStatus(of: ParticipantID("p29")) == .waiting)
        let (peer, id) =
            driver.all.lazy.compactMap { action -> (ParticipantID, PeerConnectionID)? in
                if case .peer(let peer, let id, .create) = action { (peer, id) } else { nil }
            }.first ?? (ParticipantID(""), PeerConnectionID(""))
        created = driver.feed(.peer(peer, id, .state(.connected))).commands.count {
            if case .create = $0 { true } else { false }
        }
        #expect(created == 1)
        // Those that take too long give their places away.
        for second in stride(from: 4.0, through: 12, by: 4) {
            driver.run(until: second)
            driver.receive(.ack(received: 0))
        }
        #expect(driver.machine.peerStatus(of: ParticipantID("p25")) == .connecting)
    }
}
