import Testing
import TransportToolbox
import TransportValues

@Suite struct EndpointValidationTests {
    @Test func valuesThatWouldAddToTheRequestAreRefused() throws {
        func isRefused(_ change: (inout SignalingEndpoint) -> Void) throws -> Bool {
            var endpoint = try SignalingEndpoint(url: "ws://example.org/")
            change(&endpoint)
            do throws(TransportError) { try endpoint.validate() } catch { return error.code == .invalidArgument }
            return false
        }
        func letters(_ count: Int) -> String { String(repeating: "a", count: count) }
        #expect(try !isRefused { _ in })
        #expect(try isRefused { $0.headers = [("X", "a\r\nEvil: 1")] })
        #expect(try isRefused { $0.headers = [("X\r\nEvil", "1")] })
        #expect(try isRefused { $0.headers = [("", "1")] })
        #expect(try !isRefused { $0.headers = [("X", "a\tb"), ("Y", letters(16_384 - 5 - 8))] })
        #expect(try isRefused { $0.headers = [("X", "a\tb"), ("Y", letters(16_384 - 5 - 7))] })
        #expect(try isRefused { $0.path = "/ HTTP/1.1\r\nEvil: 1" })
        #expect(try isRefused { $0.path = "x" })
        #expect(try !isRefused { $0.path = "/" + letters(8191) })
        #expect(try isRefused { $0.path = "/" + letters(8192) })
        #expect(try isRefused { $0.path = "/a b" })
        #expect(try isRefused { $0.path = "/{a}" })
        #expect(try isRefused { $0.path = "/?100%" })
        #expect(try !isRefused { $0.path = "/%7Ba%7D?b=/?" })
        #expect(try isRefused { $0.host = "a\"b" })
        #expect(try !isRefused { $0.host = "fe80::1%eth0" })
        #expect(try isRefused { $0.subprotocols = ["a\r\nb"] })
        #expect(try isRefused { $0.subprotocols = [""] })
        #expect(try !isRefused { $0.subprotocols = [letters(512), letters(512)] })
        #expect(try isRefused { $0.subprotocols = [letters(512), letters(513)] })
        #expect(try isRefused { $0.host = "a\r\n" })
        #expect(try isRefused { $0.host = "" })
        #expect(try !isRefused { $0.host = letters(255) })
        #expect(try isRefused { $0.host = letters(256) })
        #expect(try isRefused { $0.tls.serverName = "" })
        #expect(try isRefused { $0.tls.serverName = "a/b" })
    }
}
