/// A whole WebSocket message.
public enum SignalingMessage: Sendable, Hashable {
    /// Valid UTF-8; a connection refuses any other with `.protocolViolation` and close code 1007 (RFC 6455 §8.1).
    case text(Payload)
    /// Any bytes.
    case binary(Payload)

    /// The content of either kind.
    public var payload: Payload {
        switch self {
        case .text(let payload), .binary(let payload): payload
        }
    }
}

/// A WebSocket close code with its reason.
public struct SignalingClose: Sendable, Hashable {
    /// The code, 1000 to 4999 (RFC 6455 §7.4). 1005 stands for a close frame without a code.
    public var code: UInt16
    /// The reason, at most 123 bytes of UTF-8; truncated when it is longer.
    public var reason: String

    /// Creates a close with any code and reason.
    public init(code: UInt16, reason: String = "") {
        self.code = code
        self.reason = reason
    }

    /// 1000: the connection has fulfilled its purpose.
    public static let normal = SignalingClose(code: 1000)
    /// 1001: this side is shutting down.
    public static let goingAway = SignalingClose(code: 1001)
}

extension SignalingEndpoint {
    /// Throws `.messageTooLarge` when the message is longer than `maximumMessageSize`: `SignalingConnection.send(_:)`
    /// begins with it.
    public func check(_ message: SignalingMessage) throws(TransportError) {
        let size = message.payload.count
        guard size > maximumMessageSize else { return }
        throw TransportError(
            .messageTooLarge, "a message of \(size) bytes is over the maximum of \(maximumMessageSize)")
    }
}
