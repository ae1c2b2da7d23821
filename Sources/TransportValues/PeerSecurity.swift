/// The certificates between which a peer connection is encrypted.
///
/// Descriptions, and the fingerprints in them, come by way of the room server: whoever controls it could have put itself in the middle.
/// Two people who compare `verificationCode` over another way, such as a phone call, know that nobody did.
public struct PeerSecurity: Sendable, Hashable {
    /// The fingerprint of this side's certificate: `sha-256 AB:CD:…` (RFC 8122 §5).
    public var localFingerprint: String
    /// The fingerprint of the certificate that the other side has shown, and has the key of.
    public var remoteFingerprint: String
    /// Six groups of five digits made of both fingerprints; the same on both sides.
    public var verificationCode: String

    /// The transport computes the code: the article *Wire protocol* says how.
    public init(localFingerprint: String, remoteFingerprint: String, verificationCode: String) {
        self.localFingerprint = localFingerprint
        self.remoteFingerprint = remoteFingerprint
        self.verificationCode = verificationCode
    }
}
