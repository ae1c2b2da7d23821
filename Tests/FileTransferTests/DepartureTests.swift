import RoomConnection
import Testing
import TransportValues

@testable import FileTransfer

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
}
