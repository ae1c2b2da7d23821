import RoomProtocol
import Testing
import TransportValues

private func clientError(_ text: String) -> ProtocolError? { clientError(Array(text.utf8)) }

private func clientError(_ bytes: [UInt8]) -> ProtocolError? {
    do throws(ProtocolError) {
        _ = try RoomProtocolCodec.decodeClientMessage(bytes)
        return nil
    } catch {
        return error
    }
}

private func serverError(_ text: String) -> ProtocolError? {
    do throws(ProtocolError) {
        _ = try RoomProtocolCodec.decodeServerMessage(Array(text.utf8))
        return nil
    } catch {
        return error
    }
}

private let hello = #""type":"hello","version":1,"room":"r","role":"guest","name":"n""#

@Suite("Texts that are no messages")
struct MalformedTests {
    @Test(arguments: [
        "", " ", "{", "}", "[]", "null", "1", "\"x\"", "{\"type\"}", "{\"type\":}", "{\"type\":\"leave\",}",
        "{\"type\":\"leave\"}x", "{\"type\":\"leave\"} {}", "{'type':'leave'}", "{type:1}",
        "{\"type\":\"leave\",\"x\":01}",
        "{\"type\":\"leave\",\"x\":1.}", "{\"type\":\"leave\",\"x\":.5}", "{\"type\":\"leave\",\"x\":-}",
        "{\"type\":\"leave\",\"x\":+1}", "{\"type\":\"leave\",\"x\":1e}", "{\"type\":\"leave\",\"x\":NaN}",
        "{\"type\":\"leave\",\"x\":tru}", "{\"type\":\"leave\",\"x\":\"\\x\"}", "{\"type\":\"leave\",\"x\":\"\\u12\"}",
        "{\"type\":\"leave\",\"x\":\"\\ud8\"}", "{\"type\":\"leave\",\"x\":\"\n\"}", "{\"type\":\"leave\",\"x\":\"",
        "{\"type\":\"leave\",\"x\":\"\\", "{\"type\":\"leave\" \"x\":1}", "{\"type\":\"leave\",\"x\":[1 2]}",
        "{\"type\":\"leave\",\"x\":[1,]}", "{\"type\":\"leave\",\"seq\":0}", "{\"type\":\"leave\",\"seq\":-1}",
        "{\"type\":\"leave\",\"seq\":1.5}", "{\"type\":\"leave\",\"seq\":\"1\"}",
        "{\"type\":\"leave\",\"seq\":18446744073709551616}", "\u{FEFF}\u{FEFF}{\"type\":\"leave\"}",
    ])
    func malformedTextIsAFatalTypedError(_ text: String) throws {
        let error = try #require(clientError(text))
        #expect(error.code == .malformed && error.isFatal && !error.isRetryable)
        #expect(error.message.utf8.count <= Limits.errorMessage)
    }

    /// The number of such a message could be read, so the error costs that message, not the connection.
    @Test(arguments: [
        #"{"seq":7}"#, #"{"seq":7,"type":1}"#, #"{"seq":7,"type":null}"#, #"{"seq":7,"type":""}"#,
        #"{"seq":7,"type":"leave","type":"leave"}"#, #"{"seq":7,"type":"leave","x":[{"a":1,"a":2}]}"#,
        #"{"seq":7,"type":"ack"}"#, #"{"seq":7,"type":"ping","id":1e400}"#, #"{"seq":7,"type":"ping","id":1.5}"#,
        #"{"seq":7,"type":"ping","id":9007199254740992.0}"#, #"{"seq":7,"type":"kick","participant":"\ud800"}"#,
        #"{"seq":7,"type":"update","metadata":{"x":1}}"#, #"{"seq":7,"type":"leave","ack":"1"}"#,
        #"{"seq":7,"type":"update","metadata":{"\u00e9":"","e\u0301":""}}"#,
    ])
    func aMessageWithAWrongFieldCostsThatMessageOnly(_ text: String) throws {
        let error = try #require(clientError(text))
        #expect(error.code == .malformed && !error.isFatal && !error.isRetryable && error.sequence == 7)
        #expect(error.message.utf8.count <= Limits.errorMessage)
    }

    /// A message from the server may be a change that the client must know of, so it requests the whole state again.
    @Test func aServersMessageWithAWrongFieldIsFatal() throws {
        let error = try #require(serverError(#"{"type":"peerLeft","participant":"p","session":"s","reason":"new"}"#))
        #expect(error.code == .malformed && error.isFatal)
    }

    @Test func aLongNameOfAMemberIsOverTheLimitAndCostsItsMessageOnly() throws {
        let name = String(repeating: "x", count: Limits.memberName)
        #expect(clientError("{\"type\":\"leave\",\"\(name)\":1}") == nil)
        let error = try #require(clientError("{\"\(name)y\":1,\"type\":\"leave\",\"seq\":7}"))
        #expect(error.code == .limitExceeded && !error.isFatal && error.sequence == 7)
    }

    @Test func bytesThatAreNotUTF8AreMalformed() {
        #expect(
            clientError(Array("{\"type\":\"leave\",\"x\":\"".utf8) + [0xFF] + Array("\"}".utf8))?.code == .malformed)
        #expect(clientError([0xFF, 0xFE])?.code == .malformed)
    }

    @Test func errorsNeverQuoteTheText() {
        let text = #"{"type":"hello","version":1,"room":"r","role":"secretsecret","name":"n"}"#
        #expect(clientError(text)?.message.contains("secret") == false)
        #expect(clientError(#"{"secretsecret"#)?.message.contains("secret") == false)
    }

    @Test func nestingAndNumbersOfValuesAreLimited() {
        func nested(_ depth: Int) -> String {
            "{\"type\":\"leave\",\"x\":" + String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
                + "}"
        }
        #expect(clientError(nested(Limits.jsonDepth - 1)) == nil)
        #expect(clientError(nested(Limits.jsonDepth))?.code == .malformed)
        #expect(clientError(nested(100_000))?.code == .malformed)
        let many = "{\"type\":\"leave\",\"x\":[" + String(repeating: "0,", count: Limits.jsonValues) + "0]}"
        #expect(clientError(many)?.code == .malformed)
        let long = "{\"type\":\"leave\",\"x\":" + String(repeating: "1", count: Limits.numberLength + 1) + "}"
        #expect(clientError(long)?.code == .malformed)
    }

    @Test(arguments: [
        #"{"type":"leave","x":1e999999999}"#, #"{"type":"leave","x":-1E-99999,"y":[{"z":null}],"seq":null}"#,
        #" { "type" : "leave" , "unknown" : { "deep" : [ true , false , null , 1.5e+3 , -0 ] } } "#,
        #"{"type":"\u006ceave"}"#, "\u{FEFF}{\"type\":\"leave\"}", #"{"type":"leave","\ud83d":"\udc00 \ud83d","\/":1}"#,
    ])
    func unknownFieldsAndOddFormsAreIgnored(_ text: String) { #expect(clientError(text) == nil) }

    @Test func integersAreExact() throws {
        let text = Array(#"{"type":"ping","id":18446744073709551615,"seq":9007199254740993}"#.utf8)
        let envelope = try RoomProtocolCodec.decodeClientMessage(text)
        #expect(envelope == Envelope(sequence: 9_007_199_254_740_993, .ping(id: .max)))
    }

    @Test(arguments: [("7.0", 7), ("7e0", 7), ("70e-1", 7), ("-0", 0), ("4.5e15", 4_500_000_000_000_000)])
    func wholeNumbersInOtherFormsAreTaken(_ text: String, _ id: UInt64) throws {
        let bytes = Array("{\"type\":\"ping\",\"id\":\(text)}".utf8)
        #expect(try RoomProtocolCodec.decodeClientMessage(bytes).message == .ping(id: id))
    }

    /// `JSON.stringify` of half a surrogate pair gives an escape (ECMAScript, well-formed JSON.stringify), and JSON may
    /// escape any control character: neither is text.
    @Test(arguments: [
        (#"cut \ud83d"#, "cut \u{FFFD}"), (#"\ude00x"#, "\u{FFFD}x"), (#"\ud83d\ud83d\ude00"#, "\u{FFFD}😀"),
        (#"\ud83d\u0041"#, "\u{FFFD}A"), (#"\ud83d\n"#, "\u{FFFD}\n"), (#"a\u0000b\u007f\t"#, "a\u{FFFD}b\u{FFFD}\t"),
    ])
    func invalidTextIsShownAsReplacementCharacters(_ escaped: String, _ shown: String) throws {
        let update = Array("{\"type\":\"update\",\"metadata\":{\"note\":\"\(escaped)\"}}".utf8)
        #expect(try RoomProtocolCodec.decodeClientMessage(update).message == .update(metadata: ["note": shown]))
        let kick = Array("{\"type\":\"kick\",\"participant\":\"p\",\"reason\":\"\(escaped)\"}".utf8)
        #expect(
            try RoomProtocolCodec.decodeClientMessage(kick).message
                == .kick(ParticipantID("p"), reason: shown))
    }

    @Test func escapesAreUnderstood() throws {
        let text = #"{"type":"kick","participant":"p","reason":"\ud83d\ude00\u00e9\n\t\"\\\/"}"#
        #expect(
            try RoomProtocolCodec.decodeClientMessage(Array(text.utf8)).message
                == .kick(ParticipantID("p"), reason: "😀é\n\t\"\\/"))
    }

    @Test func unknownTypeIsATypedErrorThatIsNotFatalAndCarriesTheNumber() throws {
        for error in [clientError(#"{"type":"new","seq":7}"#), serverError(#"{"type":"new","seq":7}"#)] {
            #expect(error?.code == .unknownType && error?.isFatal == false && error?.sequence == 7)
        }
        let signal =
            #"{"type":"signal","peer":"p","session":"s","connection":"c","negotiation":1,"seq":8,"newBody":{}}"#
        #expect(clientError(signal)?.code == .unknownType)
        #expect(clientError(signal)?.sequence == 8)
    }

    @Test(arguments: [
        ("\"version\":2,\"minimumVersion\":2", true), ("\"version\":0", true),
        ("\"version\":3,\"minimumVersion\":2", true), ("\"version\":9,\"minimumVersion\":1", false),
        ("\"version\":18446744073709551615,\"minimumVersion\":0", false),
    ])
    func versionMismatchIsSaidClearlyBeforeAnythingElse(_ versions: String, _ isMismatch: Bool) {
        // Without any other field, since a newer hello may look different.
        let error = clientError("{\"type\":\"hello\",\(versions)}")
        #expect((error?.code == .versionMismatch) == isMismatch)
        if isMismatch { #expect(error?.isFatal == true && error?.message.contains("version 1") == true) }
    }

    /// Every prefix of a message, and every message with one byte changed, is a message or a typed error.
    @Test(arguments: RoundTripTests.clientMessages)
    func damagedMessagesNeverTrap(_ message: ClientMessage) {
        let bytes = RoomProtocolCodec.encode(Envelope(sequence: 5, ack: 6, message))
        for count in bytes.indices { #expect(clientError(Array(bytes[..<count])) != nil) }
        for index in bytes.indices {
            for value in [0, 0x22, 0x2C, 0x5C, 0x7B, 0x80, 0xFF] as [UInt8] {
                var damaged = bytes
                damaged[index] = value
                _ = clientError(damaged)
            }
        }
    }
}

@Suite("The limit of every field")
struct LimitTests {
    private static func text(_ count: Int) -> String { String(repeating: "a", count: count) }
    private static func array(_ count: Int, _ element: String) -> String {
        "[" + Array(repeating: element, count: count).joined(separator: ",") + "]"
    }
    private static func metadata(_ count: Int, _ value: Int = 1, key: Int = 2) -> String {
        let members = (0..<count).map { index in
            let number = String(index)
            return "\"\(text(max(0, key - number.count)) + number)\":\"\(text(value))\""
        }
        return "{" + members.joined(separator: ",") + "}"
    }
    private static func signal(_ body: String) -> String {
        #"{"type":"signal","peer":"p","session":"s","connection":"c","negotiation":1,"# + body + "}"
    }

    struct Case: Sendable, CustomTestStringConvertible {
        var field: String
        var atLimit: String
        var overLimit: String
        var testDescription: String { field }

        init(_ field: String, _ limit: Int, _ make: (Int) -> String) {
            self.field = field
            atLimit = make(limit)
            overLimit = make(limit + 1)
        }
    }

    static let clientCases: [Case] = [
        Case("room", Limits.roomName) {
            "{\"type\":\"hello\",\"version\":1,\"role\":\"host\",\"name\":\"n\",\"room\":\"\(text($0))\"}"
        },
        Case("name", Limits.participantName) {
            "{\"type\":\"hello\",\"version\":1,\"role\":\"host\",\"room\":\"n\",\"name\":\"\(text($0))\"}"
        },
        Case("token", Limits.token) { "{\(hello),\"token\":\"\(text($0))\"}" },
        Case("resume.sessionToken", Limits.sessionToken) {
            "{\(hello),\"resume\":{\"sessionToken\":\"\(text($0))\"}}"
        },
        Case("capabilities", Limits.capabilities) { "{\(hello),\"capabilities\":\(array($0, "\"c\""))}" },
        Case("capabilities[0]", Limits.capability) { "{\(hello),\"capabilities\":[\"\(text($0))\"]}" },
        Case("metadata", Limits.metadataEntries) { "{\(hello),\"metadata\":\(metadata($0))}" },
        Case("member's name", Limits.metadataKey) { "{\(hello),\"metadata\":\(metadata(1, key: $0))}" },
        Case("metadata", Limits.metadataValue) { "{\(hello),\"metadata\":\(metadata(1, $0))}" },
        Case("metadata", Limits.metadataBytes / 16 - 2) { "{\"type\":\"update\",\"metadata\":\(metadata(16, $0))}" },
        Case("participant", Limits.identifier) { "{\"type\":\"kick\",\"participant\":\"\(text($0))\"}" },
        Case("reason", Limits.reason) {
            "{\"type\":\"kick\",\"participant\":\"p\",\"reason\":\"\(text($0))\"}"
        },
        Case("reason", Limits.reason) { "{\"type\":\"closeRoom\",\"reason\":\"\(text($0))\"}" },
        Case("connection", Limits.identifier) {
            "{\"type\":\"signal\",\"peer\":\"p\",\"session\":\"s\",\"negotiation\":1,\"connection\":\"\(text($0))\","
                + "\"restartRequest\":{}}"
        },
        Case("description.sdp", Limits.sdp) {
            signal("\"description\":{\"type\":\"offer\",\"sdp\":\"\(text($0))\"}")
        },
        Case("candidate.candidate", Limits.candidate) { signal("\"candidate\":{\"candidate\":\"\(text($0))\"}") },
        Case("candidate.sdpMid", Limits.mediaID) {
            signal("\"candidate\":{\"candidate\":\"\",\"sdpMid\":\"\(text($0))\"}")
        },
        Case("candidate.sdpMLineIndex", Limits.mediaLineIndex) {
            signal("\"candidate\":{\"candidate\":\"\",\"sdpMLineIndex\":\($0)}")
        },
        Case("candidate.usernameFragment", Limits.usernameFragment) {
            signal("\"candidate\":{\"candidate\":\"\",\"usernameFragment\":\"\(text($0))\"}")
        },
        Case("endOfCandidates.usernameFragment", Limits.usernameFragment) {
            signal("\"endOfCandidates\":{\"usernameFragment\":\"\(text($0))\"}")
        },
        Case("restartRequest.reason", Limits.reason) { signal("\"restartRequest\":{\"reason\":\"\(text($0))\"}") },
        Case("rebuildRequest.reason", Limits.reason) { signal("\"rebuildRequest\":{\"reason\":\"\(text($0))\"}") },
    ]

    private static func joined(roster: String = "[]", servers: String = "[]", token: String = "t") -> String {
        "{\"type\":\"joined\",\"version\":1,\"participant\":\"p\",\"session\":\"s\",\"epoch\":1,\"host\":true,"
            + "\"hostTerm\":1,\"resumed\":false,\"sessionToken\":\"\(token)\",\"roster\":\(roster),"
            + "\"iceServers\":{\"servers\":\(servers)},\"pingInterval\":5,\"pingDeadline\":5,\"grace\":30}"
    }

    static let serverCases: [Case] = [
        Case("roster", Limits.participants) {
            joined(roster: array($0, "{\"id\":\"p\",\"session\":\"s\",\"epoch\":1,\"name\":\"n\"}"))
        },
        Case("sessionToken", Limits.sessionToken) { joined(token: text($0)) },
        Case("iceServers.servers", Limits.iceServers) { joined(servers: array($0, "{\"urls\":[\"stun:s\"]}")) },
        Case("iceServers.servers[0].urls", Limits.iceServerURLs) {
            joined(servers: "[{\"urls\":\(array($0, "\"stun:s\""))}]")
        },
        Case("iceServers.servers[0].urls[0]", Limits.iceServerURL) {
            joined(servers: "[{\"urls\":[\"\(text($0))\"]}]")
        },
        Case("iceServers.servers[0].username", Limits.iceUsername) {
            joined(servers: "[{\"urls\":[],\"username\":\"\(text($0))\"}]")
        },
        Case("iceServers.servers[0].credential", Limits.iceCredential) {
            joined(servers: "[{\"urls\":[],\"credential\":\"\(text($0))\"}]")
        },
        Case("ttl", 366 * 86_400) { "{\"type\":\"iceServers\",\"servers\":[],\"ttl\":\($0)}" },
        Case("retryAfter.latest", 366 * 86_400) {
            "{\"type\":\"goingAway\",\"retryAfter\":{\"earliest\":0,\"latest\":\($0)}}"
        },
        Case("code", Limits.errorCode) { "{\"type\":\"error\",\"code\":\"\(text($0))\"}" },
        Case("message", Limits.errorMessage) {
            "{\"type\":\"error\",\"code\":\"c\",\"message\":\"\(text($0))\"}"
        },
        Case("participant.name", Limits.participantName) {
            "{\"type\":\"peerJoined\",\"participant\":{\"id\":\"p\",\"session\":\"s\",\"epoch\":1,"
                + "\"name\":\"\(text($0))\"}}"
        },
    ]

    @Test(arguments: clientCases)
    func clientFieldIsTakenAtItsLimitAndRefusedAboveIt(_ example: Case) throws {
        #expect(clientError(example.atLimit) == nil)
        let error = try #require(clientError(example.overLimit))
        #expect(error.code == .limitExceeded && !error.isFatal)
        #expect(error.message.contains(" \(example.field) "))
    }

    @Test(arguments: serverCases)
    func serverFieldIsTakenAtItsLimitAndRefusedAboveIt(_ example: Case) throws {
        #expect(serverError(example.atLimit) == nil)
        let error = try #require(serverError(example.overLimit))
        #expect(error.code == .limitExceeded && error.message.contains(" \(example.field) "))
    }

    @Test func wholeMessageHasALimitThatIsFatal() {
        let text = "{\"type\":\"leave\"}" + String(repeating: " ", count: Limits.clientMessageBytes)
        let error = clientError(text)
        #expect(error?.code == .limitExceeded && error?.isFatal == true)
    }

    @Test(arguments: [
        #"{"type":"kick","participant":"ü"}"#, #"{"type":"kick","participant":""}"#,
        #"{"type":"hello","version":1,"role":"host","room":"","name":"n"}"#,
        #"{"type":"hello","version":1,"role":"king","room":"a","name":"n"}"#,
        #"{"type":"update","metadata":{"":"x"}}"#, #"{"type":"update","metadata":{"x":1}}"#,
        #"{"type":"update","metadata":{"x\u0007":""}}"#, #"{"type":"update","metadata":[]}"#,
        #"{"type":"signal","peer":"p","session":"s","connection":"c","negotiation":1,"candidate":{},"description":{}}"#,
        #"{"type":"signal","peer":"p","session":"s","connection":"c","negotiation":1,"#
            + #""candidate":{"candidate":"a\r\nb"}}"#,
    ])
    func charactersAndKindsAreChecked(_ text: String) { #expect(clientError(text)?.code == .malformed) }

    /// The largest roster that the limits allow fits into the largest message.
    @Test func largestJoinedFitsItsLimit() throws {
        var metadata: [String: String] = [:]
        for index in 0..<4 { metadata["\(index)"] = String(repeating: "\n", count: 1020) }
        let participant = Participant(
            id: ParticipantID(Self.text(64)), session: SessionID(Self.text(64)), epoch: .max,
            name: String(repeating: "\"", count: 128), isHost: false, metadata: metadata,
            capabilities: (0..<16).map { _ in Self.text(64) })
        let server = ICEServer(
            urls: (0..<8).map { _ in Self.text(512) }, username: String(repeating: "\"", count: 512),
            credential: String(repeating: "\"", count: 512))
        let joined = Joined(
            participant: participant.id, session: participant.session, epoch: .max, isHost: false, hostTerm: .max,
            isResumed: false, sessionToken: Self.text(2048),
            roster: Array(repeating: participant, count: Limits.participants),
            iceServers: ICEServerList(servers: Array(repeating: server, count: 16), ttl: .seconds(1)),
            grace: .seconds(1))
        let bytes = RoomProtocolCodec.encode(Envelope(.joined(joined)))
        #expect(bytes.count <= Limits.serverMessageBytes)
        #expect(try RoomProtocolCodec.decodeServerMessage(bytes).message == .joined(joined))
    }

    /// The article Wire protocol states this size: this much must arrive within the deadline of the `hello`.
    @Test func rosterOfSixteenWithFullMetadataIsSeventyKilobytes() {
        let metadata = Dictionary(
            uniqueKeysWithValues: (0..<4).map { ("k\($0)", Self.text((Limits.metadataBytes - 8) / 4)) })
        let participant = Participant(
            id: ParticipantID(Self.text(22)), session: SessionID(Self.text(22)), epoch: 1, name: Self.text(16),
            isHost: false, metadata: metadata, capabilities: [DeliveryProtocol.capability, "message.max.4194304"])
        let joined = Joined(
            participant: participant.id, session: participant.session, epoch: 1, isHost: false, hostTerm: 1,
            isResumed: false, sessionToken: Self.text(300), roster: Array(repeating: participant, count: 15),
            iceServers: ICEServerList(), grace: .seconds(30))
        #expect((60_000...75_000).contains(RoomProtocolCodec.encode(Envelope(.joined(joined))).count))
    }

    @Test func durationsAreRoundedToMicrosecondsAndNeverTrap() throws {
        func decoded(_ seconds: String) -> Duration? {
            let text = #"{"type":"iceServers","servers":[],"ttl":\#(seconds)}"#
            guard case .iceServers(let list)? = try? RoomProtocolCodec.decodeServerMessage(Array(text.utf8)).message
            else {
                return nil
            }
            return list.ttl
        }
        #expect(decoded("0.1") == .milliseconds(100))
        #expect(decoded("1.0000014") == .microseconds(1_000_001))
        #expect(decoded("1e1") == .seconds(10))
        #expect(decoded("-0") == .zero)
        for text in ["-1", "1e400", "-1e400", "1e18", "true", "\"1\""] { #expect(decoded(text) == nil) }
    }
}
