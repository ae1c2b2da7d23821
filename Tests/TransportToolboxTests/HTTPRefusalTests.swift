import Testing
import TransportValues

@testable import TransportToolbox

@Suite struct HTTPRefusalTests {
    private static let now = 1_800_000_000  // Fri, 15 Jan 2027 08:00:00 GMT

    @Test(
        arguments: [
            ("7", nil, 7), ("0", nil, 0), ("99999999999999999999999", nil, 86_400), ("86401", nil, 86_400),
            ("-1", nil, nil),
            ("1.5", nil, nil), ("soon", nil, nil), ("", nil, nil),
            // By the answer's clock where it is given, otherwise by ours.
            ("Sun, 06 Nov 1994 08:50:07 GMT", "Sun, 06 Nov 1994 08:49:37 GMT", 30),
            ("Fri, 15 Jan 2027 08:00:15 GMT", nil, 15), ("Fri, 15 Jan 2027 08:00:15 GMT", "nonsense", 15),
            ("Fri, 15 Jan 2027 07:00:00 GMT", nil, 0), ("Fri, 15 Jan 2100 07:00:00 GMT", nil, 86_400),
        ] as [(String, String?, Int?)])
    func retryAfterIsBoundedAndMeasuredAgainstTheAnswersClock(_ text: String, _ date: String?, _ seconds: Int?) {
        let delay = HTTPRefusal(status: 503, retryAfter: text, date: date).delay(now: Self.now)
        #expect(delay == seconds.map { .seconds($0) })
    }

    @Test(arguments: [
        ("https://h.example/", "wss://h.example/"), ("HTTP://h.example", "ws://h.example"),
        ("//other.example/a", "ws://other.example/a"), ("/b?key=SECRET", "ws://example.org:8080/b?…"),
        ("b", "ws://example.org:8080/rooms/b"), ("ftp://h/", "ftp://h/"),
        ("https://u:SECRET@h.example/#SECRET", "wss://…@h.example/#…"),
    ])
    func aRedirectionNamesWhatIsWanted(_ location: String, _ target: String) throws {
        let endpoint = try SignalingEndpoint(url: "ws://example.org:8080/rooms/a?token=SECRET/")
        let error = HTTPRefusal(status: 301, location: location).error(connectingTo: endpoint)
        #expect(error.message == "ws://example.org:8080/rooms/a?… answered 301: it wants \(target)")
        #expect(error.code == .refused && error.status == 301 && !error.isRetryable)
    }

    @Test(arguments: [nil, "", "a b", "ü"])
    func aRedirectionWithoutAnAddressSaysSo(_ location: String?) throws {
        let error = HTTPRefusal(status: 302, location: location)
            .error(connectingTo: try SignalingEndpoint(url: "ws://h/"))
        #expect(error.message.contains("does not say where to"))
    }

    /// Answers after which the next attempt may succeed. All others end a first join.
    @Test func classesOfAnswersAreRetriedAsTheRFCsSay() throws {
        let retryable = (0...1000).filter(HTTPRefusal.isRetryable)
        let expected =
            Array(100..<200) + [408, 425, 429] + (500...1000).filter { ![501, 505, 511].contains($0) }
        #expect(retryable == expected)
    }

    @Test(arguments: [
        100, 101, 200, 204, 304, 400, 401, 403, 404, 407, 410, 418, 421, 426, 429, 500, 501, 503, 511, 599,
    ])
    func everyAnswerIsToldWithACure(_ status: Int) throws {
        var endpoint = try SignalingEndpoint(url: "ws://h/?SECRET")
        endpoint.proxy = .init(host: "p", port: 3128, user: "u", password: "SECRET")
        let refusal = HTTPRefusal(status: status)
        for error in [refusal.error(connectingTo: endpoint), refusal.error(fromProxyFor: endpoint)] {
            #expect(error.message.contains("answered \(status)") && !error.message.contains("SECRET"))
            #expect(error.status == status)
        }
        #expect(refusal.error(fromProxyFor: endpoint).message.hasPrefix("the proxy p:3128 answered"))
    }
}
