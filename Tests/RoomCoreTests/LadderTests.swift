import RoomProtocol
import RoomValues
import Testing
import TransportValues

@testable import RoomCore

@Suite struct LadderTests {
    @Test func evidenceThatIsMerelyLateIsWaitedFor() {
        var pair = Pair.connected()
        pair.fact(.a, .liveness(.suspect(since: at(20))))
        #expect(pair.machines[.a]?.status == .recovering(.wait, attempt: 1, since: at(20)))
        pair.run(until: 21.9)
        let incidents = pair.incidents(endedBy: .liveness(.alive))
        #expect(incidents.map(\.rung) == [.wait])
    }

    @Test func twoSecondsOfSilenceLeadToARestart() {
        var pair = Pair.connected()
        pair.run(until: 21)
        pair.fact(.a, .liveness(.suspect(since: at(20.5))))
        #expect(pair.run(until: 22.4)[.a]?.restarts == 0)
        #expect(pair.run(until: 22.5)[.a]?.restarts == 1)
    }

    @Test func theAnsweringSideAsksForARestartInstead() {
        var pair = Pair.connected()
        pair.fact(.b, .liveness(.suspect(since: at(20))))
        let actions = pair.run(until: 22)
        #expect(actions[.b]?.restartRequests == 1)
        #expect(actions[.a]?.restarts == 1)
    }

    @Test func aPathThatIsLostIsRestartedAtOnceAndAgainWhileItIsNotUpWithGrowingPatience() {
        var pair = Pair.connected()
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
        var pair = Pair.connected()
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

    /// As a browser's association whose timer comes, each time, while the path is being replaced.
    @Test(arguments: [Pair.Side.a, .b])
    func pathsThatGoSilentAsSoonAsTheyAreFoundLeadToANewConnection(side: Pair.Side) {
        var pair = Pair.connected()
        let creations = pair.actions[.a]?.creations
        var silent = 20.0
        for _ in 0..<2 {
            pair.fact(side, .liveness(.suspect(since: at(silent))))
            #expect(pair.run(until: silent + 2)[.a]?.restarts == 1)
            pair.fact(side, .liveness(.alive))
            #expect(pair.machines[side]?.status == .connected(nil))
            silent += 2.5
            pair.run(until: silent + 0.9)
        }
        #expect(pair.actions[.a]?.creations == creations)
        pair.fact(side, .liveness(.suspect(since: at(silent))))
        #expect(pair.run(until: silent + 2)[.a]?.restarts == 0)
        #expect(pair.actions[.a]?.creations == creations.map { $0 + 1 })
    }

    @Test func pathsThatHoldForAWhileAreRestartedEachTime() {
        var pair = Pair.connected()
        for time in stride(from: 20.0, to: 40, by: 3.1) {
            pair.fact(.a, .liveness(.suspect(since: at(time))))
            #expect(pair.run(until: time + 2)[.a]?.restarts == 1)
            pair.fact(.a, .liveness(.alive))
            pair.run(until: time + 3.1)
        }
    }

    /// A new connection would find no path either, and the old one would be gone when its path is back.
    @Test func restartsThatBringNoPathKeepTheConnectionForAMinute() {
        var pair = Pair.connected()
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
        var pair = Pair.connected()
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
        var pair = Pair.connected()
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
        var pair = Pair.connected()
        pair.fact(.b, .closed(PeerFailure("boom")))
        pair.deliverAll()
        #expect(pair.actions[.b]?.rebuildRequests == 1)
        #expect(pair.actions[.a]?.creations == 2)
        #expect(pair.machines[.a]?.connection == pair.machines[.b]?.connection)
    }

    @Test func aConnectionClosedInOrderIsRebuiltOnlyAfterAWhile() {
        var pair = Pair.connected()
        #expect(pair.fact(.a, .closed(nil)).creations == 0)
        #expect(pair.run(until: 21.9)[.a]?.creations == 0)
        #expect(pair.run(until: 22)[.a]?.creations == 1)
    }

    @Test func aClosedChannelIsNoConnectionUntilItIsOpenAgain() {
        var pair = Pair.connected()
        pair.fact(.a, .channelClosed)
        #expect(pair.machines[.a]?.isRecovering == true)
        pair.fact(.a, .liveness(.alive))
        #expect(pair.machines[.a]?.isRecovering == true, "a sign of life carries no messages")
        pair.run(until: 21)
        let incidents = pair.incidents(endedBy: .state(.connected))
        #expect(incidents.map(\.cause) == [.channelClosed])
    }

    @Test func aChannelThatIsNotOpenedAgainLeadsToARebuildAskedForByEitherSide() {
        var pair = Pair.connected()
        pair.fact(.a, .channelClosed)
        #expect(pair.run(until: 21.9)[.a]?.creations == 0)
        #expect(pair.run(until: 22)[.a]?.creations == 1)
        var other = Pair.connected()
        other.fact(.b, .channelClosed)
        #expect(other.run(until: 22, delivers: false)[.b]?.rebuildRequests == 1)
    }

    @Test func aRefusedDescriptionLeadsToARebuildOnEitherSide() {
        var pair = Pair.connected()
        #expect(pair.fact(.a, .descriptionRefused(PeerFailure("x"))).creations == 1)
        var other = Pair.connected()
        #expect(other.fact(.b, .descriptionRefused(PeerFailure("x"))).rebuildRequests == 1)
        other.deliverAll()
        #expect(other.actions[.a]?.creations == 2)
    }

    @Test func whileSignalingIsDownStepsAreHeldAndMadeAtOnceWhenItIsBack() {
        var pair = Pair.connected()
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
        var pair = Pair.connected(configuration)
        pair.act(.a) { $0.setReachable(false, now: $1, using: &$2, &$3) }
        pair.fact(.a, .state(.disconnected))
        #expect(pair.act(.a) { $0.rejoined(.rejoined, now: $1, using: &$2, &$3) }.restarts == 1)
        pair.act(.b) { $0.setReachable(false, now: $1, using: &$2, &$3) }
        pair.fact(.b, .closed(PeerFailure("boom")))
        #expect(pair.act(.b) { $0.rejoined(.peerRejoined, now: $1, using: &$2, &$3) }.rebuildRequests == 1)
    }

    @Test func aPathThatComesBackByItselfMakesAHeldStepNeedless() {
        var pair = Pair.connected()
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
        var healthy = Pair.connected(configuration)
        healthy.act(.a) { $0.rejoined(.rejoined, now: $1, using: &$2, &$3) }
        healthy.act(.b) { $0.rejoined(.rejoined, now: $1, using: &$2, &$3) }
        let actions = healthy.run(until: 21)
        #expect(actions[.a]?.restarts == (policy == .all ? 1 : 0))
        #expect(actions[.b]?.restartRequests == 0)
        #expect(healthy.machines[.a]?.status == .connected(nil))
        var suspect = Pair.connected(configuration)
        suspect.fact(.a, .liveness(.suspect(since: at(20))))
        #expect(
            suspect.act(.a) { $0.rejoined(.rejoined, now: $1, using: &$2, &$3) }.restarts == (policy == .none ? 0 : 1))
    }

    @Test func aRoundWhoseMessagesARejoinLostIsSuperseded() {
        var pair = Pair.connected()
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

    /// The event that interrupted signaling may have hit an idle path too.
    @Test func aHealthyPathIsProbedWhenSignalingIsBack() {
        var pair = Pair.connected()
        pair.act(.a) { $0.setReachable(false, now: $1, using: &$2, &$3) }
        #expect(pair.run(until: 23)[.a]?.isEmpty == true)
        let actions = pair.act(.a) { $0.setReachable(true, now: $1, using: &$2, &$3) }
        #expect(actions.probes == 1)
        #expect(pair.machines[.a]?.status == .connected(nil))
        #expect(pair.run(until: 24.9)[.a]?.restarts == 0)
        #expect(pair.run(until: 25)[.a]?.restarts == 1)
    }

    @Test func anAnsweredProbeOfAReturnOfSignalingLeavesNothingBehind() {
        var pair = Pair.connected()
        pair.act(.a) { $0.setReachable(false, now: $1, using: &$2, &$3) }
        pair.act(.a) { $0.setReachable(true, now: $1, using: &$2, &$3) }
        pair.fact(.a, .liveness(.alive))
        let actions = pair.run(until: 60)[.a] ?? []
        #expect(actions.restarts == 0 && actions.incidents.isEmpty)
    }

    @Test func duplicateFactsChangeNothing() {
        var pair = Pair.connected()
        pair.fact(.a, .state(.disconnected))
        #expect(pair.fact(.a, .state(.disconnected)).isEmpty)
        pair.fact(.a, .state(.connected))
        #expect(pair.fact(.a, .state(.connected)).isEmpty)
        #expect(pair.fact(.a, .liveness(.alive)).isEmpty)
    }

    @Test func aFloodOfRequestsIsPaced() throws {
        var pair = Pair.connected()
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

    /// The old agent changes its pair while the new one has none yet.
    @Test func aPathOfAnOlderGenerationIsNotTakenForTheNewOnes() {
        var pair = Pair.connected()
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
        var pair = Pair.connected()
        pair.act(.a) { $0.restart(now: $1, using: &$2, &$3) }
        #expect(pair.run(until: 60)[.a]?.restarts == 0)
        #expect(pair.actions[.a]?.incidents.map(\.endedAt) == [at(22.5)])
        #expect(pair.machines[.a]?.status == .connected(nil))
    }

    /// A probe went unanswered before: an answer of the other side's signaling shows nothing of the path.
    @Test func aRestartForAnUnansweredProbeIsNotHealedByTheAnswer() {
        var pair = Pair.connected()
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
        var pair = Pair.connected()
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

    @Test func aParticipantThatLeavesEndsItsIncidentAndItsConnection() throws {
        var pair = Pair.connected()
        pair.fact(.a, .state(.disconnected))
        let id = try #require(pair.machines[.a]?.connection)
        let actions = pair.act(.a) { $0.end(now: $1, using: &$2, &$3) }
        #expect(actions.contains(.command(id, .close)))
        #expect(actions.incidents.map(\.outcome) == [.participantLeft])
        #expect(pair.run(until: 100)[.a]?.isEmpty == true)
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
