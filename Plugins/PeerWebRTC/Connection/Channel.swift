internal import TransportPluginAPI

/// One data channel.
struct Channel {
    enum State: Equatable {
        /// The slot is not in use. Can transition to: waiting, open.
        case free
        /// Opened by this side, before the association has begun. Can transition to: opening, open, free.
        case waiting
        /// Its open message waits for room in the send buffer. Can transition to: open, free.
        case opening
        /// Can transition to: closing, free.
        case open
        /// The stream is being reset in both directions (RFC 8831 §6.7). Can transition to: free.
        case closing(Closing)
    }

    struct Closing: Equatable {
        /// This side's direction of the stream.
        enum Outgoing: Equatable {
            /// The stream will be reset when SCTP has accepted all messages of the channel.
            case unsent
            /// The reset was requested.
            case requested
            case ended
        }

        var outgoing = Outgoing.unsent
        /// The other side has reset its direction.
        var isIncomingEnded = false

        var isOver: Bool { outgoing == .ended && isIncomingEnded }
    }

    var id = ChannelID(rawValue: -1)
    var parameters = ChannelParameters(label: "")
    var state = State.free
    /// Nil until the DTLS role says which ids belong to this side (RFC 8832 §6).
    var stream: UInt16?
    var delivery = SCTPDelivery()
    /// Until the other side has acknowledged the open message, messages are sent in order, so that none overtakes it
    /// (RFC 8832 §6).
    var mayOvertake = false
    /// Bytes in the association's send buffer.
    var buffered = 0
    /// Whether a message was refused, so that the application waits for `channelWritable`.
    var isBlocked = false
    /// The application waits for `channelWritable` until nothing is buffered.
    var isFlushing = false
    var isReceiving = true
    /// The messages that arrived while the channel was not being read.
    var unread: [UnreadMessage] = []

    var isNegotiated: Bool { parameters.negotiatedID != nil }

    @inline(__always)
    var isOpen: Bool { if case .open = state { true } else { false } }

    /// Whether messages on its stream belong to it.
    @inline(__always)
    var canReceive: Bool {
        switch state {
        case .free, .waiting, .opening: false
        case .open, .closing: true
        }
    }

    /// The memory of its unread messages in bytes.
    var unreadSize: Int { unread.reduce(0) { $0 + $1.size } }
}

/// A message that waits for its reader.
struct UnreadMessage {
    var payload: Payload
    var isText: Bool

    /// The memory that it takes, in bytes.
    var size: Int { payload.count + 64 }
}
