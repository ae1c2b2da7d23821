import Testing
import TransportValues

@testable import FileTransfer
@testable import RoomConnection

/// The parts of a connection over a room that decide about it.
@Suite struct DepartureTests {
    private static let reason = TransferError(.interrupted, "cut")

    private static func incident(of participant: ParticipantID?) -> RoomEvent {
        .incident(
            RoomIncident(
                participant: participant, cause: .connectionLost, startedAt: .zero, endedAt: .zero, rung: nil,
                outcome: .recovered, steps: []))
    }

    private static func joined(_ kind: RoomMembership.Kind) -> RoomEvent {
        .joined(
            RoomMembership(
                participant: ParticipantID("p"), session: SessionID("s"), epoch: 1, isHost: false, hostTerm: 1,
                kind: kind))
    }

    @Test func aConnectionThatThisSideHasEndedStaysEnded() {
        var status = RoomTransferConnection.Status()
        status.peerChanged(isConnected: false)
        status.peerChanged(isConnected: true)
        #expect(status.isConnected)
        status.end(Self.reason)
        status.peerChanged(isConnected: true)
        #expect(!status.isConnected)
    }

    @Test func aSenderThatLeavesAfterItWasMetAgainDoesNotReturn() {
        var status = RoomTransferConnection.Status()
        #expect(status.mayReturn == nil)
        status.departed(mayReturn: true)
        #expect(status.mayReturn == true)
        status.departed(mayReturn: false)
        status.departed(mayReturn: true)
        #expect(status.mayReturn == false)
    }

    @Test func anAnswerBelongsToTheStreamThatItNames() {
        var sender = RoomTransferConnection.Status()
        sender.attempt = "new"
        let key = RoomTransferConnection.attemptKey
        let (own, other, none) = (
            sender.take([key: "new"], as: .send), sender.take([key: "old"], as: .send), sender.take([:], as: .send)
        )
        #expect(own && !other)
        #expect(none, "an older program names none")
        var receiver = RoomTransferConnection.Status()
        _ = receiver.take([key: "new"], as: .receive)
        #expect(receiver.attempt == "new")
        let isTaken = receiver.take([key: String(repeating: "x", count: 65)], as: .receive)
        #expect(isTaken && receiver.attempt == nil, "too long to be sent back")
    }

    private static let failure = SignalingFailure("the connection broke")
    private static let loss = [
        RoomEvent.signaling(.disconnected(cause: failure)),
        .signaling(.connecting(attempt: 1, nextAttemptAt: nil, cause: failure)),
    ]

    private static func departures(after events: [RoomEvent]) -> Departures {
        var departures = Departures()
        for event in [.signaling(.connected), joined(.first)] + events { departures.note(event) }
        return departures
    }

    @Test func theReasonOfThoseThatLeftWhileThisSideWasAwayIsNotBelieved() {
        #expect(!Self.departures(after: []).mayReturn(.left) && Self.departures(after: []).mayReturn(.timedOut))
        for kind in [RoomMembership.Kind.resumed, .rejoined] {
            var departures = Self.departures(after: Self.loss + [.signaling(.connected), Self.joined(kind)])
            departures.note(Self.incident(of: ParticipantID("q")))
            #expect(departures.mayReturn(.left) && !departures.mayReturn(.kicked))
            departures.note(Self.incident(of: nil))
            #expect(!departures.mayReturn(.left))
        }
    }

    @Test func whenThisSideReturnsAsSomebodyNewThoseThatLeaveBeforeItHasJoinedMayReturn() {
        let departures = Self.departures(after: Self.loss + [.signaling(.connected)])
        #expect(departures.mayReturn(.left) && !departures.mayReturn(.kicked))
    }

    @Test func whoLeavesOverItsPeerConnectionWhileTheServerIsAwayDoesNotReturn() {
        let departures = Self.departures(after: Self.loss)
        #expect(!departures.mayReturn(.left) && departures.mayReturn(.timedOut))
    }

    @Test func afterAReturnThatNoFailureHasCausedReasonsAreBelieved() {
        // For fresh credentials: there is no incident.
        let departures = Self.departures(after: [
            .signaling(.connecting(attempt: 1, nextAttemptAt: nil, cause: nil)), .signaling(.connected),
            Self.joined(.resumed),
        ])
        #expect(!departures.mayReturn(.left))
    }

    @Test func aConsumerThatLagsBehindBelievesReasonsAfterAReturnThatNoFailureHasCaused() {
        let feed = EventFeed(room: "lab")
        let events = feed.subscribe()
        var departures = Departures()
        for event in [.signaling(.connected), Self.joined(.first)] { feed.emit(event) }
        for event in events.mailbox.takeNow() { departures.note(event) }
        for _ in 1...2 {
            let returning = RoomEvent.signaling(.connecting(attempt: 1, nextAttemptAt: nil, cause: nil))
            for event in [returning, .signaling(.connected), Self.joined(.resumed)] { feed.emit(event) }
        }
        for event in events.mailbox.takeNow() { departures.note(event) }
        #expect(!departures.mayReturn(.left))
    }

    @Test func aConsumerThatComesWhileTheServerIsAwayKnowsIt() {
        for cause in [nil, Self.failure] {
            var departures = Departures()
            let status = SignalingStatus.connecting(attempt: 1, nextAttemptAt: nil, cause: cause)
            for event in [.signaling(status), Self.joined(.first), .signaling(.connected), Self.joined(.resumed)] {
                departures.note(event)
            }
            #expect(departures.mayReturn(.left) == (cause != nil))
        }
    }

    @Test func aPartnerIsTheSameParticipantOrTheSameProgram() {
        let ids = (1...4).map { ParticipantID("p\($0)") }
        var partner = TransferPartner(ids[0], name: "bob")
        let (other, own, again) = (
            partner.isSame(ids[1], name: "bob", fingerprint: "B"),
            partner.isSame(ids[0], name: "bob", fingerprint: "A"),
            partner.isSame(ids[0], name: "bob", fingerprint: nil)
        )
        #expect(!other && own && again, "nothing is known of the first one's program when the second comes")
        let (namesake, unknown, renamed, program) = (
            partner.isSame(ids[1], name: "bob", fingerprint: "B"),
            partner.isSame(ids[1], name: "bob", fingerprint: nil),
            partner.isSame(ids[2], name: "eve", fingerprint: "A"), partner.isSame(ids[3], name: "bob", fingerprint: "A")
        )
        #expect(!namesake && !unknown && !renamed && program && partner.id == ids[3])
    }
}
