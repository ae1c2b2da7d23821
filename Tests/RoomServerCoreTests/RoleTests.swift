import RoomProtocol
import RoomServerCore
import Testing
import TransportValues

@Suite("Roles of join tokens, and the life of session tokens")
struct RoleTests {
    private func server(_ configure: (inout RoomServerLimits) -> Void = { _ in }) -> ServerHarness {
        var authority = TrustingAuthority()
        authority.trustsNames = false
        authority.roles = ["h": .host, "g": .guest]
        return ServerHarness(authority: authority, configure)
    }

    @Test func aGuestByTokenIsNeverElected() {
        let server = server()
        server.join("boss", .host, token: "h")
        server.join("gus", token: "g")
        server.drop("boss")
        server.pass(.seconds(100))
        #expect(server.host == nil && server.names == ["gus"])
        server.sayNumbered(.kick(ParticipantID("p"), reason: ""), as: "gus")
        #expect(server.lastError("gus")?.code == .notHost)
        // Nor when everybody else leaves, nor after a restart of the server.
        server.join("ann")
        server.pass(.seconds(100))
        #expect(server.host == "ann")
        server.say(.leave, as: "ann")
        server.pass(.seconds(100))
        #expect(server.host == nil)
        server.restartServer()
        server.comeBack("gus")
        server.pass(.seconds(100))
        #expect(server.host == nil && server.joined("gus")?.hostTerm == 0)
        // The host is back with the session token that it had.
        server.comeBack("boss")
        #expect(server.host == "boss")
    }

    @Test func aHostTokenTakesItsRoomBack() throws {
        let server = server()
        server.join("boss", .host, token: "h")
        server.join("ann")
        server.drop("boss")
        server.pass(.seconds(100))
        #expect(server.host == "ann")
        server.forgetAll()
        server.join("boss", .host, token: "h")
        #expect(server.host == "boss" && server.joined("boss")?.isHost == true)
        #expect(server.take("ann").compactMap(\.hostTerm) == [3])
        // What the former host came back with does not make it the host again.
        server.drop("ann")
        server.comeBack("ann")
        #expect(server.host == "boss" && server.joined("ann")?.isHost == false)
        // A host by token keeps the place while it is connected, and a host without such a token takes none.
        server.join("other", .host, token: "h")
        #expect(server.lastError("other")?.code == .roomExists)
        server.join("third", .host)
        #expect(server.lastError("third")?.code == .roomExists)
    }

    @Test func aHostTokenIsProofEnoughForTheHostsOwnName() {
        let server = server()
        server.join("boss", .host, token: "h")
        server.join("gus", token: "g")
        server.drop("boss")
        server.join("boss", token: "g")
        #expect(server.lastError("boss")?.code == .nameTaken)
        server.join("boss", .host, token: "h")
        #expect(server.host == "boss" && server.names == ["gus", "boss"])
    }

    @Test func aHostByTokenThatComesBackTakesThePlaceOfOneThatStoodIn() {
        let server = server()
        server.join("boss", .host, token: "h")
        server.join("ann")
        let token = server.token("boss")
        server.drop("boss")
        server.pass(.seconds(100))
        #expect(server.host == "ann")
        server.comeBack("boss", token: token)
        #expect(server.host == "boss")
    }

    @Test func aHostTokenAdmitsAMemberThatAStandInKicked() throws {
        let server = server()
        server.join("ann", .host)
        server.join("boss")
        server.kick("boss", by: "ann")
        server.join("boss")
        #expect(server.lastError("boss")?.code == .kicked)
        server.join("boss", .host, token: "h")
        #expect(server.host == "boss")
    }

    // MARK: Session tokens

    @Test func tokensOfLivingSessionsAreRenewedUnnoticed() {
        let server = server { $0.sessionLifetime = .seconds(200) }
        server.join("boss", .host, token: "h")
        server.join("gus", token: "g")
        server.pass(.seconds(90))
        server.forgetAll()
        server.pass(.seconds(20))
        #expect(server.take("boss").compactMap(\.hostTerm) == [1])
        #expect(server.take("gus").compactMap(\.hostTerm) == [1])
        // Without a host, too.
        server.say(.leave, as: "boss")
        server.forgetAll()
        server.pass(.seconds(110))
        guard case .hostChanged(let nobody, let term, _)? = server.take("gus").last(where: { $0.hostTerm != nil })
        else {
            Issue.record("no new token")
            return
        }
        #expect(nobody == ParticipantID("-") && term == 0)
    }

    @Test func aTokenIsGoodForTheGracePeriodAtLeast() {
        let server = server {
            $0.sessionLifetime = .seconds(1)
            $0.grace = .seconds(100)
        }
        server.join("boss", .host, token: "h")
        server.forgetAll()
        server.pass(.seconds(90))
        #expect(server.take("boss").compactMap(\.hostTerm).isEmpty)
        server.pass(.seconds(20))
        #expect(server.take("boss").compactMap(\.hostTerm) == [1])
    }

    @Test func leftAndKickedSessionsAreRememberedWhenTheirRoomIsGone() throws {
        let server = server()
        server.join("ann", .host)
        server.join("bob")
        server.kick("bob", by: "ann")
        server.say(.leave, as: "ann")
        server.pass(.seconds(100))
        #expect(server.machine.load.rooms == 0)
        server.comeBack("bob")
        #expect(server.lastError("bob")?.code == .kicked)
        server.comeBack("ann")
        #expect(server.lastError("ann")?.code == .staleEpoch)
        #expect(server.names.isEmpty)
    }
}
