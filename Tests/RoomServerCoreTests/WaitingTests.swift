import RoomProtocol
import RoomServerCore
import Testing
import TransportValues

@Suite("Who comes first: waiting for a room, and being host when there is none")
struct WaitingTests {
    private func isWaiting(_ name: String, _ server: ServerHarness) -> Bool {
        server.take(name).contains { if case .waiting = $0 { true } else { false } }
    }

    @Test func guestThatWaitsIsLetInWhenItsHostComes() {
        let server = ServerHarness()
        server.join("bob", waits: true)
        server.join("cat", waits: true)
        server.join("eve", waits: true, room: "elsewhere")
        #expect(isWaiting("bob", server) && server.joined("bob") == nil && server.machine.load.rooms == 0)
        // Far longer than a connection may take for its hello, and than a silent client is believed.
        server.pass(.seconds(600))
        #expect(server.clients["bob"]?.closed == nil)
        server.join("ann", .host)
        #expect(server.names == ["ann", "bob", "cat"] && server.host == "ann")
        #expect(server.joined("bob")?.roster.map(\.name) == ["ann"])
        #expect(server.take("ann").compactMap(\.arrived).map(\.name) == ["bob", "cat"])
        #expect(server.joined("eve") == nil && server.clients["eve"]?.closed == nil)
    }

    @Test func aRoomThatIsRecreatedAdmitsThoseThatWait() {
        let server = ServerHarness()
        server.join("ann", .host)
        server.restartServer()
        server.join("bob", waits: true)
        server.comeBack("ann")
        #expect(server.names == ["ann", "bob"])
    }

    @Test func withoutWaitingTheRefusalIsAsBefore() {
        let server = ServerHarness()
        server.join("bob")
        #expect(server.lastError("bob")?.code == .roomNotFound)
    }

    @Test func waitingClientsAreAskedForASignOfLifeAndForgotten() {
        let server = ServerHarness()
        server.answersPings = false
        server.join("bob", waits: true)
        server.pass(.seconds(600))
        #expect(server.clients["bob"]?.closed == 0 && server.machine.load.connections == 0)
        server.answersPings = true
        server.join("ann", .host)
        #expect(server.names == ["ann"])
    }

    @Test func waitingTakesNoHandshakeAndSaysNothingElse() {
        let server = ServerHarness { $0.handshakes = 2 }
        for number in 1...5 { server.join("guest \(number)", waits: true) }
        #expect(server.machine.load.connections == 5 && server.machine.refusal == nil)
        server.say(.update(metadata: [:]), as: "guest 1")
        #expect(server.lastError("guest 1")?.code == .malformed)
        server.say(.leave, as: "guest 2")
        #expect(server.clients["guest 2"]?.closed == 1000)
        server.drop("guest 3")
        server.join("ann", .host)
        #expect(server.names == ["ann", "guest 4", "guest 5"])
        #expect(server.machine.refusal == nil, "each handshake was counted once")
    }

    @Test func whoComesWhenTheRoomIsFullIsRefusedThen() {
        let server = ServerHarness { $0.participantsPerRoom = 2 }
        server.join("bob", waits: true)
        server.join("cat", waits: true)
        server.join("ann", .host)
        #expect(server.names == ["ann", "bob"] && server.lastError("cat")?.code == .roomFull)
    }

    @Test func theFirstIsHost() {
        let server = ServerHarness()
        server.join("ann", .first)
        server.join("bob", .first)
        #expect(server.names == ["ann", "bob"] && server.host == "ann")
        // A program that was started anew has its place.
        server.drop("ann")
        server.join("ann", .first)
        #expect(server.host == "ann" && server.joined("ann")?.isHost == true)
    }

    @Test func theFirstAdmitsThoseThatWait() {
        let server = ServerHarness()
        server.join("bob", waits: true)
        server.join("ann", .first)
        #expect(server.names == ["ann", "bob"] && server.host == "ann")
    }

    @Test func joinTokensDecideWhoMayBeTheFirst() {
        var authority = TrustingAuthority()
        authority.trustsNames = false
        authority.roles = ["h": .host, "g": .guest]
        let server = ServerHarness(authority: authority)
        server.join("gus", .first, token: "g")
        #expect(server.lastError("gus")?.code == .roomNotFound)
        server.join("gus", .first, waits: true, token: "g")
        server.join("ann", .first)
        #expect(server.host == "ann" && server.names == ["ann", "gus"])
        server.join("boss", .first, token: "h")
        #expect(server.host == "boss", "whose token says host takes the place of one without")
    }

    @Test func aRefusedCreatorLeavesNoRoomBehind() {
        let server = ServerHarness { $0.returnBurst = 1 }
        server.join("ann", .host)
        server.say(.closeRoom(reason: ""), as: "ann")
        #expect(server.machine.load.rooms == 0)
        server.comeBack("ann")
        #expect(server.machine.load.rooms == 0)
    }
}

@Suite("Attributes of a room")
struct RoomAttributesTests {
    private func attributes(_ messages: [ServerMessage]) -> [RoomAttributes] {
        messages.compactMap { if case .roomChanged(let attributes) = $0 { attributes } else { nil } }
    }

    private func lobby(_ configure: (inout RoomServerLimits) -> Void = { _ in }) -> ServerHarness {
        let server = ServerHarness(configure)
        server.join("ann", .host)
        server.join("bob")
        server.forgetAll()
        return server
    }

    @Test func theHostSetsThemForEverybody() {
        let server = lobby()
        server.sayNumbered(.updateRoom(RoomAttributes(version: 1, values: ["map": "desert"])), as: "ann")
        let set = RoomAttributes(version: 1, values: ["map": "desert"])
        #expect(attributes(server.take("bob")) == [set] && attributes(server.take("ann")) == [set])
        server.sayNumbered(.updateRoom(RoomAttributes(version: 1, values: ["map": "desert"])), as: "ann")
        #expect(server.take("bob").isEmpty, "nothing has changed")
        server.sayNumbered(.updateRoom(RoomAttributes(values: ["map": "ice"])), as: "ann")
        #expect(attributes(server.take("bob")).map(\.version) == [2])
        server.join("cat")
        #expect(server.joined("cat")?.attributes == RoomAttributes(version: 2, values: ["map": "ice"]))
    }

    @Test func guestsDoNotSetThem() {
        let server = lobby()
        server.sayNumbered(.updateRoom(RoomAttributes(values: ["map": "desert"])), as: "bob")
        #expect(server.lastError("bob")?.code == .notHost && server.take("ann").isEmpty)
    }

    @Test func theHostRestoresThemAtAServerThatHasLostItsState() {
        let server = lobby()
        server.sayNumbered(.updateRoom(RoomAttributes(values: ["map": "desert"])), as: "ann")
        server.restartServer()
        server.comeBack("bob")
        #expect(server.joined("bob")?.attributes == RoomAttributes())
        server.comeBack("ann")
        server.forgetAll()
        server.sayNumbered(.updateRoom(RoomAttributes(version: 7, values: ["map": "desert"])), as: "ann")
        #expect(attributes(server.take("bob")) == [RoomAttributes(version: 7, values: ["map": "desert"])])
    }

    @Test func manyChangesAreSentLaterAndOnlyTheNewest() {
        let server = lobby { limits in
            limits.updateBytesPerSecond = 1000
            limits.updateBurst = 1000
        }
        for number in 1...9 {
            server.sayNumbered(.updateRoom(RoomAttributes(values: ["number": "\(number)"])), as: "ann")
        }
        #expect(attributes(server.take("bob")).map(\.version) == [1])
        server.pass(.seconds(5))
        #expect(attributes(server.take("bob")) == [RoomAttributes(version: 9, values: ["number": "9"])])
    }
}
