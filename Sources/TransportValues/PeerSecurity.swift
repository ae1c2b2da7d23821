/// The certificates between which a peer connection is encrypted.
///
/// The fingerprints travel in session descriptions through the room server, so an attacker that controls it could
/// intercept the connection. Two people that compare `verificationCode` over another medium, such as a phone call, know
/// that nobody does.
public struct PeerSecurity: Sendable, Hashable {
    /// The fingerprint of this side's certificate: `sha-256 AB:CD:…` (RFC 8122 §5).
    public var localFingerprint: String
    /// The fingerprint of the certificate that the other side has presented, with proof of its key.
    public var remoteFingerprint: String
    /// The verification code: six groups of five digits, computed from both fingerprints. It is the same on both sides.
    public var verificationCode: String

    /// Creates a value with the code that the transport has computed, as the article *Wire protocol* describes.
    public init(localFingerprint: String, remoteFingerprint: String, verificationCode: String) {
        self.localFingerprint = localFingerprint
        self.remoteFingerprint = remoteFingerprint
        self.verificationCode = verificationCode
    }
}
