import TransportPluginAPI
import WebSocketWire

/// The frames of a client after the handshake.
func webSocket(_ bytes: UnsafeRawBufferPointer) { webSocket(bytes, from: .client) }

/// The frames of a server after the handshake.
func webSocketClient(_ bytes: UnsafeRawBufferPointer) { webSocket(bytes, from: .server) }

/// The first byte is the size of the pieces in which the others come, which must not matter.
private func webSocket(_ bytes: UnsafeRawBufferPointer, from sender: FrameParser.Sender) {
    guard let first = bytes.first else { return }
    let stream = UnsafeRawBufferPointer(rebasing: bytes.dropFirst())
    let whole = parse(stream, from: sender, pieces: max(stream.count, 1))
    let pieces = parse(stream, from: sender, pieces: Int(first) + 1)
    require(whole.events == pieces.events, "the messages do not depend on how their bytes come")
    require(whole.violation == pieces.violation, "a violation does not depend on how the bytes come")
    for event in whole.events {
        switch event {
        case .message(let message, let isText):
            require(!isText || String(validating: message, as: UTF8.self) != nil, "a text is valid UTF-8")
            require(message.count <= messageLimit, "no message is over the limit")
        case .fragment: break
        case .control(let payload, _): require(payload.count <= 125, "a control frame is short")
        case .close(let reason):
            require(event == whole.events.last, "nothing comes after a close frame")
            require(reason.reason.utf8.count <= 123, "a control frame is short")
        }
    }
}

private let messageLimit = 1000

/// An event with a copy of its message.
private enum Event: Equatable {
    case message([UInt8], isText: Bool)
    case fragment
    case control([UInt8], isPing: Bool)
    case close(CloseReason)

    init(_ event: FrameParser.Event) {
        switch event {
        case .message(let message): self = .message(message.array(), isText: message.isText)
        case .close(let reason): self = .close(reason)
        case .fragment: self = .fragment
        case .ping(let payload): self = .control(payload, isPing: true)
        case .pong(let payload): self = .control(payload, isPing: false)
        }
    }
}

private func parse(
    _ stream: UnsafeRawBufferPointer, from sender: FrameParser.Sender, pieces size: Int
) -> (events: [Event], violation: FrameViolation?) {
    var parser = FrameParser(framesFrom: sender, maximumMessageSize: messageLimit, maximumEmptyFragments: 8)
    var events: [Event] = []
    var start = 0
    while start < stream.count {
        let end = min(start + size, stream.count)
        var input = UnsafeRawBufferPointer(rebasing: stream[start..<end])
        do { while let event = try parser.next(&input) { events.append(Event(event)) } } catch {
            return (events, error)
        }
        require(input.isEmpty, "all is taken")
        require(parser.heldBytes <= 2 * messageLimit + 512, "no more is held than may come")
        start = end
    }
    return (events, nil)
}

/// The head of a client's request, without its end; and as it comes from a socket.
func httpHead(_ bytes: UnsafeRawBufferPointer) {
    let head = RequestHead(bytes)
    var buffer = HTTPHeadBuffer<RequestHead>()
    let whole = Array(bytes) + Array("\r\n\r\n".utf8)
    let buffered = whole.withUnsafeBytes { bytes in
        var input = bytes
        return try? buffer.take(&input)
    }
    guard let head else { return }
    if !contains(bytes, "\r\n\r\n"), !bytes.suffix(2).elementsEqual("\r\n".utf8), whole.count <= 16_384 {
        require(buffered == head, "a head is the same at once and with its end")
    }
    require(head.fields.count <= HTTPFields.maximumCount, "the number of fields is limited")
    guard let handshake = try? ServerHandshake(head) else { return }
    require(handshake.fields(subprotocol: handshake.subprotocols.first).count >= 3, "a right request is answered")
}

private func contains(_ bytes: UnsafeRawBufferPointer, _ text: String) -> Bool {
    bytes.indices.contains { bytes[$0...].starts(with: text.utf8) }
}

/// The head of a server's response, and whether it is the one to our handshake.
func responseHead(_ bytes: UnsafeRawBufferPointer) {
    var input = bytes
    var buffer = HTTPHeadBuffer<ResponseHead>()
    guard let head = try? buffer.take(&input), var endpoint = try? SignalingEndpoint(url: "ws://h/") else { return }
    require(bytes.count - input.count <= HTTPHeadBuffer<ResponseHead>.usualLimit, "the size of a head is limited")
    require((100...999).contains(head.status), "a status has three digits")
    let isOpen = ClientHandshake(endpoint).error(in: head, from: endpoint) == nil
    require(!isOpen || head.status == 101, "only 101 opens a connection")
    endpoint.subprotocols = ["a"]
    _ = ClientHandshake(endpoint).error(in: head, from: endpoint)
    _ = HTTPRefusal(head).error(fromProxyFor: endpoint)
}
