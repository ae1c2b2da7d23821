import Testing

@testable import RoomProtocol

private func decode(_ bytes: [UInt8]) -> ExchangeMessage? { bytes.withUnsafeBytes { ExchangeMessage($0) } }

/// A message of each kind with its bytes. Those whose length is not in the message itself carry no body.
private let messages: [(bytes: [UInt8], decoded: ExchangeMessage, text: String?)] = [
    (
        ExchangeHead.topicMessage("chat", isText: true),
        .topicMessage(.init(offset: 3, count: 4), isText: true, body: 7), "chat"
    ),
    (
        ExchangeHead.topicMessage("Zoë", isText: false),
        .topicMessage(.init(offset: 3, count: 4), isText: false, body: 7), "Zoë"
    ),
    (
        ExchangeHead.topicWindow("chat", limit: 262_144), .topicWindow(.init(offset: 2, count: 4), limit: 262_144),
        "chat"
    ),
    (ExchangeHead.topicPosition("a", sent: 7), .topicPosition(.init(offset: 2, count: 1), sent: 7), "a"),
    (
        ExchangeHead.request(id: 1, timeout: 10_000, method: "move", isText: true),
        .request(id: 1, timeout: 10_000, method: .init(offset: 15, count: 4), isText: true, body: 19), "move"
    ),
    (
        ExchangeHead.request(id: .max, timeout: nil, method: "m", isText: false),
        .request(id: .max, timeout: nil, method: .init(offset: 15, count: 1), isText: false, body: 16), "m"
    ),
    (ExchangeHead.answer(id: 2, isText: true), .answer(id: 2, isText: true, body: 10), nil),
    (
        ExchangeHead.failure(id: 3, code: "busy", message: "später"),
        .failure(id: 3, code: "busy", message: "später"), nil
    ),
    (ExchangeHead.failure(id: 3, code: "c", message: ""), .failure(id: 3, code: "c", message: ""), nil),
    (ExchangeHead.cancel(id: 4), .cancel(id: 4), nil),
    (ExchangeHead.requestRestart(first: 12, last: 0), .requestRestart(first: 12, last: 0), nil),
    (
        ExchangeHead.open(stream: 5, .init(name: "a.bin", length: 12_345, metadata: ["type": "x/y", "k": ""])),
        .open(stream: 5, .init(name: "a.bin", length: 12_345, metadata: ["type": "x/y", "k": ""])), nil
    ),
    (
        ExchangeHead.open(stream: 5, .init(name: "a", length: nil, metadata: [:])),
        .open(stream: 5, .init(name: "a", length: nil, metadata: [:])), nil
    ),
    (ExchangeHead.data(stream: 6), .data(stream: 6, body: 9), nil),
    (ExchangeHead.end(stream: 7), .end(stream: 7), nil),
    (ExchangeHead.reset(stream: 8, code: "c", message: "m"), .reset(stream: 8, code: "c", message: "m"), nil),
    (
        ExchangeHead.window(stream: 9, consumed: 1, limit: .max), .window(stream: 9, consumed: 1, limit: .max), nil
    ),
    (ExchangeHead.stop(stream: 10, code: "c", message: "m"), .stop(stream: 10, code: "c", message: "m"), nil),
    (ExchangeHead.finished(stream: 11), .finished(stream: 11), nil),
    (ExchangeHead.restart(first: 12, last: 0), .restart(first: 12, last: 0), nil),
]

extension ExchangeMessage {
    fileprivate var name: Name? {
        switch self {
        case .topicMessage(let name, _, _), .topicWindow(let name, _), .topicPosition(let name, _),
            .request(_, _, let name, _, _):
            name
        case .answer, .failure, .cancel, .requestRestart, .open, .data, .end, .reset, .window, .stop, .finished,
            .restart:
            nil
        }
    }

    fileprivate var body: Int? {
        switch self {
        case .topicMessage(_, _, let body), .request(_, _, _, _, let body), .answer(_, _, let body), .data(_, let body):
            body
        case .topicWindow, .topicPosition, .failure, .cancel, .requestRestart, .open, .end, .reset, .window, .stop,
            .finished, .restart:
            nil
        }
    }
}

@Suite("Exchange messages")
struct ExchangeMessageTests {
    @Test func whatWasEncodedIsDecodedToTheSame() {
        for (bytes, decoded, text) in messages {
            let message = decode(bytes)
            #expect(message == decoded, "\(bytes)")
            #expect(bytes.withUnsafeBytes { bytes in message?.name.map { $0.text(in: bytes) } } == text)
        }
        let kinds = Set(messages.compactMap { $0.bytes.first })
        #expect(kinds == Set(ExchangeProtocol.Kind.allCases.map(\.rawValue)))
    }

    @Test func theBytesOfEachKindAreThoseOfTheWireProtocol() {
        #expect(ExchangeHead.topicMessage("ab", isText: true) == [0x01, 1, 2, 0x61, 0x62])
        #expect(ExchangeHead.topicWindow("a", limit: 0x0102) == [0x02, 1, 0x61, 0, 0, 0, 0, 0, 0, 1, 2])
        #expect(ExchangeHead.topicPosition("a", sent: 0x0102) == [0x03, 1, 0x61, 0, 0, 0, 0, 0, 0, 1, 2])
        #expect(
            ExchangeHead.requestRestart(first: 1, last: 2)
                == [0x14, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2])
        #expect(
            ExchangeHead.request(id: 1, timeout: 0x0203, method: "a", isText: false)
                == [0x10, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 2, 3, 0, 1, 0x61])
        #expect(ExchangeHead.answer(id: 1, isText: false) == [0x11, 0, 0, 0, 0, 0, 0, 0, 1, 0])
        #expect(
            ExchangeHead.failure(id: 1, code: "a", message: "b")
                == [0x12, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0x61, 0, 1, 0x62])
        #expect(
            ExchangeHead.open(stream: 1, .init(name: "a", length: nil, metadata: ["b": "c"]))
                == [0x20, 0, 0, 0, 0, 0, 0, 0, 1] + [UInt8](repeating: 0xFF, count: 8)
                + [1, 0x61, 1, 1, 0x62, 0, 1, 0x63])
    }

    @Test func theBodyIsTheRestOfTheMessage() {
        for (bytes, decoded, _) in messages where decoded.body != nil {
            #expect(decode(bytes + [1, 2, 3]) == decoded)
            #expect(decoded.body == bytes.count)
        }
    }

    @Test func aMessageThatIsCutAnywhereIsMalformed() {
        for (bytes, _, _) in messages {
            for count in 0..<bytes.count { #expect(decode(Array(bytes.prefix(count))) == nil, "\(bytes), \(count)") }
        }
    }

    @Test func aMessageWithoutBodyHasNothingBehindItsLastField() {
        for (bytes, decoded, _) in messages where decoded.body == nil { #expect(decode(bytes + [0]) == nil) }
    }

    @Test func unknownKindsAreNotDecoded() {
        let known = Set(ExchangeProtocol.Kind.allCases.map(\.rawValue))
        for kind in UInt8.min...UInt8.max where !known.contains(kind) {
            #expect(decode([kind] + [UInt8](repeating: 1, count: 40)) == nil)
        }
    }

    @Test func textThatIsNotUTF8IsMalformed() {
        for invalid in [[0xFF] as [UInt8], [0xC0, 0xAF], [0xED, 0xA0, 0x80], [0xF5, 0x80, 0x80, 0x80], [0xC3]] {
            let count = UInt8(invalid.count)
            let id: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 1]
            #expect(decode([0x01, 0, count] + invalid) == nil)
            #expect(decode([0x02, count] + invalid + id) == nil)
            #expect(decode([0x10] + id + [0, 0, 0, 0, 0, count] + invalid) == nil)
            #expect(decode([0x12] + id + [count] + invalid + [0, 0]) == nil)
            #expect(decode([0x12] + id + [1, 0x61, 0, count] + invalid) == nil)
            #expect(decode([0x20] + id + id + [count] + invalid + [0]) == nil)
            #expect(decode([0x20] + id + id + [1, 0x61, 1, count] + invalid + [0, 0]) == nil)
            #expect(decode([0x20] + id + id + [1, 0x61, 1, 1, 0x62, 0, count] + invalid) == nil)
        }
    }

    @Test func namesAndCodesHaveOneByteAtLeastAndAreLimited() {
        let long = String(repeating: "a", count: 65)
        #expect(decode(ExchangeHead.topicMessage(String(long.dropLast()), isText: false)) != nil)
        for name in ["", long] {
            #expect(decode(ExchangeHead.topicMessage(name, isText: false)) == nil)
            #expect(decode(ExchangeHead.topicWindow(name, limit: 1)) == nil)
            #expect(decode(ExchangeHead.request(id: 1, timeout: nil, method: name, isText: false)) == nil)
        }
        #expect(decode(ExchangeHead.open(stream: 1, .init(name: "", length: 1, metadata: [:]))) == nil)
        let longest = String(repeating: "a", count: 255)
        #expect(decode(ExchangeHead.open(stream: 1, .init(name: longest, length: 1, metadata: [:]))) != nil)
    }

    @Test func textsOfFailuresAreShortenedToWholeCharacters() {
        let message = decode(
            ExchangeHead.failure(
                id: 1, code: String(repeating: "c", count: 70), message: String(repeating: "€", count: 400)))
        #expect(
            message
                == .failure(
                    id: 1, code: String(repeating: "c", count: 64), message: String(repeating: "€", count: 341)))
        #expect(decode(ExchangeHead.stop(stream: 1, code: "", message: "")) != nil)
    }

    @Test func metadataIsLimitedInEntriesAndBytesAndHasNoKeyTwice() {
        func opening(_ metadata: [String: String]) -> ExchangeMessage? {
            decode(ExchangeHead.open(stream: 1, .init(name: "n", length: 1, metadata: metadata)))
        }
        func entries(_ count: Int) -> [String: String] {
            Dictionary(uniqueKeysWithValues: (0..<count).map { ("\($0)", "v") })
        }
        #expect(opening(entries(16)) != nil)
        #expect(opening(entries(17)) == nil)
        #expect(opening(["k": String(repeating: "v", count: 4095)]) != nil)
        #expect(opening(["k": String(repeating: "v", count: 4096)]) == nil)
        #expect(opening(["": "v"]) == nil)
        #expect(opening([String(repeating: "k", count: 65): "v"]) == nil)
        let id: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 1]
        #expect(decode([0x20] + id + id + [1, 0x61, 2, 1, 0x62, 0, 0, 1, 0x63, 0, 0]) != nil)
        #expect(decode([0x20] + id + id + [1, 0x61, 2, 1, 0x62, 0, 0, 1, 0x62, 0, 0]) == nil)
    }

    @Test func impossibleNumbersAreMalformed() {
        #expect(decode(ExchangeHead.cancel(id: 0)) == nil)
        #expect(decode(ExchangeHead.data(stream: 0)) == nil)
        #expect(decode(ExchangeHead.window(stream: 1, consumed: 2, limit: 1)) == nil)
        #expect(decode([0x11, 0, 0, 0, 0, 0, 0, 0, 1, 2]) == nil, "flags that are not known")
    }
}
