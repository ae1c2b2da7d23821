import RoomProtocol
import RoomServerCore
import Testing
import TransportValues

@Suite("Names that are in use")
struct NameTests {
    /// Ann hosts, Bob and Carol are guests, and nobody has anything unread.
    private func lobby(
        _ policy: DuplicateNames = .reject, trustsNames: Bool = true
    ) -> ServerHarness {
        var authority = TrustingAuthority()
        authority.trustsNames = trustsNames
        return ServerHarness.lobby(guests: ["bob", "carol"], authority: authority) { $0.duplicateNames = policy }
    }

    /// Somebody new, with a client of the harness of another name.
    private func join(_ server: ServerHarness, as name: String, by client: String, _ role: Hello.Role = .guest) {
        server.open(client)
        server.say(.hello(Hello(room: RoomName("lobby"), role: role, name: name)), as: client)
    }

    @Test func aConnectedMemberKeepsItsName() {
        let server = lobby()
        join(server, as: "bob", by: "bob2")
        #expect(server.lastError("bob2")?.code == .nameTaken)
        #expect(server.clients["bob"]?.closed == nil)
    }

    @Test func aProgramThatWasStartedAnewHasItsNameAtOnce() throws {
        let server = lobby()
        let former = try #require(server.joined("bob"))
        server.drop("bob")
        join(server, as: "bob", by: "bob2")
        let again = try #require(server.joined("bob2"))
        #expect(again.participant != former.participant && again.session != former.session)
        #expect(again.roster.map(\.name) == ["ann", "carol"])
        let told = server.take("ann")
        #expect(told.compactMap(\.left) == [.timedOut] && told.compactMap(\.arrived).map(\.name) == ["bob"])
        // The newcomer's stream begins at one.
        server.forgetAll()
        server.sayNumbered(server.signal(to: "bob2"), as: "ann")
        #expect(server.clients["bob2"]?.inbox.compactMap(\.sequence) == [1])
    }

    @Test func aReplacedMemberIsRefusedPermanentlyWithTheReason() {
        let server = lobby()
        server.drop("bob")
        join(server, as: "bob", by: "bob2")
        server.say(.ack(received: 0), as: "bob2")
        for _ in 1...2 {
            server.comeBack("bob")
            let error = server.lastError("bob")
            #expect(error?.code == .replaced && error?.replacedBy == .participant && error?.isRetryable == false)
        }
        #expect(server.clients["bob2"]?.closed == nil)
        #expect(server.names == ["ann", "carol", "bob"])
    }

    /// The hello of an attempt that was given up arrives behind everything else: whoever sent it has gone on.
    @Test func aLateHelloDoesNotShutOutTheSessionThatItsClientHas() throws {
        let server = lobby()
        let former = try #require(server.joined("bob"))
        server.drop("bob")
        join(server, as: "bob", by: "late")
        server.comeBack("bob")
        let error = server.lastError("bob")
        #expect(error?.code == .nameTaken && error?.isRetryable == true, "the other one may be somebody")
        server.drop("late")
        server.comeBack("bob")
        let again = try #require(server.joined("bob"))
        #expect(server.clients["bob"]?.closed == nil && again.participant == former.participant)
        // The others were told that the session has ended.
        #expect(again.session != former.session)
        #expect(server.names == ["ann", "carol", "bob"])
        #expect(server.machine.load.connections == 3)
    }

    /// Seed 30375 of the simulation: the late hello was that of the program that had ended.
    @Test func aLateHelloOfAProgramThatWasStartedAnewDoesNotShutOutTheNewOne() throws {
        let server = lobby()
        server.drop("bob")
        join(server, as: "bob", by: "bob2")
        server.comeBack("bob")
        #expect(server.lastError("bob")?.code == .nameTaken)
        #expect(server.clients["bob2"]?.closed == nil)
        server.say(.ack(received: 0), as: "bob2")
        server.comeBack("bob")
        #expect(server.lastError("bob")?.replacedBy == .participant)
        #expect(server.names == ["ann", "carol", "bob"])
    }

    @Test func aHostThatWasStartedAnewIsHostAgain() throws {
        let server = lobby()
        server.drop("ann")
        join(server, as: "ann", by: "ann2", .host)
        let again = try #require(server.joined("ann2"))
        #expect(again.isHost && again.hostTerm == 2)
        let told = server.take("bob")
        #expect(told.compactMap(\.hostTerm) == [2], "nobody else was host meanwhile")
        #expect(told.compactMap(\.arrived).map(\.isHost) == [true])
        #expect(server.host == "ann")
    }

    @Test func aHostsNameIsNoWayToItsPlaceWhileItIsThereNorForOthers() {
        let server = lobby()
        join(server, as: "ann", by: "eve", .host)
        #expect(server.lastError("eve")?.code == .roomExists)
        server.drop("bob")
        join(server, as: "bob", by: "eve", .host)
        #expect(server.lastError("eve")?.code == .roomExists)
        #expect(server.host == "ann")
    }

    @Test func aGuestUnderTheHostsNameLeavesTheSeatToTheLongestPresentMember() {
        let server = lobby()
        server.drop("ann")
        join(server, as: "ann", by: "ann2")
        #expect(server.joined("ann2")?.isHost == false)
        #expect(server.host == "bob")
    }

    @Test(arguments: [DuplicateNames.reject, .replace])
    func aTokenForAnyNameTakesNoNameOver(_ policy: DuplicateNames) {
        let server = lobby(policy, trustsNames: false)
        join(server, as: "bob", by: "eve")
        #expect(server.lastError("eve")?.code == .nameTaken)
        server.drop("bob")
        join(server, as: "bob", by: "eve")
        #expect(server.lastError("eve")?.code == .nameTaken)
        server.comeBack("bob")
        #expect(server.joined("bob")?.isResumed == true)
    }

    @Test func theNewestWinsWhereThePolicySaysSo() {
        let server = lobby(.replace)
        join(server, as: "bob", by: "bob2")
        #expect(server.lastError("bob")?.replacedBy == .participant)
        #expect(server.clients["bob"]?.closed == CloseCode.refused.rawValue)
        #expect(server.take("ann").compactMap(\.left) == [.left])
        #expect(server.machine.load.connections == 3)
        server.say(.ack(received: 0), as: "bob2")
        server.comeBack("bob")
        #expect(server.lastError("bob")?.replacedBy == .participant)
        #expect(server.names == ["ann", "carol", "bob"] && server.clients["bob2"]?.closed == nil)
    }

    @Test func aReplacedMemberDoesNotCountInAFullRoom() {
        let server = ServerHarness { $0.participantsPerRoom = 2 }
        server.join("ann", .host)
        server.join("bob")
        server.drop("bob")
        join(server, as: "bob", by: "bob2")
        #expect(server.joined("bob2") != nil)
    }

    @Test func aKickedMemberCannotJoinAgain() throws {
        let server = lobby(.replace)
        let bob = try #require(server.joined("bob"))
        server.sayNumbered(.kick(bob.participant, reason: ""), as: "ann")
        join(server, as: "bob", by: "bob2")
        #expect(server.lastError("bob2")?.code == .kicked)
    }
}
