import Testing

@testable import RoomDoctor

@Suite struct STUNTests {
    private let binding = STUNBinding(
        transaction: [0xB7, 0xE7, 0xA7, 0x01, 0xBC, 0x34, 0xD6, 0x86, 0xFA, 0x87, 0xDF, 0xAE])

    /// The response of RFC 5769 §2.2, without the attributes after the address.
    @Test func theAddressOfASuccessResponseIsRead() {
        let header: [UInt8] = [1, 1, 0, 12, 0x21, 0x12, 0xA4, 0x42]
        let response =
            header + binding.request.dropFirst(8) + [0, 0x20, 0, 8, 0, 1, 0xA1, 0x47, 0xE1, 0x12, 0xA6, 0x43]
        #expect(binding.mappedAddress(in: response) == "192.0.2.1:32853")
        for count in 0..<response.count { #expect(binding.mappedAddress(in: Array(response.prefix(count))) == nil) }
        var other = response
        other[10] ^= 1
        #expect(binding.mappedAddress(in: other) == nil, "an answer to another request")
    }

    /// The request of RFC 5769 §2.4.
    @Test func longTermCredentialsSignAsInTheRFC() {
        let user = "\u{30DE}\u{30C8}\u{30EA}\u{30C3}\u{30AF}\u{30B9}"
        let realm = Array("example.org".utf8)
        let nonce = Array("f//499k954d6OL34oL9FSTvy64sA".utf8)
        let request = STUNMessage(
            type: 0x0001, transaction: [0x78, 0xAD, 0x34, 0x33, 0xC6, 0xAD, 0x72, 0xC0, 0x29, 0xDA, 0x41, 0x2E],
            attributes: [
                .init(type: 0x0006, value: Array(user.utf8)), .init(type: 0x0015, value: nonce),
                .init(type: 0x0014, value: realm),
            ])
        let key = TURNAllocation.key(user, realm, "TheMatrIX")
        let bytes = request.signed { TURNAllocation.hmac(key, $0) }
        let expected: [UInt8] = [
            0xF6, 0x70, 0x24, 0x65, 0x6D, 0xD6, 0x4A, 0x3E, 0x02, 0xB8, 0xE0, 0x71, 0x2E, 0x85, 0xC9, 0xA2, 0x8C, 0xA8,
            0x96, 0x66,
        ]
        #expect(Array(bytes.suffix(20)) == expected && bytes.count == 20 + 0x60 && bytes[3] == 0x60)
        #expect(STUNMessage(bytes, answering: request.transaction)?.attributes.count == 4)
    }
}

/// The exchange with a scripted server.
@Suite struct TURNAllocationTests {
    private static let challenge: [STUNMessage.Attribute] = [
        .init(type: 0x0014, value: Array("realm".utf8)), .init(type: 0x0015, value: Array("nonce".utf8)),
    ]

    private static func error(
        _ code: Int, _ reason: String = "", _ more: [STUNMessage.Attribute] = []
    ) -> STUNMessage {
        let value = [0, 0, UInt8(code / 100), UInt8(code % 100)] + Array(reason.utf8)
        return STUNMessage(type: 0x0113, transaction: [], attributes: [.init(type: 0x0009, value: value)] + more)
    }

    private static let success = STUNMessage(type: 0x0103, transaction: [])

    /// Runs against these answers, one after the other, and returns what was sent too.
    private func run(
        _ answers: [STUNMessage], user: String? = "alice"
    ) -> (outcome: TURNOutcome, requests: [STUNMessage], sent: [[UInt8]]) {
        var answers = answers[...]
        var requests: [STUNMessage] = []
        var sent: [[UInt8]] = []
        let outcome = TURNAllocation(username: user, password: user.map { _ in "secret" }).run {
            request, _ throws(ProbeFailure) in
            requests.append(request)
            guard let answer = answers.popFirst() else { throw .timedOut }
            return answer
        } send: { bytes throws(ProbeFailure) in
            sent.append(bytes)
        }
        return (outcome, requests, sent)
    }

    @Test func theAllocationIsReleased() {
        let (outcome, requests, sent) = run([Self.error(401, "", Self.challenge), Self.success])
        #expect(outcome == .allocated && requests.count == 2 && sent.count == 1)
        #expect(requests[0].value(of: .username) == nil && requests[1].value(of: .username) == Array("alice".utf8))
        #expect(requests[0].transaction != requests[1].transaction)
        // Refresh with a lifetime of 0.
        #expect(sent.first?.prefix(2) == [0, 4] && sent.first?[20..<28] == [0, 0x0D, 0, 4, 0, 0, 0, 0])
    }

    @Test func aStaleNonceIsTakenAnewOnce() {
        let stale = Self.error(438, "", Self.challenge)
        #expect(run([Self.error(401, "", Self.challenge), stale, Self.success]).outcome == .allocated)
        #expect(
            run([Self.error(401, "", Self.challenge), stale, stale, Self.success]).outcome
                == .refused(code: 438, reason: ""))
    }

    @Test func theAnswerOfTheServerIsReported() {
        let challenge = Self.error(401, "", Self.challenge)
        #expect(run([challenge, challenge]).outcome == .unauthorized)
        #expect(run([challenge], user: nil).outcome == .needsCredentials)
        #expect(
            run([challenge, Self.error(486, "Quota Reached")]).outcome == .refused(code: 486, reason: "Quota Reached"))
        #expect(run([Self.error(403, "Forbidden")]).outcome == .refused(code: 403, reason: "Forbidden"))
        #expect(run([]).outcome == .failed(.timedOut))
        #expect(run([Self.success], user: nil).outcome == .allocated)
    }
}
