import RoomProtocol
import Testing
import TransportPluginAPI

@testable import RoomConnection

@Suite struct CertificatePinsTests {
    private let pins = CertificatePins()
    private let bob = ParticipantID("bob")
    private let eve = ParticipantID("eve")

    private func security(_ fingerprint: String) -> PeerSecurity {
        PeerSecurity(localFingerprint: "sha-256 00", remoteFingerprint: fingerprint, verificationCode: "")
    }

    @Test func withoutAPinEveryCertificateIsTaken() {
        #expect(pins.accept(security("sha-256 AA"), of: bob))
        #expect(pins.accept(nil, of: bob), "a backend without certificates")
    }

    @Test func aPinTakesOneCertificateOfOneParticipant() {
        pins.pin("sha-256 AA", of: bob)
        #expect(pins.accept(security("sha-256 AA"), of: bob))
        #expect(!pins.accept(security("sha-256 AB"), of: bob))
        #expect(!pins.accept(nil, of: bob), "nor a connection without certificates")
        #expect(pins.accept(security("sha-256 AB"), of: eve))
    }

    @Test func theLastPinCountsUntilTheParticipantLeaves() {
        pins.pin("sha-256 AA", of: bob)
        pins.pin("sha-256 BB", of: bob)
        #expect(!pins.accept(security("sha-256 AA"), of: bob) && pins.accept(security("sha-256 BB"), of: bob))
        pins.remove(bob)
        #expect(pins.accept(security("sha-256 AA"), of: bob))
    }
}
