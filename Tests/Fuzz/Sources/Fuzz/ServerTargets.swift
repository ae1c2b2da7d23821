@testable import ServerDecoders

/// A client's frames after the handshake. The first byte is the size of the pieces in which they arrive, which must not
/// matter.
func webSocket(_ bytes: UnsafeRawBufferPointer) {
    guard let first = bytes.first else { return }
    let stream = UnsafeRawBufferPointer(rebasing: bytes.dropFirst())
    let limit = 1000
    let whole = parse(stream, pieces: max(stream.count, 1), limit)
    let pieces = parse(stream, pieces: Int(first) + 1, limit)
    require(whole.events == pieces.events, "the messages do not depend on how their bytes come")
    require(whole.violation == pieces.violation, "a violation does not depend on how the bytes come")
    for event in whole.events {
        switch event {
        case .text(let message):
            require(String(validating: message, as: UTF8.self) != nil, "a text is valid UTF-8")
            require(message.count <= limit, "no message is over the limit")
        case .binary(let message): require(message.count <= limit, "no message is over the limit")
        case .ping(let payload), .pong(let payload): require(payload.count <= 125, "a control frame is short")
        case .fragment: break
        case .close: require(event == whole.events.last, "nothing comes after a close frame")
        }
    }
}

private func parse(
    _ stream: UnsafeRawBufferPointer, pieces size: Int, _ limit: Int
) -> (events: [WebSocketParser.Event], violation: WebSocketParser.Violation?) {
    var parser = WebSocketParser(maximumMessageSize: limit)
    var events: [WebSocketParser.Event] = []
    var start = 0
    while start < stream.count {
        let end = min(start + size, stream.count)
        if let violation = parser.consume(UnsafeRawBufferPointer(rebasing: stream[start..<end]), into: &events) {
            return (events, violation)
        }
        start = end
    }
    return (events, nil)
}

/// The head of a client's HTTP request.
func httpHead(_ bytes: UnsafeRawBufferPointer) {
    guard let request = HTTPRequest(head: bytes) else { return }
    require(request.headers.count <= HTTPRequest.maximumHeaders, "the number of headers is limited")
    _ = request.tokens(of: "connection")
    _ = request.value(of: "sec-websocket-key")
}
