import RoomProtocol
import RoomServerCore
import Testing
import TransportValues

@Suite("Joining")
struct JoinTests {
    @Test func hostCreatesRoomAndGuestJoinsIt() throws {
        let server = ServerHarness()
        server.join("ann", .host, metadata: ["colour": "red"])
        server.join("bob")
        let ann = try #require(server.joined("ann"))
        let bob = try #require(server.joined("bob"))
        #expect(ann.isHost && ann.hostTerm == 1 && ann.epoch == 1 && !ann.isResumed && ann.roster.isEmpty)
        #expect(!bob.isHost && bob.hostTerm == 1)
        #expect(
            bob.roster.map(\.name) == ["ann"] && bob.roster[0].isHost && bob.roster[0].metadata == ["colour": "red"])
        #expect(server.take("ann").compactMap(\.arrived).map(\.name) == ["bob"])
        #expect(ann.participant != bob.participant && ann.session != bob.session)
    }

    @Test(arguments: [
        ("a guest of an unknown room", ProtocolError.Code.roomNotFound),
        ("a second host", .roomExists),
        ("a duplicate name", .nameTaken),
        ("one too many", .roomFull),
    ])
    func aFirstJoinIsRefusedPermanently(_ what: String, _ code: ProtocolError.Code) throws {
        let server = ServerHarness { $0.participantsPerRoom = 3 }
        server.join("ann", .host)
        server.join("bob")
        switch what {
        case "a guest of an unknown room": server.join("eve", room: "elsewhere")
        case "a second host": server.join("eve", .host)
        case "a duplicate name":
            server.open("eve")
            server.say(.hello(Hello(room: RoomName("lobby"), role: .guest, name: "bob")), as: "eve")
        default:
            server.join("carol")
            server.join("eve")
        }
        let error = try #require(server.lastError("eve"))
        #expect(error.code == code && error.isFatal && !error.isRetryable)
        #expect(server.clients["eve"]?.closed == CloseCode.refused.rawValue)
        #expect(!server.names.contains("eve"))
    }

    @Test func messageBeforeHelloAndSecondHelloEndTheConnection() {
        let server = ServerHarness()
        server.open("eve")
        server.say(.update(metadata: [:]), as: "eve")
        #expect(server.lastError("eve")?.code == .malformed)
        #expect(server.clients["eve"]?.closed != nil)
        server.join("ann", .host)
        server.say(.hello(Hello(room: RoomName("lobby"), role: .host, name: "ann")), as: "ann")
        #expect(server.lastError("ann")?.code == .malformed)
        #expect(server.clients["ann"]?.closed != nil)
        #expect(server.names == ["ann"])
    }

    @Test func connectionWithoutHelloIsClosedInTime() {
        let server = ServerHarness()
        server.open("eve")
        server.pass(.seconds(9))
        #expect(server.clients["eve"]?.closed == nil)
        server.pass(.seconds(2))
        #expect(server.lastError("eve")?.isRetryable == true)
        #expect(server.clients["eve"]?.closed != nil)
        #expect(server.machine.load.connections == 0)
    }

    @Test func updateOfMetadataReachesTheOthers() {
        let server = ServerHarness.lobby()
        server.sayNumbered(.update(metadata: ["a": "b"]), as: "bob")
        #expect(server.take("ann").compactMap(\.changed).map(\.metadata) == [["a": "b"]])
        #expect(server.take("bob").isEmpty)
    }

    @Test func leaveIsToldAtOnceAndFinal() {
        let server = ServerHarness.lobby()
        let token = server.token("bob")
        server.say(.leave, as: "bob")
        #expect(server.take("ann").compactMap(\.left) == [.left])
        #expect(server.clients["bob"]?.closed == CloseCode.normal.rawValue)
        server.comeBack("bob", token: token)
        #expect(server.lastError("bob")?.code == .staleEpoch)
        #expect(server.names == ["ann"])
    }

    @Test func emptyRoomIsRemovedAfterItsTime() {
        let server = ServerHarness()
        server.join("ann", .host)
        server.say(.leave, as: "ann")
        #expect(server.machine.load.rooms == 1)
        server.pass(.seconds(31))
        #expect(server.machine.load.rooms == 0)
        #expect(server.machine.nextDeadline == nil)
    }

    @Test func closingARoomEndsItForEverybody() {
        let server = ServerHarness.lobby()
        server.sayNumbered(.closeRoom(reason: ""), as: "bob")
        #expect(server.lastError("bob")?.code == .notHost)
        let token = server.token("bob")
        server.sayNumbered(.closeRoom(reason: "over"), as: "ann")
        #expect(server.lastError("ann")?.code == .roomClosed)
        #expect(server.lastError("bob")?.code == .roomClosed)
        #expect(server.machine.load.rooms == 0 && server.machine.load.connections == 0)
        server.comeBack("bob", token: token)
        #expect(server.lastError("bob")?.code == .roomClosed)
        server.join("ann", .host)
        #expect(server.names == ["ann"])
    }
}

@Suite("Kicking")
struct KickTests {
    @Test func onlyTheHostKicks() {
        let server = ServerHarness.lobby()
        let ann = server.joined("ann")?.participant ?? ParticipantID("")
        server.sayNumbered(.kick(ann, reason: ""), as: "bob")
        let error = server.lastError("bob")
        #expect(error?.code == .notHost && error?.isFatal == false && error?.sequence == 1)
        #expect(server.names == ["ann", "bob"])
    }

    @Test func kickedStaysKicked() throws {
        let server = ServerHarness.lobby()
        server.join("carol")
        server.forgetAll()
        let bob = try #require(server.joined("bob"))
        server.sayNumbered(.kick(bob.participant, reason: "spam"), as: "ann")
        #expect(server.lastError("bob")?.code == .kicked)
        #expect(server.clients["bob"]?.closed == CloseCode.refused.rawValue)
        #expect(server.take("carol").compactMap(\.left) == [.kicked])
        #expect(server.take("ann").compactMap(\.left) == [.kicked])
        server.comeBack("bob", mustRejoin: true)
        #expect(server.lastError("bob")?.code == .kicked)
        server.join("bob")
        #expect(server.lastError("bob")?.code == .kicked)
        server.pass(.seconds(100))
        server.comeBack("bob")
        #expect(server.lastError("bob")?.code == .kicked)
    }

    @Test func kickOfAnAbsentMemberHolds() throws {
        let server = ServerHarness.lobby()
        server.drop("bob")
        let bob = try #require(server.joined("bob"))
        server.sayNumbered(.kick(bob.participant, reason: ""), as: "ann")
        server.comeBack("bob")
        #expect(server.lastError("bob")?.code == .kicked)
    }

    @Test func kickOfAnUnknownMemberIsAnError() {
        let server = ServerHarness()
        server.join("ann", .host)
        server.sayNumbered(.kick(ParticipantID("nobody"), reason: ""), as: "ann")
        #expect(server.lastError("ann")?.code == .peerNotFound)
    }
}
