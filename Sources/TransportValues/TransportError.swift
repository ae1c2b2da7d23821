/// What a transport reports when something failed: what happened, to what, and what to do about it.
///
/// A transport never retries; it says whether a retry could help, and the managers above decide.
/// Messages and causes must not carry secrets (tokens, TURN passwords, ICE passwords) nor whole session descriptions.
public struct TransportError: Error, Sendable, CustomStringConvertible {
    /// The kind of a failure. New codes may be added: always have a `default`.
    public struct Code: Sendable, Hashable, CustomStringConvertible {
        private enum Kind: String, Sendable {
            case cancelled, closed, timedOut, unreachable, refused, nameNotResolved, tlsFailed, handshakeFailed
            case protocolViolation, messageTooLarge, notSupported, invalidArgument, invalidState, unavailable
            case resourceExhausted, wouldBlock, fingerprintMismatch, io
        }
        private let kind: Kind
        public var description: String { kind.rawValue }

        /// The surrounding task was cancelled.
        public static let cancelled = Code(kind: .cancelled)
        /// The connection or channel is closed, by either side.
        public static let closed = Code(kind: .closed)
        /// A deadline passed.
        public static let timedOut = Code(kind: .timedOut)
        /// No route, no path, or the network is down.
        public static let unreachable = Code(kind: .unreachable)
        /// The other side answered and said no (TCP RST, HTTP status).
        public static let refused = Code(kind: .refused)
        /// Name resolution failed.
        public static let nameNotResolved = Code(kind: .nameNotResolved)
        /// TLS failed: verification, protocol, or handshake.
        public static let tlsFailed = Code(kind: .tlsFailed)
        /// The WebSocket or DTLS handshake failed.
        public static let handshakeFailed = Code(kind: .handshakeFailed)
        /// The other side broke the protocol.
        public static let protocolViolation = Code(kind: .protocolViolation)
        /// A message is over the limit of this side or of the other.
        public static let messageTooLarge = Code(kind: .messageTooLarge)
        /// This backend cannot do what was asked.
        public static let notSupported = Code(kind: .notSupported)
        /// The caller passed something unusable.
        public static let invalidArgument = Code(kind: .invalidArgument)
        /// The call does not fit the object's state.
        public static let invalidState = Code(kind: .invalidState)
        /// The backend cannot run on this machine; the message names the missing package.
        public static let unavailable = Code(kind: .unavailable)
        /// A limit was reached: descriptors, memory, queue.
        public static let resourceExhausted = Code(kind: .resourceExhausted)
        /// Nothing was taken: the buffer is at its high-water mark. Try again after the `writable` event.
        public static let wouldBlock = Code(kind: .wouldBlock)
        /// The certificate of the other side is not the one its description announced.
        public static let fingerprintMismatch = Code(kind: .fingerprintMismatch)
        /// Any other failure of the operating system.
        public static let io = Code(kind: .io)
    }

    /// The kind of the failure: what programs look at.
    public var code: Code
    /// One sentence: what happened, to what, and what to do.
    public var message: String
    /// What lies behind it, for logs.
    public var cause: (any Error)?
    /// Whether the same call may succeed later without any change by the caller.
    public var isRetriable: Bool
    /// The status of an HTTP answer or a WebSocket close code, where one came (RFC 6455 §7.4).
    public var status: Int?
    /// How long the other side asked to wait (HTTP `Retry-After`), where it did.
    public var retryAfter: Duration?

    /// An error that is not worth a retry, but for what is given.
    public init(
        _ code: Code, _ message: String, isRetriable: Bool = false, status: Int? = nil, retryAfter: Duration? = nil,
        cause: (any Error)? = nil
    ) {
        self.code = code
        self.message = message
        self.isRetriable = isRetriable
        self.status = status
        self.retryAfter = retryAfter
        self.cause = cause
    }

    public var description: String { "\(code): \(message)" }
}
