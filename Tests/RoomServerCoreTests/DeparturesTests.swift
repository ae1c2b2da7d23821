import RoomProtocol
import Testing
import TransportValues

@testable import RoomServerCore

@Suite("Departures: which sessions, names and rooms can come back")
struct DeparturesTests {
    private let lobby = RoomName("lobby")
    private let hall = RoomName("hall")

    private func participant(_ name: String, session: String) -> Participant {
        Participant(id: ParticipantID("p"), session: SessionID(session), epoch: 1, name: name, isHost: false)
    }

    @Test func aSessionThatWasLeftIsRefused() {
        var departures = Departures()
        departures.sessionEnded(.left, of: participant("ann", session: "s"), allowance: Allowance(), in: lobby)
        #expect(departures.refusal(of: "s") == .staleEpoch)
        #expect(departures.refusal(of: "t") == nil)
        #expect(departures.refusal(ofName: "ann", in: lobby) == nil)
    }

    @Test func aKickRefusesTheSessionEverywhereAndTheNameInItsRoom() {
        var departures = Departures()
        departures.sessionEnded(.kicked, of: participant("ann", session: "s"), allowance: Allowance(), in: lobby)
        #expect(departures.refusal(of: "s") == .kicked)
        #expect(departures.refusal(ofName: "ann", in: lobby) == .kicked)
        #expect(departures.refusal(ofName: "bob", in: lobby) == nil)
        #expect(departures.refusal(ofName: "ann", in: hall) == nil)
    }

    @Test func aLapsedSessionComesBackAsANewOneWhileItsRoomIsThere() {
        var departures = Departures()
        departures.sessionEnded(.lapsed, of: participant("ann", session: "s"), allowance: Allowance(), in: lobby)
        #expect(departures.refusal(of: "s") == nil)
        #expect(departures.hasLapsed(SessionID("s"), in: lobby) && !departures.hasLapsed(SessionID("s"), in: hall))
        // Nobody is left who was told.
        departures.roomRemoved(lobby)
        #expect(!departures.hasLapsed(SessionID("s"), in: lobby))
    }

    @Test func aSessionWhoseNameIsTakenLapsesFirstAndIsRefusedOnceTheNewcomerIsThere() {
        var departures = Departures()
        departures.sessionEnded(.lapsed, of: participant("ann", session: "s"), allowance: Allowance(), in: lobby)
        departures.sessionReplaced(SessionID("s"), in: lobby)
        #expect(departures.refusal(of: "s") == .nameGone)
    }

    @Test func kicksAndLeavesOutliveTheirRoomAndNamesDoNot() {
        var departures = Departures()
        departures.sessionEnded(.kicked, of: participant("ann", session: "a"), allowance: Allowance(), in: lobby)
        departures.sessionEnded(.left, of: participant("bob", session: "b"), allowance: Allowance(), in: lobby)
        departures.roomRemoved(lobby)
        #expect(departures.refusal(of: "a") == .kicked)
        #expect(departures.refusal(of: "b") == .staleEpoch)
        #expect(departures.refusal(ofName: "ann", in: lobby) == nil)
    }

    @Test func aClosedRoomIsRefusedUntilItIsCreatedAgain() {
        var departures = Departures()
        departures.roomClosed(lobby)
        #expect(departures.refusal(ofRoom: lobby)?.code == .roomClosed)
        departures.roomCreated(lobby)
        #expect(departures.refusal(ofRoom: lobby) == nil)
    }

    @Test func aUsedUpAllowanceIsKeptForTheName() {
        var departures = Departures()
        let effects = Effects(
            limits: RoomServerLimits(), authority: TrustingAuthority(), random: ServerHarness.Generator(state: 1))
        var spent = Allowance()
        while spent.takeReturn(effects) {}
        departures.sessionEnded(.left, of: participant("ann", session: "s"), allowance: spent, in: lobby)
        var again = departures.allowance(of: "ann", in: lobby)
        var other = departures.allowance(of: "bob", in: lobby)
        #expect(!again.takeReturn(effects) && other.takeReturn(effects))
    }

    /// A flood of participants that leave makes nobody forget who was kicked.
    @Test func eachKindHasALimitOfItsOwn() {
        var departures = Departures()
        departures.sessionEnded(.kicked, of: participant("ann", session: "kicked"), allowance: Allowance(), in: lobby)
        for number in 0...8192 {
            departures.sessionEnded(
                .left, of: participant("bob", session: "\(number)"), allowance: Allowance(), in: lobby)
        }
        #expect(departures.refusal(of: "kicked") == .kicked)
        #expect(departures.refusal(of: "8192") == .staleEpoch)
        #expect(departures.refusal(of: "0") == nil)
    }
}

extension Departures {
    fileprivate func refusal(of session: String) -> ProtocolError? {
        do throws(ProtocolError) { try checkSession(SessionID(session)) } catch { return error }
        return nil
    }

    fileprivate func refusal(ofName name: String, in room: RoomName) -> ProtocolError? {
        do throws(ProtocolError) { try checkName(name, in: room) } catch { return error }
        return nil
    }

    fileprivate func refusal(ofRoom room: RoomName) -> ProtocolError? {
        do throws(ProtocolError) { try checkRoom(room) } catch { return error }
        return nil
    }
}
