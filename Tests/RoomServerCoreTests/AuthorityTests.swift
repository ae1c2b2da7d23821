import RoomProtocol
import RoomServerCore
import Testing
import TransportValues

@Suite("A server that changes its keys while it runs")
struct AuthorityTests {
    @Test func connectedParticipantsGetATokenOfTheNewKeyWithinAMinute() {
        let server = ServerHarness.lobby(guests: ["bob", "carol"])
        server.drop("carol")
        server.machine.replaceAuthority(TrustingAuthority(), renewsTokens: true, at: server.now)
        server.pass(.seconds(20))
        let early = ["ann", "bob"].flatMap { server.take($0) }.filter { $0.hostTerm != nil }
        // Its next connection brings one.
        server.comeBack("carol")
        #expect(server.joined("carol")?.isResumed == true)
        server.pass(.seconds(20))
        let late = ["ann", "bob"].flatMap { server.take($0) }.filter { $0.hostTerm != nil }
        #expect(early.count + late.count == 2)
    }

    @Test func withTheSameKeyNobodyGetsANewToken() {
        let server = ServerHarness.lobby()
        server.machine.replaceAuthority(TrustingAuthority(), renewsTokens: false, at: server.now)
        server.pass(.seconds(60))
        #expect(!(server.take("ann") + server.take("bob")).contains { $0.hostTerm != nil })
    }

    @Test func newcomersGetWhatTheNewAuthorityGives() {
        let server = ServerHarness.lobby()
        var authority = TrustingAuthority()
        authority.iceServers = ICEServerList(servers: [ICEServer(urls: ["stun:new.example"])])
        server.machine.replaceAuthority(authority, renewsTokens: false, at: server.now)
        server.join("dora")
        #expect(server.joined("dora")?.iceServers.servers.first?.urls == ["stun:new.example"])
    }
}
