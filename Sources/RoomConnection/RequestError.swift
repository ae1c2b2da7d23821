public import RoomProtocol

/// A failure that a request handler reports to the caller on purpose. Anything else that a handler throws reaches the
/// caller as `RequestError.Code.handlerFailed`, without its description.
public struct RequestFailure: Error, Sendable, Hashable {
    /// The application's own code, 1…64 bytes. The caller gets it in `RequestError.failure`.
    public var code: String
    /// One sentence for people, at most 1024 bytes; longer ones are shortened.
    public var message: String

    /// Creates a failure.
    public init(_ code: String, _ message: String = "") {
        self.code = code
        self.message = message
    }

    /// Creates the failure of a handler that has thrown something else.
    init(hiding error: any Error) {
        switch error {
        case is CancellationError: self.init("cancelled", "the handler was cancelled")
        case is UndecodableRequest: self.init("undecodable", "the request is no value of the type that is handled")
        default: self.init("handler_failed", "the handler failed")
        }
    }
}

/// The bytes of a request are no value of the handler's type.
struct UndecodableRequest: Error {}

/// The reason why a request has no answer.
public struct RequestError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The kind of the failure: what programs look at.
    public var code: Code
    /// The method that was asked for.
    public var method: String
    /// The participant that was asked.
    public var participant: ParticipantID
    /// The handler's own code and message; only for `.refused`.
    public var failure: RequestFailure?
    /// One sentence: what happened.
    public var message: String

    /// The kind of a failure. New codes may be added: always have a `default`.
    public struct Code: Sendable, Hashable, CustomStringConvertible {
        private let kind: Kind
        public var description: String { kind.rawValue }

        private enum Kind: String {
            case refused, busy, cancelled, undecodable, unencodable, left
            case unknownMethod = "unknown_method", handlerFailed = "handler_failed", tooLarge = "too_large"
            case timedOut = "timed_out", peerGone = "peer_gone", notSupported = "not_supported"
        }

        /// The handler has thrown a `RequestFailure`, which is in `RequestError.failure`.
        public static let refused = Code(kind: .refused)
        /// The participant has no handler for the method.
        public static let unknownMethod = Code(kind: .unknownMethod)
        /// The handler has thrown another error, which its program keeps to itself.
        public static let handlerFailed = Code(kind: .handlerFailed)
        /// The participant handles as many requests of this one as it can: try again later.
        public static let busy = Code(kind: .busy)
        /// The time is over. The handler is cancelled; it may have done its work all the same.
        public static let timedOut = Code(kind: .timedOut)
        /// The participant is not in the room, or has left it, or its session or ours was replaced by another one. The
        /// handler may have done its work.
        public static let peerGone = Code(kind: .peerGone)
        /// The calling task was cancelled, and the handler with it; or the handler has given up.
        public static let cancelled = Code(kind: .cancelled)
        /// The request or its answer is longer than the other side accepts.
        public static let tooLarge = Code(kind: .tooLarge)
        /// One side could not decode what the other has sent: the types differ.
        public static let undecodable = Code(kind: .undecodable)
        /// The codec could not encode the request.
        public static let unencodable = Code(kind: .unencodable)
        /// The program of the participant knows no requests.
        public static let notSupported = Code(kind: .notSupported)
        /// The room was left, or could not be joined.
        public static let left = Code(kind: .left)
    }

    /// Creates an error.
    public init(
        _ code: Code, method: String, of participant: ParticipantID, _ message: String, failure: RequestFailure? = nil
    ) {
        self.code = code
        self.method = method
        self.participant = participant
        self.message = message
        self.failure = failure
    }

    public var description: String {
        "\(failure?.code ?? code.description): '\(method)' of \(participant): \(message)"
    }
}

extension RequestError.Code {
    /// Creates the code that the other side has sent, or nil when it is the application's.
    init?(wire code: String) {
        switch code {
        case "unknown_method": self = .unknownMethod
        case "handler_failed": self = .handlerFailed
        case "busy": self = .busy
        case "cancelled": self = .cancelled
        case "too_large": self = .tooLarge
        case "undecodable": self = .undecodable
        default: return nil
        }
    }
}
