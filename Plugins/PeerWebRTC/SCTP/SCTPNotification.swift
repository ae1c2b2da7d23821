internal import CUsrsctp

/// A notification of usrsctp about an association (RFC 6458 §6.1), as far as it matters here.
enum SCTPNotification: Equatable {
    /// The handshake is done.
    case up
    /// The other side has ended the association in order, or its user has aborted it.
    case closedByPeer
    /// The association has ended for another reason: an error cause of RFC 9260 §3.3.10, or 0.
    case lost(cause: UInt16)
    /// The same peer has restarted the association.
    case restarted
    /// The other side ended its direction of these streams.
    case incomingReset([UInt16])
    /// This side's directions of these streams are ended, as the other side confirmed.
    case outgoingReset([UInt16])
    /// The other side refused to end them.
    case resetFailed([UInt16])
    /// The message that was being read in pieces will not be completed.
    case partialDeliveryAborted
    case other

    init(_ bytes: UnsafeRawBufferPointer) {
        self = .other
        guard bytes.count >= 8 else { return }
        let type = Int32(bytes.loadUnaligned(as: UInt16.self))
        let flags = Int32(bytes.loadUnaligned(fromByteOffset: 2, as: UInt16.self))
        switch type {
        case SCTP_ASSOC_CHANGE:
            guard bytes.count >= MemoryLayout<sctp_assoc_change>.size else { return }
            self = Self.change(bytes.loadUnaligned(as: sctp_assoc_change.self))
        case SCTP_STREAM_RESET_EVENT:
            let header = MemoryLayout<sctp_stream_reset_event>.size
            guard bytes.count >= header else { return }
            let streams = stride(from: header, to: bytes.count - 1, by: 2).map {
                bytes.loadUnaligned(fromByteOffset: $0, as: UInt16.self)
            }
            if flags & (SCTP_STREAM_RESET_DENIED | SCTP_STREAM_RESET_FAILED) != 0 {
                self = .resetFailed(streams)
            } else if flags & SCTP_STREAM_RESET_INCOMING_SSN != 0 {
                self = .incomingReset(streams)
            } else {
                self = .outgoingReset(streams)
            }
        case SCTP_PARTIAL_DELIVERY_EVENT: self = .partialDeliveryAborted
        default: break
        }
    }

    private static func change(_ change: sctp_assoc_change) -> SCTPNotification {
        let userAbort: UInt16 = 12  // RFC 9260 §3.3.10.12
        switch Int32(change.sac_state) {
        case SCTP_COMM_UP: return .up
        case SCTP_RESTART: return .restarted
        case SCTP_SHUTDOWN_COMP: return .closedByPeer
        case SCTP_COMM_LOST, SCTP_CANT_STR_ASSOC:
            return [0, userAbort].contains(change.sac_error) ? .closedByPeer : .lost(cause: change.sac_error)
        default: return .other
        }
    }
}
