import RoomProtocol
import RoomServerCore
import Testing
import TransportValues

@Suite("Rooms of a cluster's node")
struct ClusterRoomTests {
    private let room = RoomName("lobby")

    @Test func tokensCarryTheFence() throws {
        let server = ServerHarness()
        server.machine.own(room, fence: 7, facts: [])
        server.join("ann", .host)
        let token = try #require(server.joined("ann")?.sessionToken)
        #expect(server.authority.claims(ofSessionToken: token)?.fence == 7)
        #expect(server.machine.owns(room))
    }

    @Test func roomIsQuietWhenItHasEndedAndNobodyWaitsForIt() {
        let server = ServerHarness()
        server.machine.own(room, fence: 1, facts: [])
        server.join("bob", waits: true)
        #expect(server.machine.takeQuietRooms() == [])
        server.drop("bob")
        #expect(server.machine.takeQuietRooms() == [room])
        #expect(!server.machine.owns(room))

        server.machine.own(room, fence: 2, facts: [])
        server.join("ann", .host)
        #expect(server.machine.takeQuietRooms() == [])
        server.sayNumbered(.closeRoom(reason: ""), as: "ann")
        #expect(server.machine.takeQuietRooms() == [room])

        server.machine.own(room, fence: 3, facts: [])
        // Refused: there is no such room.
        server.join("carl")
        #expect(server.machine.takeQuietRooms() == [room])
    }

    @Test func membersOfAYieldedRoomReturnWithTheirTokens() throws {
        let server = ServerHarness()
        server.machine.own(room, fence: 1, facts: [])
        server.join("ann", .host)
        server.join("bob")
        server.forgetAll()
        server.perform(server.machine.yield(room, at: server.now))
        for name in ["ann", "bob"] {
            #expect(server.clients[name]?.closed == CloseCode.goingAway.rawValue)
            guard case .goingAway? = server.take(name).last else {
                Issue.record("\(name) was not told")
                continue
            }
        }
        #expect(server.machine.load.rooms == 0 && server.machine.takeQuietRooms() == [])
        server.comeBack("bob")
        #expect(server.joined("bob")?.isResumed == false)
    }

    @Test func kickedNamesStayForTheNextOwnerOfAYieldedRoom() throws {
        let server = ServerHarness()
        server.machine.own(room, fence: 1, facts: [])
        server.join("ann", .host)
        server.join("bob")
        let bob = try #require(server.joined("bob"))
        server.sayNumbered(.kick(bob.participant, reason: ""), as: "ann")
        let marks = server.marks
        #expect(server.machine.takeFacts().map(\.fact) == [.kicked(bob.session), .kickedName("bob")])
        server.perform(server.machine.yield(room, at: server.now))
        #expect(server.machine.takeFacts().isEmpty)

        // Nor does it forget them later, with what it remembers of before a restart.
        let other = ServerHarness()
        other.machine.own(RoomName("another"), fence: 1, facts: [])
        other.machine.restore(marks, at: other.now)
        other.pass(.seconds(120))
        #expect(other.machine.takeFacts().isEmpty)
    }

    @Test func nextOwnerKnowsWhoIsGone() throws {
        let first = ServerHarness()
        first.machine.own(room, fence: 4, facts: [])
        first.join("ann", .host)
        for name in ["bob", "carl", "dora"] { first.join(name) }
        let bob = try #require(first.joined("bob")), carl = try #require(first.joined("carl"))
        first.sayNumbered(.kick(bob.participant, reason: ""), as: "ann")
        first.sayNumbered(.leave, as: "carl")
        #expect(
            first.machine.takeFacts().map(\.fact) == [.kicked(bob.session), .kickedName("bob"), .left(carl.session)])
        #expect(first.machine.takeFacts().isEmpty)
        first.sayNumbered(.closeRoom(reason: ""), as: "ann")
        let facts = first.machine.takeFacts()
        #expect(facts.map(\.fact) == [.forgottenName("bob"), .closed(4)])

        // The process ends, and another one takes the room over.
        first.restartServer()
        first.machine.own(room, fence: 5, facts: facts.map(\.fact) + [.kicked(bob.session), .kickedName("bob")])
        first.comeBack("dora")
        #expect(first.clients["dora"]?.closed != nil, "a closed room is not rebuilt")
        first.machine.own(room, fence: 5, facts: [])
        first.join("ann", .host)
        #expect(first.clients["ann"]?.closed == nil, "a host creates it again")
        first.join("bob")
        #expect(first.clients["bob"]?.closed != nil, "a name that was kicked stays away")
    }
}
