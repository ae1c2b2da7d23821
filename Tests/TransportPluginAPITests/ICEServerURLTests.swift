import Testing
import TransportPluginAPI

@Suite struct ICEServerURLTests {
    @Test func serverURLsAreRead() throws {
        let turn = try ICEServerURL("turn:turn.example.org?transport=tcp")
        #expect(turn.host == "turn.example.org" && turn.port == 3478 && turn.transport == .tcp)
        let secure = try ICEServerURL("TURNS:[2001:db8::1]:443")
        #expect(
            secure.host == "2001:db8::1" && secure.port == 443 && secure.transport == .tcp && secure.scheme == .turns)
        #expect(try ICEServerURL("stun:192.0.2.1:19302").port == 19302)
        #expect(try ICEServerURL("stuns:example.org").port == 5349)
    }

    @Test(arguments: [
        "", "stun", "stun:", "http://example.org", "stun:host:0", "stun:host:65536", "stun:host:", "stun:a b",
        "turn:host?transport=sctp", "stun:host?transport=udp", "turn:[::1", "turn:[::1]x", "turn:[host]:1",
        "stun://host",
        "turn:user@host",
    ])
    func unusableServerURLsAreNamed(url: String) {
        let error = #expect(throws: TransportError.self) { try ICEServerURL(url) }
        #expect(error?.code == .invalidArgument)
        #expect(error?.message.contains("'\(url)'") == true)
    }
}
