import RoomProtocol
import RoomValues
import Testing
import TransportValues

@testable import RoomCore

/// The values that the machines of RoomCore are made of.
@Suite struct PartsTests {
    /// A step that leads to others is followed by them, before what waited.
    @Test func anAgendaTakesTheStepsOfAStepBeforeThoseThatWaited() {
        var agenda = Agenda<Int>()
        var actions = [1, 2, 3]
        agenda.add(&actions, as: { $0 })
        #expect(actions.isEmpty)
        agenda.add(4)
        var taken: [Int] = []
        while !agenda.isEmpty {
            let step = agenda.next()
            taken.append(step)
            if step == 2 {
                var more = [20, 21]
                agenda.add(&more, as: { $0 })
                agenda.add(22)
            }
            if step == 21 { agenda.add(210) }
        }
        #expect(taken == [1, 2, 20, 21, 210, 22, 3, 4])
        #expect(agenda.isEmpty)
    }

    @Test func aRebuildIsMadeAtOnceAfterAConnectionThatHasHeldAndLaterAndLaterOtherwise() {
        let configuration = RecoveryConfiguration()
        var pace = RebuildPace(configuration)
        #expect(pace.earliest(now: at(0)) == nil, "there was none before")
        pace.rebuilt(now: at(0))
        #expect(pace.earliest(now: at(1)) == at(1))
        pace.rebuilt(now: at(1))
        #expect(pace.earliest(now: at(1)) == at(3))
        #expect(pace.connectTime == configuration.budgets.connect * 2)
        for _ in 0..<100 { pace.rebuilt(now: at(10)) }
        #expect(pace.earliest(now: at(10)) == at(10) + configuration.rebuildDelayMaximum)
        #expect(pace.connectTime == configuration.connectMaximum)
        // It was healthy, and not for long enough; and then it was.
        pace.recovered(now: at(20))
        #expect(pace.earliest(now: at(21)) != nil)
        pace.recovered(now: at(30))
        #expect(pace.earliest(now: at(30) + configuration.budgets.connect) == nil && pace.count == 0)
    }

    @Test func attemptsOfARestartHaveMoreTimeEachAndTheNextRungItsTurn() {
        let configuration = RecoveryConfiguration()
        var attempts = RestartAttempts(.silence, now: at(0))
        attempts.begin(configuration, now: at(0))
        #expect(attempts.deadline == at(2.5) && attempts.attempt == 1)
        attempts.begin(configuration, now: at(2.5))
        #expect(attempts.deadline == at(6))
        attempts.bringForward(to: at(7))
        #expect(attempts.deadline == at(6), "it is moved forward only")
        attempts.bringForward(to: at(4))
        #expect(attempts.deadline == at(4))
        #expect(
            !attempts.hasHadItsTime(configuration, now: at(59)) && attempts.hasHadItsTime(configuration, now: at(60)))
        // A path was found, and carries nothing.
        attempts.isAnswered = true
        attempts.hasPath = true
        #expect(
            !attempts.hasHadItsTime(configuration, now: at(14)) && attempts.hasHadItsTime(configuration, now: at(15)))
        for _ in 0..<10 { attempts.begin(configuration, now: at(14)) }
        #expect(attempts.deadline == at(16.5), "not beyond the time of the next rung")
    }

    @Test func aRelayedPathMovesToFreshCredentialsWhenItsOwnAreOld() {
        var relay = RelayRenewal(serversAt: at(0))
        relay.roundBegan(now: at(0))
        relay.pathFound()
        #expect(relay.earliest(now: at(1000)) == nil, "how long they are valid is not known")
        relay.serversChanged(ttl: .seconds(400), now: at(50))
        #expect(relay.earliest(now: at(99)) == nil, "a quarter of their life is not over")
        #expect(relay.earliest(now: at(100)) == at(100))
        // The round that was asked for has found no path.
        relay.renewed(now: at(100))
        relay.roundBegan(now: at(100))
        #expect(relay.earliest(now: at(110)) == at(150))
        relay.pathFound()
        #expect(relay.earliest(now: at(1000)) == nil, "there are no fresher ones")
        relay.serversChanged(ttl: .seconds(400), now: at(120))
        #expect(relay.earliest(now: at(121)) == nil)
        relay.woke(after: .seconds(60))
        #expect(relay.earliest(now: at(121)) == at(150))
    }

    @Test func aRecordWaitsForTheFirstMessageWhereOneIsExpected() throws {
        var record = RecoveryRecord(ParticipantID("p"), firstDataBudget: .seconds(1))
        record.probed(now: at(1))
        record.open(.silence, now: at(2))
        record.open(.pathLost, now: at(3), rung: .restart)
        record.broke()
        #expect(record.end(.recovered, now: at(4)) == [], "it waits")
        #expect(record.end(.recovered, now: at(4)) == nil, "none is open")
        #expect(record.deadline == at(5) && record.timePassed(now: at(4.9)) == nil)
        let arrived = record.dataArrived(now: at(4.5))
        let ended = try #require(arrived)
        #expect(ended.startedAt == at(1) && ended.cause == .silence && ended.rung == .restart)
        #expect(ended.steps.map(\.kind) == [.detected, .probed, .recovered, .firstData])
        #expect(record.deadline == nil && record.dataArrived(now: at(5)) == nil)
        record.open(.silence, now: at(6))
        #expect(record.end(.recovered, now: at(7))?.count == 1, "no message is expected")
        record.open(.silence, now: at(8))
        record.broke()
        #expect(record.end(.recovered, now: at(9)) == [])
        #expect(record.timePassed(now: at(10))?.endedAt == at(9))
    }

    @Test func aCredentialIsFetchedWhenThereIsNoneOrItIsOldOrWasRefused() {
        var credential = SignalingCredential(token: nil, hasProvider: true, margin: .seconds(30))
        #expect(credential.mustBeFetched(now: at(0)))
        credential.requested()
        #expect(!credential.isForcing)
        credential.arrived("one", expiresAt: at(100), now: at(0))
        #expect(!credential.mustBeFetched(now: at(69)) && credential.mustBeFetched(now: at(70)))
        #expect(credential.refused(isTooOld: false, now: at(10)) == .atOnce)
        credential.requested()
        #expect(credential.isForcing && credential.mustBeFetched(now: at(10)))
        credential.arrived("two", expiresAt: nil, now: at(11))
        #expect(credential.refused(isTooOld: false, now: at(12)) == .useless, "a new one was refused")
        #expect(credential.refused(isTooOld: true, now: at(12)) == .later)
        credential.requested()
        credential.arrived("two", expiresAt: nil, now: at(13))
        #expect(credential.refused(isTooOld: true, now: at(14)) == .useless, "there is no newer one")
        credential.accepted()
        #expect(credential.refused(isTooOld: false, now: at(15)) == .atOnce)
        var fixed = SignalingCredential(token: "fixed", hasProvider: false, margin: .seconds(30))
        #expect(!fixed.mustBeFetched(now: at(0)) && fixed.refused(isTooOld: true, now: at(0)) == .useless)
    }

    @Test func aRefusalLeadsToWhatMayHelp() {
        var refusals = Refusals()
        func judge(_ code: ProtocolError.Code, isFatal: Bool = true, isGreeting: Bool = true, isFirst: Bool = false)
            -> Refusals.Verdict
        {
            refusals.judge(
                makeError(code, isFatal: isFatal), isGreeting: isGreeting, isFirstJoin: isFirst, now: at(0))
        }
        #expect(judge(.notHost, isFatal: false, isGreeting: false) == .report)
        #expect(judge(.roomFull) == .tryAgain)
        #expect(judge(.roomFull, isFirst: true) == .end(.refused(SignalingFailure(makeError(.roomFull)))))
        #expect(judge(.tokenExpired) == .refreshCredential)
        #expect(judge(.malformed, isGreeting: false) == .rejoin)
        #expect(judge(.staleEpoch) == .rejoin)
        #expect(judge(.staleEpoch) == .end(.staleEpoch(message: "no")))
        refusals.joined()
        #expect(judge(.staleEpoch) == .rejoin)
        #expect(judge(.replaced) == .tryAgain)
        #expect(judge(.replaced) == .end(.replaced), "it does not fight for its place")
    }

    /// Programs read these names.
    @Test func endsAndErrorsKeepTheirCodesAndTexts() {
        #expect(EndReason.left.error == nil && EndReason.left.description == "left")
        #expect(EndReason.kicked(message: "out").error?.protocolCode == .kicked)
        #expect(EndReason.kicked(message: "out").description == "out")
        let refused = EndReason.refused(SignalingFailure("no", status: 403))
        #expect(refused.error == RoomError(.refused, "no", protocolCode: ProtocolError.Code(rawValue: "status_403")))
        #expect(EndReason.gaveUp(SignalingFailure(makeError(.nameTaken))).error?.protocolCode == .nameTaken)
        #expect(EndReason.credentialFailed(SignalingFailure("none")).error?.description == "unauthorized: none")
        #expect(RoomError(.peerNotFound, "gone").description == "peer_not_found: gone")
        #expect(RoomError.queueOverflow(dropped: 3).protocolCode?.rawValue == "queue_overflow")
        #expect(RecoveryRung.allCases.map(\.description) == ["wait", "restart", "rebuild"])
    }
}
