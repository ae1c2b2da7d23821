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

    @Test func theReasonOfThoseThatLeftWhileThisSideWasAwayIsNotBelieved() {
        var departures = Departures()
        departures.note(Self.joined(.first))
        #expect(!departures.mayReturn(.left) && departures.mayReturn(.timedOut))
        for kind in [RoomMembership.Kind.resumed, .rejoined] {
            departures.note(Self.joined(kind))
            departures.note(Self.incident(of: ParticipantID("q")))
            #expect(departures.mayReturn(.left) && !departures.mayReturn(.kicked))
            departures.note(Self.incident(of: nil))
            #expect(!departures.mayReturn(.left))
        }
    }
}
