import RoomProtocol
import RoomValues
import Testing
import TransportValues

@testable import RoomCore

/// The smaller machines and values that the machines of one participant and of signaling consist of.
@Suite struct SubMachineTests {
    @Test func candidatesWaitForTheirRoundAndThoseOfEarlierOnesAreDropped() {
        var early = EarlyCandidates(of: PeerConnectionID("c"), limit: 4)
        for (index, negotiation) in [1, 2, 1, 3, 2].enumerated() {
            early.add(PeerCandidate(text: "\(index)"), of: NegotiationID(negotiation))
        }
        #expect(early.take(of: 2).map(\.text) == ["1"], "the fifth was one too many")
        #expect(early.take(of: 1).isEmpty, "its time is over")
        early.add(PeerCandidate(text: "5"), of: 4)
        early.drop(before: 4)
        #expect(early.take(of: 3).isEmpty)
        #expect(early.take(of: 4).map(\.text) == ["5"])
    }

    @Test func theLatestRetiredConnectionsAreRemembered() {
        var retired = RetiredConnections()
        for index in 0...RetiredConnections.limit { retired.insert(PeerConnectionID("\(index)")) }
        #expect(!retired.contains(PeerConnectionID("0")))
        #expect(retired.contains(PeerConnectionID("1")) && retired.contains(PeerConnectionID("8")))
    }

    @Test func newsOfAPeerTellSignalingAboutTheNetworkOnlyWhereTheyAreNew() {
        #expect(SignalingReaction(to: .liveness(.suspect(since: at(1))), wasRecovering: false) == .probe)
        #expect(SignalingReaction(to: .liveness(.alive), wasRecovering: false) == .none)
        #expect(SignalingReaction(to: .state(.connected), wasRecovering: true) == .retry)
        #expect(SignalingReaction(to: .unheard, wasRecovering: false) == .checkWhetherHeard)
        #expect(SignalingReaction(to: .channelClosed, wasRecovering: true) == .none)
    }

    @Test func aDescriptionSupersedesSignalsOfOlderRoundsAndOtherConnections() {
        let end = Signal.Body.endOfCandidates(usernameFragment: "u")
        let description = signal("c", 2, .description(SessionDescription(kind: .offer, text: "")))
        #expect(description.supersedes(signal("c", 1, end)))
        #expect(description.supersedes(signal("d", 2, end)))
        #expect(!description.supersedes(signal("c", 2, end)))
        #expect(!signal("c", 2, end).supersedes(signal("c", 1, end)))
    }

    private func signal(_ connection: String, _ negotiation: NegotiationID, _ body: Signal.Body) -> Signal {
        Signal(
            peer: ParticipantID("p"), session: SessionID("s"), connection: PeerConnectionID(connection),
            negotiation: negotiation, body: body)
    }

    // MARK: The recovery's policy

    private let configuration = RecoveryConfiguration()

    @Test func ofAPathThatIsHealthyOnlyALostAddressLeadsToARestartAtOnce() {
        let policy = RecoveryPolicy(configuration, isOfferer: true)
        let lost = policy.networkChanged(isPathLost: true, isOther: true, in: .healthy, now: at(1))
        #expect(lost == .init(step: .restart(.networkChanged)))
        let kept = policy.networkChanged(isPathLost: false, isOther: true, in: .healthy, now: at(1))
        #expect(
            kept
                == .init(
                    probes: true, state: .watching(deadline: at(1) + configuration.probeBudget, .networkChanged)))
    }

    @Test func aRestartThatComesTooSoonAfterTheLastIsPlanned() {
        let policy = RecoveryPolicy(configuration, isOfferer: true)
        let soon = policy.restartRequested(.requestedByPeer, earliest: at(2), in: .healthy, now: at(1))
        #expect(soon == .init(state: .planned(at: at(2), .requestedByPeer)))
        let watching = RecoveryState.watching(deadline: at(3), .silence)
        let watched = policy.restartRequested(.requestedByPeer, earliest: at(2), in: watching, now: at(1))
        #expect(watched == .init(state: .watching(deadline: at(2), .silence)))
        let due = policy.restartRequested(.requestedByPeer, earliest: at(1), in: watching, now: at(1))
        #expect(due == .init(step: .restart(.requestedByPeer)))
    }

    @Test func aRebuildThatTheOtherSideAsksForWaitsForTheOfferThatMayBeOnItsWay() {
        let policy = RecoveryPolicy(configuration, isOfferer: true)
        let connecting = RecoveryState.connecting(since: at(0), deadline: at(60))
        let half = at(0) + configuration.budgets.connect / 2
        #expect(policy.rebuildRequested(hasNone: true, in: connecting, now: at(0.1)) == .nothing)
        #expect(
            policy.rebuildRequested(hasNone: true, in: connecting, now: half)
                == .init(step: .rebuildInTurn(.requestedByPeer)))
        #expect(
            policy.rebuildRequested(hasNone: false, in: connecting, now: at(0.1))
                == .init(step: .rebuildInTurn(.requestedByPeer)))
    }

    @Test func graceIsForStatesThatWouldDeclareSomethingDead() {
        let policy = RecoveryPolicy(configuration, isOfferer: false)
        #expect(policy.grace(in: .healthy, now: at(9)) == nil)
        #expect(policy.grace(in: .held(.restart, .silence), now: at(9)) == nil)
        #expect(policy.grace(in: .watching(deadline: at(1), .silence), now: at(9))?.probes == true)
    }

    // MARK: Signaling's streams and connection

    private func makeStreams() -> SignalingStreams { SignalingStreams(countLimit: 2, byteLimit: 1 << 16) }

    @Test func aServerAtAnotherPlaceOfTheStreamsLeadsToARejoin() {
        var streams = makeStreams()
        #expect(streams.begin(makeJoined(isResumed: true)) == nil, "there was nothing to resume")
        #expect(streams.mustRejoin)
        #expect(streams.begin(makeJoined()) == [])
        #expect(!streams.mustRejoin && streams.hasBegun)
        #expect(streams.append(.update(metadata: [:])) == nil)
        #expect(streams.takeUnsent().map(\.sequence) == [1])
        #expect(streams.begin(makeJoined(isResumed: true, received: 0))?.map(\.sequence) == [1], "said again")
        #expect(!streams.acknowledged(2) && streams.mustRejoin)
    }

    @Test func aQueueAtItsLimitDropsWhatWasNegotiatedAndKeepsAKick() {
        var streams = makeStreams()
        _ = streams.begin(makeJoined())
        let end = signal("c", 1, .endOfCandidates(usernameFragment: "u"))
        for _ in 0..<2 { #expect(streams.append(.signal(end)) == nil) }
        #expect(streams.append(.kick(ParticipantID("p"), reason: "")) == 2)
        #expect(streams.mustRejoin && streams.queuedMessages == 1)
    }

    @Test func aConnectionTakesEachMessageOnceAndEndsAtAGap() {
        var streams = makeStreams()
        _ = streams.begin(makeJoined())
        var actions: [AdmittedConnection.Action] = []
        var connection = AdmittedConnection(
            1, makeJoined(), configuration: SignalingConfiguration(), now: at(0), &actions)
        func receive(_ sequence: SequenceNumber) -> [AdmittedConnection.Action] {
            actions = []
            let message = ServerMessage.peerJoined(makeParticipant("p"))
            connection.received(Envelope(sequence: sequence, message), &streams, now: at(1), &actions)
            return actions
        }
        #expect(receive(1).contains(.deliver(.peerJoined(makeParticipant("p")), isReplayed: false)))
        #expect(receive(1).isEmpty, "its acknowledgement is scheduled already")
        let gap = receive(3)
        guard case .abort? = gap.last else {
            Issue.record("\(gap)")
            return
        }
        #expect(streams.mustRejoin)
    }
}
