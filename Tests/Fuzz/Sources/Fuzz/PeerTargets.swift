import TransportPluginAPI

@testable import ICELibnice
@testable import PeerWebRTC
@testable import RoomCore

/// An offer or an answer of the other side; the first byte decides which. An offer that is accepted must lead to an
/// answer that is well-formed itself.
func sessionDescription(_ bytes: UnsafeRawBufferPointer) {
    guard let first = bytes.first else { return }
    let kind = first & 1 == 0 ? SessionDescription.Kind.offer : .answer
    let text = String(decoding: bytes.dropFirst(), as: UTF8.self)
    guard let description = try? DataDescription(parsing: SessionDescription(kind: kind, text: text)) else { return }
    for candidate in description.candidates { _ = try? CandidateText(parsing: candidate) }
    guard kind == .offer else { return }
    let credentials = ICECredentials(usernameFragment: "abcd", password: "abcdefghijklmnopqrstuvwx")
    let fingerprint = Fingerprint(algorithm: .sha256, bytes: Array(repeating: 7, count: 32))
    let writer = DescriptionWriter(
        sessionID: 1, version: 1, fingerprint: fingerprint, sctpPort: 5000, maximumMessageSize: 262_144)
    let answer = try? DataDescription(parsing: writer.answer(to: description, credentials, setup: .active))
    require(answer?.credentials == credentials, "the answer to an accepted offer says what was written")
    require(answer?.sections.count == description.sections.count, "the answer has as many sections as the offer")
}

/// A candidate as the peer transport looks at it, and as the ICE agent does.
func candidate(_ bytes: UnsafeRawBufferPointer) {
    let text = String(decoding: bytes, as: UTF8.self)
    _ = try? CandidateText(parsing: text)
    guard let line = try? CandidateLine(text) else { return }
    _ = line.isUsable
    let again = try? CandidateLine(line.description)
    require(again?.description == line.description, "a line that was written can be read and written to the same")
}

/// A message on a stream's control protocol (RFC 8832).
func channelOpen(_ bytes: UnsafeRawBufferPointer) {
    guard let message = try? DCEP.decode(bytes) else { return }
    let again = DCEP.encode(message).withUnsafeBytes { try? DCEP.decode($0) }
    require(again == message, "what was decoded can be encoded and decoded to the same")
}

/// The label and the protocol of a channel that the other side opens.
func channelLabel(_ bytes: UnsafeRawBufferPointer) {
    let text = String(decoding: bytes, as: UTF8.self)
    _ = DeliveryChannel(ChannelParameters(label: text, protocol: text), .exchange)
    _ = DeliveryChannel(ChannelParameters(label: "room.reliable", protocol: text), .exchange)
}
