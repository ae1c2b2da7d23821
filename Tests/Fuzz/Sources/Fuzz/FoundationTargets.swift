import TransportPluginAPI

@testable import SignalingFoundation

/// A server's frames after the handshake. The first byte is the size of the pieces in which they arrive, which must not
/// matter.
func webSocketClient(_ bytes: UnsafeRawBufferPointer) {
    guard let first = bytes.first else { return }
    let stream = UnsafeRawBufferPointer(rebasing: bytes.dropFirst())
    let limit = 1000
    let whole = parse(stream, pieces: max(stream.count, 1), limit)
    let pieces = parse(stream, pieces: Int(first) + 1, limit)
    require(whole.events == pieces.events, "the messages do not depend on how their bytes come")
    require(whole.violation == pieces.violation, "a violation does not depend on how the bytes come")
    for event in whole.events {
        switch event {
        case .message(.text(let payload)):
            require(payload.utf8Text != nil, "a text is valid UTF-8")
            require(payload.count <= limit, "no message is over the limit")
        case .message(.binary(let payload)): require(payload.count <= limit, "no message is over the limit")
        case .ping(let payload): require(payload.count <= 125, "a control frame is short")
        case .pong: break
        case .close(let reason):
            require(event == whole.events.last, "nothing comes after a close frame")
            require(reason.reason.utf8.count <= 123, "a control frame is short")
        }
    }
}

private func parse(
    _ stream: UnsafeRawBufferPointer, pieces size: Int, _ limit: Int
) -> (events: [FrameParser.Event], violation: FrameViolation?) {
    var parser = FrameParser(maximumMessageSize: limit)
    var events: [FrameParser.Event] = []
    var start = 0
    while start < stream.count {
        let end = min(start + size, stream.count)
        var input = UnsafeRawBufferPointer(rebasing: stream[start..<end])
        while !input.isEmpty {
            do { if let event = try parser.next(&input) { events.append(event) } } catch { return (events, error) }
        }
        start = end
    }
    return (events, nil)
}

/// The head of a server's answer, and whether it is one to our handshake.
func responseHead(_ bytes: UnsafeRawBufferPointer) {
    var input = bytes
    var buffer = HTTPAnswer.Buffer()
    guard case .complete(let head) = buffer.take(&input), var endpoint = try? SignalingEndpoint(url: "ws://h/") else {
        return
    }
    require(bytes.count - input.count <= HTTPAnswer.maximumSize, "the size of a head is limited")
    require((100...999).contains(head.status), "a status has three digits")
    let isOpen = Handshake(endpoint, nonce: []).error(in: head) == nil
    require(!isOpen || head.status == 101, "only 101 opens a connection")
    endpoint.subprotocols = ["a"]
    _ = Handshake(endpoint, nonce: []).error(in: head)
    _ = HTTPRefusal(head).error(fromProxyFor: endpoint)
}
