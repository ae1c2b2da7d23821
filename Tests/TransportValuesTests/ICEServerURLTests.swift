import Testing
import TransportValues

@Suite struct ICEServerURLTests {
    @Test func serverURLsAreRead() throws {
        let turn = try ICEServerURL("turn:turn.example.org?transport=tcp")
        #expect(turn.host == "turn.example.org" && turn.port == 3478 && turn.transport == .tcp)
        let secure = try ICEServerURL("TURNS:[2001:db8::1]:443")
        #expect(
            secure.host == "2001:db8::1" && secure.port == 443 && secure.transport == .tcp && secure.scheme == .turns)
        #expect(try ICEServerURL("stun:192.0.2.1:19302").port == 19302)
        #expect(try ICEServerURL("stuns:example.org").port == 5349)
        // From public lists.
        #expect(try ICEServerURL("stun:example.org:19302?transport=udp").transport == .udp)
    }

    @Test func aRelayNeedsCredentials() throws {
        #expect(try ICEServerURL("stun:a", of: ICEServer(urls: [])).host == "a")
        #expect(try ICEServerURL("turn:a", of: ICEServer(urls: [], username: "u", credential: "")).host == "a")
        for server in [
            ICEServer(urls: []), ICEServer(urls: [], username: "u"), ICEServer(urls: [], username: "", credential: "c"),
            ICEServer(urls: [], username: "u\0", credential: "c"),
            ICEServer(urls: [], username: "u", credential: String(repeating: "c", count: 513)),
        ] {
            let error = #expect(throws: TransportError.self) { try ICEServerURL("turns:a", of: server) }
            #expect(error?.message.contains("'turns:a'") == true)
        }
    }

    @Test func aPasswordInAURLIsNotShown() {
        let error = #expect(throws: TransportError.self) { try ICEServerURL("turn:ann:secret@example.org") }
        #expect(error?.message.contains("secret") == false && error?.message.contains("example.org") == true)
    }

    @Test(arguments: [
        "", "stun", "stun:", "http://example.org", "stun:host:0", "stun:host:65536", "stun:host:", "stun:a b",
        "turn:host?transport=sctp", "stun:host?transport=tcp", "stun:host?x", "turn:[::1", "turn:[::1]x",
        "turn:[host]:1",
        "stun://host",
        "turn:user@host",
    ])
    func unusableServerURLsAreNamed(url: String) {
        let error = #expect(throws: TransportError.self) { try ICEServerURL(url) }
        #expect(error?.code == .invalidArgument)
        #expect(error?.message.contains("'\(url)'") == true)
    }
}
