internal import CUsrsctp
internal import TransportPluginAPI

/// How SCTP sends a message: on which stream, in which order, and how long it is repeated (RFC 8831 §6.1, RFC 7496).
struct SCTPDelivery {
    /// In usrsctp's form, so that no message has to be converted.
    var native = CUsrsctp_delivery()

    init(_ reliability: ChannelParameters.Reliability = .reliable, stream: UInt16 = 0) {
        native.stream = stream
        switch reliability {
        case .reliable: native.policy = UInt16(SCTP_PR_SCTP_NONE)
        case .retransmissions(let count):
            native.policy = UInt16(SCTP_PR_SCTP_RTX)
            native.limit = UInt32(count)
        case .lifetime(let milliseconds):
            native.policy = UInt16(SCTP_PR_SCTP_TTL)
            native.limit = UInt32(milliseconds)
        }
    }

    var stream: UInt16 {
        get { native.stream }
        set { native.stream = newValue }
    }

    var isUnordered: Bool {
        get { native.unordered != 0 }
        set { native.unordered = newValue ? 1 : 0 }
    }
}
