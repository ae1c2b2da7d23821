internal import RoomCore
internal import RoomProtocol
internal import RoomValues
internal import TransportValues

/// Recorded encodings and decodings: frames of the delivery protocol, messages of topics, requests and streams, and
/// messages to and from the room server; well-formed ones, and what becomes of the malformed.
struct VectorCodecs {
    private let tape: VectorTape.Instance?
    private var dice: SeededGenerator

    static func record(seed: UInt64, on tape: VectorTape) {
        var codecs = VectorCodecs(tape: tape.instance("Codec", "-", group: "codec"), dice: SeededGenerator(seed: seed))
        codecs.deliveryFrames()
        codecs.exchangeMessages()
        codecs.clientMessages()
        codecs.serverMessages()
    }

    private mutating func number(_ range: ClosedRange<Int>) -> Int { dice.number(range) }

    // MARK: Between participants

    private mutating func deliveryFrames() {
        var frames: [[UInt8]] = []
        let numbers: [UInt64] = [0, 1, 255, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 53) - 1]
        for session in ["s", "s1", "caf\u{E9}", String(repeating: "x", count: 200), ""] {
            for number in numbers {
                let frame = DeliveryProtocol.ResumeFrame(
                    session: SessionID(session), peerSession: SessionID("other"), received: number,
                    next: min(number + 1, (1 << 53) - 1))
                tape?("encodeResume", [frame], frame.encoded)
                frames.append(frame.encoded)
            }
        }
        for hint in [DeliveryProtocol.Hint.serverIsBack, .leaving, .unheard] {
            tape?("encodeHint", [hint], hint.encoded)
            frames.append(hint.encoded)
        }
        for kind in UInt8(0)...8 {
            for count in [0, 1, 4, 5, 8, 9, 20] {
                frames.append([kind] + (0..<count).map { _ in UInt8(truncatingIfNeeded: dice.next()) })
            }
            frames.append([kind] + [UInt8](repeating: 0xFF, count: 8))
        }
        frames += [[], [6, 0], [6, 4], [6, 255]]
        for frame in frames {
            decode(frame)
            guard !frame.isEmpty else { continue }
            // Cut, extended, or with another byte.
            decode(Array(frame.prefix(number(0...(frame.count - 1)))))
            decode(frame + [0])
            var other = frame
            other[number(0...(min(frame.count, 12) - 1))] = UInt8(truncatingIfNeeded: dice.next())
            decode(other)
        }
    }

    private func decode(_ frame: [UInt8]) {
        let decoded = frame.withUnsafeBytes { DeliveryProtocol.decode($0) }
        // JavaScript counts to 2⁵³.
        if case .resume(let resume)? = decoded, max(resume.received, resume.next) >= 1 << 53 { return }
        tape?("decodeFrame", [frame], decoded as Any)
    }

    private mutating func exchangeMessages() {
        let (text, long) = ("caf\u{E9} \u{1F600}", String(repeating: "\u{E9}", count: 600))
        let id: UInt64 = 1 << 33 + 7
        var messages: [[UInt8]] = []
        func encode(_ name: String, _ arguments: [Any], _ message: [UInt8]) {
            tape?(name, arguments, message)
            messages.append(message)
        }
        encode("topicMessage", [text, true], ExchangeHead.topicMessage(text, isText: true))
        encode("topicMessage", ["t", false], ExchangeHead.topicMessage("t", isText: false))
        encode("topicWindow", [text, id], ExchangeHead.topicWindow(text, limit: id))
        encode("topicPosition", [text, id], ExchangeHead.topicPosition(text, sent: id))
        for timeout in [nil, 1, UInt32.max] {
            encode(
                "request", [id, timeout as Any, text, true],
                ExchangeHead.request(id: id, timeout: timeout, method: text, isText: true))
        }
        encode("answer", [id, false], ExchangeHead.answer(id: id, isText: false))
        for (code, message) in [("code", text), ("", ""), (long, long), ("x", String(repeating: "a", count: 1025))] {
            encode("failure", [id, code, message], ExchangeHead.failure(id: id, code: code, message: message))
        }
        encode("reset", [id, "code", text], ExchangeHead.reset(stream: id, code: "code", message: text))
        encode("stop", [id, "", ""], ExchangeHead.stop(stream: id, code: "", message: ""))
        encode("cancel", [id], ExchangeHead.cancel(id: id))
        encode("requestRestart", [7, id], ExchangeHead.requestRestart(first: 7, last: id))
        for length in [nil, 0, id] {
            for metadata in [[:], ["b": "2", "a": "1"], ["caf\u{E9}": text, "empty": ""]] {
                let opening = ExchangeMessage.Opening(name: text, length: length, metadata: metadata)
                encode("open", [id, opening], ExchangeHead.open(stream: id, opening))
            }
        }
        encode("data", [id], ExchangeHead.data(stream: id))
        encode("end", [id], ExchangeHead.end(stream: id))
        encode("window", [id, 7, 9], ExchangeHead.window(stream: id, consumed: 7, limit: 9))
        encode("window", [id, 9, 7], ExchangeHead.window(stream: id, consumed: 9, limit: 7))
        encode("finished", [id], ExchangeHead.finished(stream: id))
        encode("restart", [1, id], ExchangeHead.restart(first: 1, last: id))
        for message in messages + [[], [0], [0x30], [0x01, 2, 1, 0x61], [0x01, 0, 0], [0x01, 0, 1, 0xFF]] {
            decodeExchange(message)
            guard !message.isEmpty else { continue }
            decodeExchange(message + [0])
            decodeExchange(Array(message.prefix(number(0...(message.count - 1)))))
            var other = message
            // Not the highest bytes of numbers.
            let place = number(0...(message.count - 1))
            if (1...2).contains(place) { continue }
            other[place] = UInt8(truncatingIfNeeded: dice.next())
            decodeExchange(other)
        }
    }

    private func decodeExchange(_ message: [UInt8]) {
        let decoded = message.withUnsafeBytes { ExchangeMessage($0) }
        // JavaScript counts to 2⁵³.
        switch decoded {
        case .topicWindow(_, let limit)? where limit >= 1 << 53: return
        case .topicPosition(_, let sent)? where sent >= 1 << 53: return
        case .window(_, _, let limit)? where limit >= 1 << 53: return
        case .open(_, let opening)? where opening.length ?? 0 >= 1 << 53: return
        case .restart(let first, let last)? where max(first, last) >= 1 << 53: return
        case .requestRestart(let first, let last)? where max(first, last) >= 1 << 53: return
        default: tape?("decodeExchange", [message], decoded as Any)
        }
    }

    // MARK: To the room server

    private func clientMessages() {
        let text = "caf\u{E9} \u{1F600} \"\\\n\u{7F}"
        var hello = Hello(room: RoomName("lab"), role: .first, name: text)
        var messages: [ClientMessage] = [.hello(hello)]
        hello.waitsForRoom = true
        hello.metadata = ["a": text]
        hello.token = "token"
        hello.resume = Resume(sessionToken: "t", received: 7, mustRejoin: true, attempt: 3)
        hello.capabilities = ["delivery.v1"]
        messages.append(.hello(hello))
        hello.resume?.attempt = 0
        hello.resume?.mustRejoin = false
        messages.append(.hello(hello))
        messages += Self.signals.map { .signal($0) }
        messages += [
            .kick(ParticipantID("p1"), reason: text), .update(metadata: [:]), .update(metadata: ["k": text]),
            .updateRoom(RoomAttributes(version: 3, values: ["a": "b"])), .ack(received: 0),
            .ack(received: (1 << 53) - 1), .ping(id: 1), .pong(id: 2), .leave, .closeRoom(reason: ""),
        ]
        for message in messages {
            for (sequence, ack) in [(nil, nil), (1, nil), (7, 9)] as [(UInt64?, UInt64?)] {
                let envelope = Envelope(sequence: sequence, ack: ack, message)
                let json = VectorJSON(text: String(decoding: RoomProtocolCodec.encode(envelope), as: UTF8.self))
                tape?("encodeClientMessage", [envelope], json)
            }
        }
    }

    private static var signals: [Signal] {
        let bodies: [Signal.Body] = [
            .description(SessionDescription(kind: .offer, text: "v=0\r\n")),
            .description(SessionDescription(kind: .answer, text: "v=0\r\n")),
            .candidate(PeerCandidate(text: "candidate:1", mediaID: "0", mediaLineIndex: 0, usernameFragment: "u")),
            .candidate(PeerCandidate(text: "candidate:1")), .endOfCandidates(usernameFragment: "u"),
            .restartRequest(reason: "silence"), .rebuildRequest(reason: ""),
        ]
        return bodies.map {
            Signal(
                peer: ParticipantID("p1"), session: SessionID("s1"), connection: PeerConnectionID("c1"),
                negotiation: 4, body: $0)
        }
    }

    // MARK: From the room server

    private mutating func serverMessages() {
        let participant = Participant(
            id: ParticipantID("p1"), session: SessionID("s1"), epoch: 2, name: "caf\u{E9}", isHost: true,
            metadata: ["a": "b"], capabilities: ["delivery.v1"])
        let servers = ICEServerList(
            servers: [
                ICEServer(urls: ["stun:x", "turn:y"], username: "u", credential: "c"), ICEServer(urls: ["stun:z"]),
            ],
            ttl: .milliseconds(1500))
        var messages: [ServerMessage] = [
            .joined(
                Joined(
                    participant: ParticipantID("p0"), session: SessionID("s0"), epoch: 1, isHost: false, hostTerm: 3,
                    isResumed: true, received: 5, sent: 6, sessionToken: "t", roster: [participant],
                    attributes: RoomAttributes(version: 2, values: ["k": "v"]), iceServers: servers,
                    grace: .seconds(30))),
            .joined(
                Joined(
                    participant: ParticipantID("p0"), session: SessionID("s0"), epoch: 1, isHost: true, hostTerm: 1,
                    isResumed: false, sessionToken: "t", roster: [], iceServers: ICEServerList(), grace: .zero)),
            .waiting(pingInterval: .seconds(5), pingDeadline: .seconds(5)), .peerJoined(participant),
            .peerChanged(participant), .hostChanged(ParticipantID("p1"), term: 4, sessionToken: "t"),
            .roomChanged(RoomAttributes(version: 3, values: ["k": "v"])), .iceServers(servers), .ack(received: 8),
            .ping(id: 1), .pong(id: 2), .goingAway(retryAfter: .milliseconds(500) ... .seconds(2)),
            .error(ProtocolError(code: .malformed, message: "x", isRetryable: false, isFatal: true)),
            .error(
                ProtocolError(
                    code: .replaced, message: "", isRetryable: true, isFatal: true, retryAfter: .zero ... .seconds(1),
                    sequence: 4, replacedBy: .participant)),
        ]
        messages += LeaveReason.allCases.map { .peerLeft(ParticipantID("p1"), SessionID("s1"), reason: $0) }
        messages += Self.signals.map { .signal($0) }
        for (index, message) in messages.enumerated() {
            let envelope = Envelope(sequence: index % 2 == 0 ? nil : 3, ack: index % 3 == 0 ? nil : 2, message)
            let text = String(decoding: RoomProtocolCodec.encode(envelope), as: UTF8.self)
            decode(text)
            for change in changed(text) where text.utf8.count < 200 || number(0...3) == 0 { decode(change) }
        }
        for text in [
            "", "null", "[]", "{}", "{\"type\":1}", "{\"type\":\"x\"}", "{\"type\":\"ping\"", "{\"type\":\"ping\",}",
            "{\"type\":\"hostChanged\",\"participant\":\"p\",\"hostTerm\":1,\"sessionToken\":\""
                + String(repeating: "t", count: 2049) + "\"}",
            "{\"type\":\"ping\",\"id\":1}x", "{\"type\":\"ping\",\"id\":1,\"seq\":0}", "{\"type\":\"\"}",
        ] {
            decode(text)
        }
    }

    /// The text with its values replaced, one at a time, each by some that may not fit, and its names by others.
    private mutating func changed(_ text: String) -> [String] {
        let values = [
            "null", "true", "0", "1", "-1", "1.5", "1e30", "18446744073709551616", "\"\"", "\"x\"", "\"a b\"",
            "\"a\\nb\"", "\"a\\u0000b\"", "[]", "{}", "[1]", "\"\(String(repeating: "x", count: 65))\"",
            "\"\(String(repeating: "y", count: 129))\"", "\"\(String(repeating: "z", count: 257))\"",
        ]
        let bytes = Array(text.utf8)
        var results: [String] = []
        for place in bytes.indices where bytes[place] == UInt8(ascii: ":") && bytes[place - 1] == UInt8(ascii: "\"") {
            let start = place + 1
            var end = start
            if bytes[start] == UInt8(ascii: "\"") {
                end += 1
                while bytes[end] != UInt8(ascii: "\"") { end += bytes[end] == UInt8(ascii: "\\") ? 2 : 1 }
                end += 1
            } else {
                // Of an object or a list only the begin: the text is no JSON then.
                while end < bytes.count, !",}]".utf8.contains(bytes[end]) { end += 1 }
            }
            func text(_ value: [UInt8]) -> String {
                String(decoding: bytes[..<start] + value + bytes[end...], as: UTF8.self)
            }
            if !"[{".utf8.contains(bytes[start]) {
                results.append(text(Array(values[number(0...(values.count - 1))].utf8)))
            }
            // Another name.
            var renamed = bytes
            renamed[place - 2] = UInt8(ascii: "_")
            results.append(String(decoding: renamed, as: UTF8.self))
        }
        return results
    }

    private func decode(_ text: String) {
        do throws(ProtocolError) {
            tape?("decodeServerMessage", [text], try RoomProtocolCodec.decodeServerMessage(Array(text.utf8)))
        } catch {
            // Sentences may differ.
            tape?("decodeServerMessage", [text], Refusal(code: error.code, isFatal: error.isFatal))
        }
    }

    private struct Refusal {
        var code: ProtocolError.Code
        var isFatal: Bool
    }
}
