@testable import RoomCore
@testable import RoomProtocol

/// A message from a client to the server.
func clientMessage(_ bytes: UnsafeRawBufferPointer) {
    let envelope = try? RoomProtocolCodec.decodeClientMessage(bytes)
    let long = try? RoomProtocolCodec.decodeAnyClientMessage(bytes)
    require(envelope == long, "the short way for signals gives what the long one does")
    guard let envelope else { return }
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

/// A message of topics, requests or streams.
func exchange(_ bytes: UnsafeRawBufferPointer) {
    guard let message = ExchangeMessage(bytes) else { return }
    let again: [UInt8]
    switch message {
    case .topicMessage(let name, let isText, let body):
        again = ExchangeHead.topicMessage(name.text(in: bytes), isText: isText) + bytes.dropFirst(body)
    case .topicWindow(let name, let limit): again = ExchangeHead.topicWindow(name.text(in: bytes), limit: limit)
    case .topicPosition(let name, let sent): again = ExchangeHead.topicPosition(name.text(in: bytes), sent: sent)
    case .request(let id, let timeout, let method, let isText, let body):
        let head = ExchangeHead.request(id: id, timeout: timeout, method: method.text(in: bytes), isText: isText)
        again = head + bytes.dropFirst(body)
    case .answer(let id, let isText, let body):
        again = ExchangeHead.answer(id: id, isText: isText) + bytes.dropFirst(body)
    case .failure(let id, let code, let message): again = ExchangeHead.failure(id: id, code: code, message: message)
    case .cancel(let id): again = ExchangeHead.cancel(id: id)
    case .requestRestart(let first, let last): again = ExchangeHead.requestRestart(first: first, last: last)
    case .open(let stream, let opening):
        let copy = ExchangeHead.open(stream: stream, opening)
        // The entries of the metadata may come in another order.
        require(copy.count == bytes.count, "what was decoded has the same length when it is encoded")
        require(copy.withUnsafeBytes { ExchangeMessage($0) } == message, "and is decoded to the same")
        return
    case .data(let stream, let body): again = ExchangeHead.data(stream: stream) + bytes.dropFirst(body)
    case .end(let stream): again = ExchangeHead.end(stream: stream)
    case .reset(let stream, let code, let message):
        again = ExchangeHead.reset(stream: stream, code: code, message: message)
    case .window(let stream, let consumed, let limit):
        again = ExchangeHead.window(stream: stream, consumed: consumed, limit: limit)
    case .stop(let stream, let code, let message):
        again = ExchangeHead.stop(stream: stream, code: code, message: message)
    case .finished(let stream): again = ExchangeHead.finished(stream: stream)
    case .restart(let first, let last): again = ExchangeHead.restart(first: first, last: last)
    }
    require(again.elementsEqual(bytes), "what was decoded can be encoded to the same bytes")
}
