import Testing
import WebSocketWire

@Suite struct HTTPHeadTests {
    /// The outcome of the bytes, fed in pieces of `step`, and the rest of them.
    private func read<Head: HTTPHead>(
        _ text: String, as: Head.Type = Head.self, step: Int = .max
    ) -> (Result<Head?, HTTPHeadFailure>, rest: [UInt8]) {
        var buffer = HTTPHeadBuffer<Head>()
        let bytes = Array(text.utf8)
        var index = 0
        while index < bytes.count {
            let end = step > bytes.count - index ? bytes.count : index + step
            let (result, left) = bytes[index..<end].withUnsafeBytes { piece in
                var input = piece
                let result = Result { () throws(HTTPHeadFailure) in try buffer.take(&input) }
                return (result, input.count)
            }
            #expect(buffer.heldBytes <= 2 * bytes.count + 64)
            if case .success(nil) = result {
                #expect(left == 0)
                index = end
            } else {
                return (result, Array(bytes[(end - left)...]))
            }
        }
        return (.success(nil), [])
    }

    private func response(_ text: String, step: Int = .max) -> (Result<ResponseHead?, HTTPHeadFailure>, rest: [UInt8]) {
        read(text, as: ResponseHead.self, step: step)
    }

    // MARK: Responses

    @Test(arguments: [1, 5, Int.max]) func bytesAfterTheHeadAreLeft(_ step: Int) throws {
        let text = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nX: \t a b \t\r\nx:c\r\n\r\n"
        let (result, rest) = response(text + "\u{1}\r\n\r\n", step: step)
        let head = try #require(try result.get())
        #expect(head.status == 101 && !head.isInterim)
        #expect(head.fields.values("upgrade") == ["websocket"] && head.fields.value("upgrade") == "websocket")
        #expect(head.fields.values("x") == ["a b", "c"] && head.fields.value("x") == nil && head.fields.count == 3)
        // In pieces, the first one behind the head has not been shown to the buffer.
        #expect(Array("\u{1}\r\n\r\n".utf8).starts(with: rest) && (step != .max || rest.count == 5))
    }

    @Test func oneHeadFollowsAnother() throws {
        var buffer = HTTPHeadBuffer<ResponseHead>()
        let bytes = Array("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204\r\nA: b, ,c\r\na: d\r\n\r\nx".utf8)
        try bytes.withUnsafeBytes { bytes in
            var input = bytes
            let first = try buffer.take(&input)
            #expect(first?.status == 103 && first?.isInterim == true && buffer.heldBytes == 0)
            let second = try buffer.take(&input)
            #expect(second?.status == 204 && second?.fields.members("a") == ["b", "", "c", "d"])
            #expect(input.count == 1)
        }
    }

    @Test(
        arguments: [
            "SSH-2.0-x\r\n\r\n", "HTTP/2 200\r\n\r\n", "HTTP/1.1 99 x\r\n\r\n", "HTTP/1.1 1o1 x\r\n\r\n",
            "HTTP/1.1 1011\r\n\r\n", "HTTP/1.1\r\n\r\n", "HTTP/1.1 101 x\r\nname\r\n\r\n",
            "HTTP/1.1 101 x\r\n: v\r\n\r\n",
            "HTTP/1.1 101 x\r\na b: v\r\n\r\n", "HTTP/1.1 101 x\r\na : v\r\n\r\n",
            "HTTP/1.1 101 x\r\na: v\r\n folded\r\n\r\n",
            "HTTP/1.1 101 x\r\na: \u{1}\r\n\r\n",
            "HTTP/1.1 101 x\r\n" + String(repeating: "a: b\r\n", count: 101) + "\r\n",
            "HTTP/1.1 101 x\r\na: " + String(repeating: "b", count: 17_000) + "\r\n\r\n", "\r\n\r\n", "H\n\n",
        ])
    func invalidResponsesAreRefused(_ text: String) {
        for step in [1, .max] { #expect(throws: HTTPHeadFailure.self) { try response(text, step: step).0.get() } }
    }

    @Test func aWrongBeginningIsNoticedAtOnce() {
        #expect(throws: HTTPHeadFailure.notHTTP) { try response("S").0.get() }
    }

    @Test func linesOfAResponseMayEndWithLineFeedsAlone() throws {
        let head = try #require(try response("HTTP/1.0 200 OK\nA: b\n\n").0.get())
        #expect(head.status == 200 && head.fields.value("a") == "b")
    }

    @Test func bytesThatAreNotASCIIAreQuestionMarks() throws {
        let head = try #require(try response("HTTP/1.1 200 OK\r\nA: é\r\n\r\n").0.get())
        #expect(head.fields.value("a") == "??")
    }

    // MARK: Requests

    @Test(arguments: [1, 3, Int.max]) func aRequestIsRead(_ step: Int) throws {
        let text = "HEAD /a/b?c=d?e HTTP/1.0\r\nHost: x\r\nOrigin:\r\n\r\n"
        let head = try #require(try read(text, as: RequestHead.self, step: step).0.get())
        #expect(head.method == "HEAD" && head.target == "/a/b?c=d?e" && head.path == "/a/b" && !head.isHTTP11)
        #expect(head.fields.values("host") == ["x"] && head.fields.values("origin") == [""])
    }

    @Test(
        arguments: [
            "GET / HTTP/1.1\nHost: x\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\ny: z\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\r\n\r\n", "GET / HTTP/2.0\r\n\r\n", "GET  / HTTP/1.1\r\n\r\n",
            "GET x HTTP/1.1\r\n\r\n", "GET / HTTP/1.1 \r\n\r\n", "G\u{1}T / HTTP/1.1\r\n\r\n", " / HTTP/1.1\r\n\r\n",
            "GET /\u{7F} HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost : x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", "GET / HTTP/1.1\r\nHost\r\n\r\n", "NONSENSE\r\n\r\n",
            "\r\n\r\n", "GET / HTTP/1.1\r\n" + String(repeating: "a: b\r\n", count: 101) + "\r\n",
        ])
    func invalidRequestsAreMalformed(_ text: String) {
        for step in [1, .max] {
            #expect(throws: HTTPHeadFailure.malformed) { try read(text, as: RequestHead.self, step: step).0.get() }
        }
    }

    @Test func aHeadWithoutAnEndIsTooLong() {
        let text = "GET /" + String(repeating: "a", count: HTTPHeadBuffer<RequestHead>.usualLimit)
        #expect(throws: HTTPHeadFailure.tooLong(limit: 16_384)) { try read(text, as: RequestHead.self).0.get() }
        var short = HTTPHeadBuffer<RequestHead>(limit: 10)
        Array("GET / HTTP/1.1".utf8).withUnsafeBytes { bytes in
            var input = bytes
            #expect(throws: HTTPHeadFailure.tooLong(limit: 10)) { _ = try short.take(&input) }
        }
    }
}
