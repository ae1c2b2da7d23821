import Hashing
import Testing

@testable import FileTransfer

@Suite struct CodeTests {
    @Test func aCodeIsReadAsPeopleTypeIt() throws {
        let code = TransferCode()
        #expect(code.text.count == 34)
        #expect(try TransferCode(code.text) == code)
        #expect(try TransferCode(" " + code.text.lowercased().replacing("-", with: " ") + "\n") == code)
        let typed = code.text.replacing("0", with: "o").replacing("1", with: "l").replacing("-", with: "")
        #expect(try TransferCode(typed) == code)
    }

    @Test func aTypingErrorIsToldBeforeAnythingStarts() throws {
        let code = TransferCode()
        let characters = Array(code.text.replacing("-", with: ""))
        for index in characters.indices {
            for replacement in "0123456789ABCDEFGHJKMNPQRSTVWXYZ" where replacement != characters[index] {
                var other = characters
                other[index] = replacement
                #expect(throws: TransferCode.Malformed.mistyped) { try TransferCode(String(other)) }
            }
            if index > 0, characters[index] != characters[index - 1] {
                var other = characters
                other.swapAt(index, index - 1)
                #expect(throws: TransferCode.Malformed.mistyped) { try TransferCode(String(other)) }
            }
        }
        #expect(throws: TransferCode.Malformed.length(27)) { try TransferCode(String(characters.dropLast())) }
        #expect(throws: TransferCode.Malformed.length(29)) { try TransferCode(code.text + "0") }
        #expect(throws: TransferCode.Malformed.character("!")) { try TransferCode(code.text + "!") }
        #expect(throws: TransferCode.Malformed.character("U")) { try TransferCode("U" + code.text.dropFirst()) }
    }

    @Test func theRoomSaysNothingAboutTheSecret() throws {
        let codes = (0..<100).map { _ in TransferCode() }
        #expect(Set(codes.map(\.roomName)).count == 100)
        for code in codes {
            #expect(code.roomName.utf8.count == 37)
            #expect(code.roomName == (try TransferCode(code.text)).roomName)
            #expect(code.proofKey != Array(code.roomName.utf8))
        }
        // A domain that is changed by accident separates old and new programs.
        let known = try TransferCode("0000-0000-0000-0000-0000-0000-0000")
        #expect(
            known.roomName == "send-"
                + TransferCode.base32(
                    Crypto.hmac(
                        .sha256, key: [UInt8](repeating: 0, count: 26),
                        Array("room file transfer v1: name of the room".utf8)
                    )
                    .prefix(20)))
    }

    @Test func aProofIsBoundToEverything() {
        let prints = TransferProof.Fingerprints(sender: "sha-256 AA:BB", receiver: "sha-256 CC:DD")
        func proof(
            by role: TransferProof.Role = .sender, key: [UInt8] = [1], _ prints: TransferProof.Fingerprints,
            _ sender: [UInt8] = [2], _ receiver: [UInt8] = [3]
        ) -> [UInt8] {
            TransferProof.make(by: role, key: key, prints, senderNonce: sender, receiverNonce: receiver)
        }
        let swapped = TransferProof.Fingerprints(sender: prints.receiver, receiver: prints.sender)
        let other = TransferProof.Fingerprints(sender: prints.sender, receiver: "sha-256 CC:DE")
        let all = [
            proof(prints), proof(by: .receiver, prints), proof(key: [9], prints), proof(swapped), proof(other),
            proof(prints, [9]), proof(prints, [2], [9]), proof(prints, [3], [2]), proof(prints, [2, 3], []),
        ]
        #expect(Set(all).count == all.count)
        let small = TransferProof.Fingerprints(sender: "sha-256 aa:bb", receiver: "sha-256 CC:DD")
        #expect(proof(small) == proof(prints), "capitals of the hexadecimal digits do not count")
    }
}
