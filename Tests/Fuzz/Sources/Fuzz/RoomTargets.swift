import RoomProtocol

@testable import RoomCore

/// A message from a client to the server.
func clientMessage(_ bytes: UnsafeRawBufferPointer) {
    guard let envelope = try? RoomProtocolCodec.decodeClientMessage(bytes) else { return }
    let again = try? RoomProtocolCodec.decodeClientMessage(RoomProtocolCodec.encode(envelope))
    require(again == envelope, "what was decoded can be encoded and decoded to the same")
}

/// A message from the server to a client.
func serverMessage(_ bytes: UnsafeRawBufferPointer) {
    guard let envelope = try? RoomProtocolCodec.decodeServerMessage(bytes) else { return }
    let again = try? RoomProtocolCodec.decodeServerMessage(RoomProtocolCodec.encode(envelope))
    require(again == envelope, "what was decoded can be encoded and decoded to the same")
}

/// The frames of a reliable channel, and the machine behind them. Two bytes with its length precede each frame of the
/// input.
func delivery(_ bytes: UnsafeRawBufferPointer) {
    var machine = DeliveryMachine(session: SessionID("a"), peerSession: SessionID("b"))
    machine.framesAccepted(upTo: 20)
    _ = machine.channelOpened()
    var rest = bytes[...]
    while rest.count >= 2 {
        let length = min(Int(rest[rest.startIndex]) << 8 | Int(rest[rest.startIndex + 1]), rest.count - 2)
        let frame = UnsafeRawBufferPointer(rebasing: rest.dropFirst(2).prefix(length))
        rest = rest.dropFirst(2 + length)
        switch DeliveryProtocol.decode(frame) {
        case .resume(let resume):
            let again = resume.encoded.withUnsafeBytes { DeliveryProtocol.decode($0) }
            require(again == .resume(resume), "a resume frame can be encoded and decoded to the same")
            _ = machine.resumeReceived(resume)
        case .data(let kind, let sequence, let ack):
            _ = machine.dataReceived(kind: kind, sequence: sequence, ack: ack)
            _ = machine.ackUrgency(afterFrameOf: frame.count)
        case .ack(let ack): _ = machine.ackReceived(ack)
        case .hint: break
        case nil:
            machine.channelLost()
            _ = machine.channelOpened()
        }
        if machine.ackToSend != nil { machine.ackTransmitted() }
    }
}
