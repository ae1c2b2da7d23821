import Hashing
import Testing
import TransportPluginAPI

@testable import FileTransfer

@Suite struct MessageTests {
    private static let messages: [TransferMessage] = [
        .hello(version: 1, asksForProof: true, nonce: Array(0..<32)), .proof(Array(repeating: 7, count: 32)),
        .manifest([1, 2, 3], isLast: false), .manifest([], isLast: true),
        .present(
            index: 3, [.init(length: 5, digest: Crypto.sha256([1])), .init(length: 9, digest: Crypto.sha256([2]))]),
        .accept, .file(index: 70_000, offset: 1 << 40), .endOfFile(Crypto.sha256([])), .written(.max),
        .stored(index: 0), .finished, .goodbye, .failure(.noSpace, "the disk is füll"),
    ]

    @Test func messagesArriveInPiecesOfAnySize() throws {
        let data = (0..<1000).map { UInt8(truncatingIfNeeded: $0) }
        let header = TransferMessage.header(.data, length: data.count)
        let bytes = Self.messages.flatMap(\.encoded) + header + data + TransferMessage.goodbye.encoded
        for length in [1, 2, 3, 5, 7, 64, 1000, bytes.count] {
            var reader = TransferMessageReader()
            var messages: [TransferMessage] = []
            var received: [UInt8] = []
            for start in stride(from: 0, to: bytes.count, by: length) {
                reader.feed(Payload(bytes[start..<min(start + length, bytes.count)]))
                while let item = try reader.next() {
                    switch item {
                    case .message(let message): messages.append(message)
                    case .data(let piece, let range):
                        piece.withUnsafeBytes { received.append(contentsOf: $0[range]) }
                    }
                }
            }
            #expect(messages == Self.messages + [.goodbye])
            #expect(received == data)
        }
    }

    /// The example of the article "Sending files".
    @Test func messagesHaveTheDocumentedBytes() throws {
        func hex(_ bytes: [UInt8]) -> String {
            bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        }
        var manifest = Manifest()
        try manifest.add(.init(kind: .file, path: ArrivingPath("a"), size: 2, modifiedAt: 0, mode: 0o644))
        let messages: [TransferMessage] = [
            .manifest(manifest.encoded(), isLast: true), .file(index: 0, offset: 0),
            .endOfFile(Crypto.sha256(Array("hi".utf8))), .goodbye,
        ]
        #expect(
            messages.map { hex($0.encoded) } == [
                "0400000022" + "0000000100000000000000020001a4000000000000000200000000000000000001" + "61",
                "070000000c" + "000000000000000000000000",
                "0900000020" + "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4",
                "0d00000000",
            ])
        let nonce = [UInt8](repeating: 7, count: 32)
        #expect(
            hex(TransferMessage.hello(version: 1, asksForProof: false, nonce: nonce).encoded) == "01000000220100"
                + hex(nonce))
        #expect(hex(TransferMessage.header(.data, length: 2)) == "0800000002")
    }

    @Test func nonsenseIsAnErrorAndNeverATrap() throws {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<2000 {
            var bytes = Self.messages.randomElement(using: &generator)?.encoded ?? []
            for _ in 0..<Int.random(in: 1...3) {
                bytes[Int.random(in: bytes.indices)] = UInt8.random(in: .min ... .max)
            }
            var reader = TransferMessageReader()
            reader.feed(Payload(bytes))
            do {
                while try reader.next() != nil {}
            } catch {
                #expect(error.code == .protocolViolation)
            }
        }
        for header in [[UInt8(0), 0, 0, 0, 0], [1, 255, 255, 255, 255], [8, 0, 255, 255, 255]] {
            var reader = TransferMessageReader()
            reader.feed(Payload(header))
            #expect(throws: TransferError.self) { try reader.next() }
        }
    }

    @Test func checkpointsGrowAndAreFew() {
        for count in [1, 15, 16, 17, 1 << 20, 100 << 20, UInt64.max] {
            let lengths = ArrivingFile.checkpoints(of: count)
            #expect(lengths.last == count && lengths.first ?? 0 > 0 && lengths.count <= TransferMessage.checkpointLimit)
            #expect(zip(lengths, lengths.dropFirst()).allSatisfy { $0 < $1 })
        }
    }
}

@Suite struct RateTests {
    @Test func theRateIsThatOfTheLastSeconds() throws {
        var rate = TransferRate()
        #expect(rate.bytesPerSecond == nil && rate.secondsLeft(of: 10) == nil)
        for second in 0...20 { rate.record(UInt64(second) * 100, at: Double(second)) }
        #expect(rate.bytesPerSecond == 100)
        #expect(rate.secondsLeft(of: 3000) == 10)
        for second in 21...40 { rate.record(2000, at: Double(second)) }
        #expect(rate.bytesPerSecond == 0 && rate.secondsLeft(of: 3000) == nil, "nothing moves")
        rate.record(0, at: 41)
        #expect(rate.bytesPerSecond == nil, "another transfer")
    }

    @Test func numbersAreForPeople() {
        #expect(ByteCount(1).description == "1 byte" && ByteCount(999).description == "999 bytes")
        #expect(ByteCount(1000).description == "1.0 kB" && ByteCount(999_949).description == "999.9 kB")
        #expect(ByteCount(999_999).description == "1.0 MB" && ByteCount(.max).description == "18.4 EB")
        #expect(TransferRate.clock(0) == "0:00" && TransferRate.clock(61.5) == "1:02")
        #expect(TransferRate.clock(3723) == "1:02:03" && TransferRate.clock(.infinity) == "99:59:59")
    }
}
