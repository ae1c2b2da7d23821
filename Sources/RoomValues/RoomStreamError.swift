/// Why a stream has failed.
public struct RoomStreamError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The kind of the failure: what programs look at.
    public var code: Code
    /// The code that the side that gave the stream up has sent, such as `cancelled`; empty when there is none.
    public var reason: String
    /// One sentence: what happened.
    public var message: String

    /// The kind of a failure. New codes may be added: always have a `default`.
    public struct Code: Sendable, Hashable, CustomStringConvertible {
        private let kind: Kind
        public var description: String { kind.rawValue }

        private enum Kind: String {
            case cancelledByPeer = "cancelled_by_peer", cancelled, peerGone = "peer_gone", busy, incomplete
            case lengthExceeded = "length_exceeded", taskCancelled = "task_cancelled"
        }

        /// The other side has given the stream up; `reason` and the message say why.
        public static let cancelledByPeer = Code(kind: .cancelledByPeer)
        /// This side has given the stream up.
        public static let cancelled = Code(kind: .cancelled)
        /// The session of the other side, or of this one, has ended.
        public static let peerGone = Code(kind: .peerGone)
        /// The other side has as many streams as it takes.
        public static let busy = Code(kind: .busy)
        /// Fewer bytes were written than were announced.
        public static let incomplete = Code(kind: .incomplete)
        /// More bytes were written than were announced.
        public static let lengthExceeded = Code(kind: .lengthExceeded)
        /// The surrounding task was cancelled. The stream goes on.
        public static let taskCancelled = Code(kind: .taskCancelled)
    }

    /// Creates an error.
    public init(_ code: Code, reason: String = "", _ message: String) {
        self.code = code
        self.reason = reason
        self.message = message
    }

    public var description: String { "\(reason.isEmpty ? code.description : reason): \(message)" }
}
