public import TransportValues
public import WebSocketWire

// For backends that perform the opening handshake themselves.

extension ClientHandshake {
    /// Creates the handshake with an endpoint that has been validated, with a fresh key.
    public init(_ endpoint: SignalingEndpoint) {
        var generator = SystemRandomNumberGenerator()
        let nonce = (0..<16).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
        self.init(
            host: endpoint.hostHeader, target: endpoint.path, subprotocols: endpoint.subprotocols,
            headers: endpoint.headers, nonce: nonce)
    }

    /// Returns the error that `SignalingTransport.connect(to:)` throws for the response: `.refused` for another status
    /// than 101, else `.handshakeFailed`. Nil when the connection is open.
    public func error(in response: ResponseHead, from endpoint: SignalingEndpoint) -> TransportError? {
        guard response.status == 101 else { return HTTPRefusal(response).error(connectingTo: endpoint) }
        return objection(to: response).map { Self.error("\($0)", from: endpoint) }
    }

    /// Returns the error that `SignalingTransport.connect(to:)` throws for bytes that are not a response.
    public static func error(_ failure: HTTPHeadFailure, from endpoint: SignalingEndpoint) -> TransportError {
        error("\(failure)", from: endpoint)
    }

    private static func error(_ reason: String, from endpoint: SignalingEndpoint) -> TransportError {
        TransportError(.handshakeFailed, "\(endpoint.url) did not answer as a WebSocket server: \(reason)")
    }
}
