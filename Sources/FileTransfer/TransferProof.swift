internal import Hashing

/// A proof that a side has the code and sees the same two certificates as the other.
///
/// An HMAC over the role of the side that proves, the fingerprints of both certificates, and fresh nonces of both
/// sides. The key comes from the code. A server that shows each side a certificate of its own cannot make the proof
/// that either side expects, and cannot reuse one.
enum TransferProof {
    static let nonceLength = 32

    enum Role: UInt8 {
        case sender = 1
        case receiver = 2
    }

    /// The fingerprints as one side sees them, by role.
    struct Fingerprints: Hashable {
        var sender: String
        var receiver: String
    }

    static func make(
        by role: Role, key: [UInt8], _ fingerprints: Fingerprints, senderNonce: [UInt8], receiverNonce: [UInt8]
    ) -> [UInt8] {
        var message = ByteWriter()
        message.add(text: "room file transfer v1: proof")
        message.add(role.rawValue)
        // Each part has a length of its own, so that no two different inputs are the same bytes.
        message.add(text: fingerprints.sender.uppercased())
        message.add(text: fingerprints.receiver.uppercased())
        for nonce in [senderNonce, receiverNonce] {
            message.add(UInt16(nonce.count))
            message.add(raw: nonce)
        }
        return Crypto.hmac(.sha256, key: key, message.bytes)
    }
}
