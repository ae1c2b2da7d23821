/// A failure of a transport: what happened, to what, and what to do about it.
///
/// A transport never retries. It says whether a retry could help, and the managers above decide. Messages and causes
/// must not contain secrets (tokens, TURN passwords, ICE passwords) or whole session descriptions.
public struct TransportError: Error, Sendable, CustomStringConvertible {
    /// The kind of a failure. New codes may be added: always have a `default`.
    public struct Code: Sendable, Hashable, CustomStringConvertible {
        private let kind: Kind
        public var description: String { kind.rawValue }

        private enum Kind: String, Sendable {
            case cancelled, closed, timedOut, unreachable, refused, nameNotResolved, tlsFailed, handshakeFailed
            case protocolViolation, messageTooLarge, notSupported, invalidArgument, invalidState, unavailable
            case resourceExhausted, wouldBlock, fingerprintMismatch, io
        }

        /// The surrounding task was cancelled.
        public static let cancelled = Code(kind: .cancelled)
        /// The connection or channel is closed, by either side.
        public static let closed = Code(kind: .closed)
        /// A deadline passed.
        public static let timedOut = Code(kind: .timedOut)
        /// No route, no path, or the network is down.
        public static let unreachable = Code(kind: .unreachable)
        /// The other side answered and refused (TCP RST, HTTP status).
        public static let refused = Code(kind: .refused)
        /// Name resolution failed.
        public static let nameNotResolved = Code(kind: .nameNotResolved)
        /// TLS failed: verification, protocol, or handshake.
        public static let tlsFailed = Code(kind: .tlsFailed)
        /// The WebSocket or DTLS handshake failed.
        public static let handshakeFailed = Code(kind: .handshakeFailed)
        /// The other side broke the protocol.
        public static let protocolViolation = Code(kind: .protocolViolation)
        /// A message is over the limit of this side or of the other side.
        public static let messageTooLarge = Code(kind: .messageTooLarge)
        /// This backend does not support the request.
        public static let notSupported = Code(kind: .notSupported)
        /// The caller passed an invalid value.
        public static let invalidArgument = Code(kind: .invalidArgument)
        /// The call is not allowed in the object's current state.
        public static let invalidState = Code(kind: .invalidState)
        /// The backend cannot run on this machine; the message names the missing package.
        public static let unavailable = Code(kind: .unavailable)
        /// A limit was reached: descriptors, memory, queue.
        public static let resourceExhausted = Code(kind: .resourceExhausted)
        /// The buffer is at its high-water mark, and nothing was accepted. Try again after the `writable` event.
        public static let wouldBlock = Code(kind: .wouldBlock)
        /// The certificate of the other side is not the one that its description announced.
        public static let fingerprintMismatch = Code(kind: .fingerprintMismatch)
        /// Any other failure of the operating system.
        public static let io = Code(kind: .io)
    }

    /// The kind of the failure, for programs.
    public var code: Code
    /// One sentence: what happened, to what, and what to do.
    public var message: String
    /// The underlying error, for logs.
    public var cause: (any Error)?
    /// Whether the same call may succeed later without any change by the caller.
    public var isRetryable: Bool
    /// The status of an HTTP answer, or a WebSocket close code, if there was one (RFC 6455 §7.4).
    public var status: Int?
    /// The time that the other side asked to wait (HTTP `Retry-After`), if it did.
    public var retryAfter: Duration?

    /// Creates an error. By default it is not worth a retry, and has no cause, status or `retryAfter`.
    public init(
        _ code: Code, _ message: String, isRetryable: Bool = false, status: Int? = nil, retryAfter: Duration? = nil,
        cause: (any Error)? = nil
    ) {
        self.code = code
        self.message = message
        self.isRetryable = isRetryable
        self.status = status
        self.retryAfter = retryAfter
        self.cause = cause
    }

    public var description: String { "\(code): \(message)" }
}
