import RoomProtocol
import Testing
import TransportValues

@testable import RoomServerCore

@Suite("The host's place in a room")
struct HostSeatTests {
    private let ann = ParticipantID("ann")
    private let bob = ParticipantID("bob")
    private let start = Timestamp(nanoseconds: 1_000_000_000)

    private func claims(term: HostTerm, isHost: Bool, role: Hello.Role? = nil) -> SessionClaims {
        SessionClaims(
            participant: ann, room: RoomName("lobby"), name: "ann", session: SessionID("s"), epoch: 1, hostTerm: term,
            isHost: isHost, role: role, server: "v")
    }

    /// The names with the roles of their join tokens, in the order of arrival; those in `away` have no connection.
    private func roster(_ members: [(String, Hello.Role?)], away: Set<String> = []) -> Roster {
        var roster = Roster(room: RoomName("lobby"))
        var effects = Effects(
            limits: RoomServerLimits(), authority: TrustingAuthority(), random: ServerHarness.Generator(state: 1))
        for (number, (name, role)) in members.enumerated() {
            let id = ParticipantID(name)
            roster.insert(
                Participant(id: id, session: SessionID(name), epoch: 1, name: name, isHost: false), role: role,
                allowance: Allowance(), &effects)
            if !away.contains(name) { roster.members[id]?.connection = ConnectionID(UInt64(number)) }
        }
        return roster
    }

    @Test func theHighestTermHasThePlace() {
        var seat = HostSeat()
        // After a loss of the server's state.
        #expect(seat.term(claimedBy: claims(term: 3, isHost: true), whereHolderIs: nil) == 3)
        seat.take(bob, term: 4)
        #expect(seat.term(claimedBy: claims(term: 3, isHost: true), whereHolderIs: nil) == nil)
        #expect(seat.term(claimedBy: claims(term: 5, isHost: true), whereHolderIs: nil) == 5)
        #expect(seat.term(claimedBy: claims(term: 5, isHost: false), whereHolderIs: nil) == nil)
    }

    @Test func aFormerHostIsAGuestWhereANewerTermIsKnownOf() {
        var seat = HostSeat()
        seat.noteTerm(7)
        #expect(seat.term(claimedBy: claims(term: 6, isHost: true), whereHolderIs: nil) == nil)
        #expect(seat.nextTerm == 8)
    }

    @Test func aJoinTokenThatSaysHostOutweighsAHostWithoutOne() {
        var seat = HostSeat()
        seat.take(bob, term: 4)
        #expect(seat.term(claimedBy: claims(term: 1, isHost: false, role: .host), whereHolderIs: nil) == 5)
        #expect(seat.term(claimedBy: claims(term: 1, isHost: false, role: .host), whereHolderIs: .host) == nil)
    }

    @Test func theRoomWaitsOnceForItsHost() {
        var seat = HostSeat()
        let first = seat.wait(until: start)
        let second = seat.wait(until: start + .seconds(1))
        #expect(first && !second && seat.deadline == start)
        seat.take(ann, term: 1)
        let third = seat.wait(until: start)
        #expect(!third && seat.deadline == nil)
    }

    @Test func theLongestPresentMemberBecomesHost() {
        var seat = HostSeat()
        let present = roster([("ann", nil), ("bob", nil), ("cid", nil)], away: ["ann"])
        #expect(seat.successor(in: present, at: start) == nil)
        _ = seat.wait(until: start)
        #expect(seat.successor(in: present, at: start - .nanoseconds(1)) == nil)
        #expect(seat.successor(in: present, at: start) == bob)
    }

    @Test func tokensSayWhoMayFollow() {
        var seat = HostSeat()
        seat.take(ann, term: 1)
        seat.vacate(at: start)
        #expect(
            seat.successor(in: roster([("gus", .guest), ("bob", nil), ("eve", .host)]), at: start)?.rawValue == "eve")
        #expect(seat.successor(in: roster([("gus", .guest)]), at: start) == nil)
    }
}
