import Testing

@testable import RoomServer

@Suite struct RESPTests {
    /// Parses pieces of this length.
    private func parse(_ bytes: [UInt8], pieces: Int) throws -> [RESPValue] {
        var parser = RESPParser()
        var values: [RESPValue] = []
        for start in stride(from: 0, to: bytes.count, by: pieces) {
            try Array(bytes[start..<min(start + pieces, bytes.count)]).withUnsafeBytes { piece in
                var rest = piece
                while let value = try parser.next(&rest) { values.append(value) }
                #expect(rest.isEmpty)
            }
        }
        return values
    }

    private func string(_ text: String) -> RESPValue { .string(Array(text.utf8)) }

    @Test func everyTypeIsReadInPiecesOfEveryLength() throws {
        let text =
            "+OK\r\n-ERR no\r\n:-42\r\n$5\r\n12\r\n3\r\n$0\r\n\r\n$-1\r\n*-1\r\n*0\r\n_\r\n#t\r\n#f\r\n"
            + ",3.25\r\n(12345\r\n!5\r\nE bad\r\n=7\r\ntxt:abc\r\n*2\r\n*1\r\n:1\r\n$1\r\nx\r\n%1\r\n+k\r\n:2\r\n"
            + "~1\r\n+s\r\n>2\r\n+p\r\n:9\r\n|1\r\n+ttl\r\n:5\r\n+after\r\n*2\r\n|1\r\n+a\r\n+b\r\n:1\r\n:2\r\n"
        let expected: [RESPValue] = [
            string("OK"), .error("ERR no"), .integer(-42), string("12\r\n3"), string(""), .null, .null, .array([]),
            .null, .boolean(true), .boolean(false), string("3.25"), string("12345"), .error("E bad"), string("abc"),
            .array([.array([.integer(1)]), string("x")]), .map([string("k"), .integer(2)]), .array([string("s")]),
            .push([string("p"), .integer(9)]), string("after"), .array([.integer(1), .integer(2)]),
        ]
        let bytes = Array(text.utf8)
        for pieces in 1...bytes.count { #expect(try parse(bytes, pieces: pieces) == expected) }
    }

    @Test(arguments: [
        "?\r\n", "\r\n", ":x\r\n", ":\r\n", ":99999999999999999999\r\n", "$-2\r\n", "$3\r\nabcd\r\n", "#y\r\n",
        "*-7\r\n",
        "*70000\r\n", "$1048577\r\n", "+no carriage return\n", "=3\r\ntxt\r\n",
        String(repeating: "*1\r\n", count: 9) + ":1\r\n",
        "*2\r\n$600000\r\n" + String(repeating: "x", count: 600_000) + "\r\n$600000\r\n",
        "*60000\r\n*60000\r\n" + String(repeating: "_\r\n", count: 60_000) + String(repeating: "_\r\n", count: 6000),
        "+" + String(repeating: "x", count: RESPParser.maximumLine),
    ])
    func whatIsNoValueOrExceedsALimitIsRefused(_ text: String) {
        for pieces in [text.utf8.count, 4096] {
            #expect(throws: RESPViolation.self) { _ = try parse(Array(text.utf8), pieces: pieces) }
        }
    }

    @Test func limitsCountForEachValueAlone() throws {
        let value = "$600000\r\n" + String(repeating: "x", count: 600_000) + "\r\n"
        #expect(try parse(Array((value + value).utf8), pieces: 10_000).count == 2)
    }

    @Test func commandsAreArraysOfBulkStrings() {
        let bytes = RESPWriter.command([Array("SET".utf8), [], [0, 13, 10]])
        #expect(bytes == Array("*3\r\n$3\r\nSET\r\n$0\r\n\r\n$3\r\n".utf8) + [0, 13, 10, 13, 10])
    }
}

@Suite struct RedisURLTests {
    @Test func formsOfTheURLAreRead() throws {
        let plain = try RedisURL("redis://localhost")
        #expect(plain.place == .server(.init(name: "localhost", port: 6379)))
        #expect(plain.user == nil && plain.password == nil && plain.database == 0 && !plain.isSecure)
        let full = try RedisURL("rediss://us%40er:p%3Aa%2fss@[::1]:7000/3")
        #expect(full.place == .server(.init(name: "::1", port: 7000)))
        #expect(full.user == "us@er" && full.password == "p:a/ss" && full.database == 3 && full.isSecure)
        #expect(try RedisURL("redis://:secret@h").password == "secret")
        #expect(try RedisURL("redis://:secret@h").user == nil)
        let sentinel = try RedisURL("redis+sentinel://:pw@a:1,b/main")
        #expect(
            sentinel.place == .sentinels([.init(name: "a", port: 1), .init(name: "b", port: 26_379)], master: "main"))
        #expect(try RedisURL("redis+unix:///run/redis.sock").place == .socket(path: "/run/redis.sock"))
    }

    @Test(arguments: [
        "", "localhost", "http://h", "redis://", "redis://h:0", "redis://h:x", "redis://h:70000", "redis://h/x",
        "redis://user@h", "redis://u%zz:p@h", "redis://u:p%+1@h", "redis+sentinel://a,b", "redis+sentinel:///main",
        "redis+sentinel://a,,b/main", "redis+unix://", "redis://::1", "redis://[::1",
    ])
    func whatIsNoURLIsRefusedWithoutRepeatingIt(_ text: String) {
        #expect { _ = try RedisURL(text) } throws: { error in
            guard let error = error as? RoomServerError else { return false }
            return text.isEmpty || text == "redis://" || text == "http://h" || !error.message.contains(text)
        }
    }
}
