internal import CNice
internal import TransportPluginAPI

/// The parts of one of libnice's candidates that decisions need.
struct NiceCandidateValue: Equatable {
    var kind: PeerPath.Kind
    var isUDP: Bool
    var priority: UInt32
    var host: String
    var port: Int
    /// The address that it was made from; empty for a candidate of the other side.
    var baseHost: String

    /// Address and port, to compare candidates by.
    var name: String { "\(host) \(port)" }

    /// Address and port as users read them.
    var text: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}

extension NiceCandidateValue {
    init(_ candidate: UnsafeMutablePointer<NiceCandidate>) {
        kind =
            switch candidate.pointee.type {
            case NICE_CANDIDATE_TYPE_HOST: .host
            case NICE_CANDIDATE_TYPE_SERVER_REFLEXIVE: .srflx
            case NICE_CANDIDATE_TYPE_PEER_REFLEXIVE: .prflx
            case NICE_CANDIDATE_TYPE_RELAYED: .relay
            default: .none
            }
        isUDP = candidate.pointee.transport == NICE_CANDIDATE_TRANSPORT_UDP
        priority = candidate.pointee.priority
        host = Self.host(&candidate.pointee.addr)
        port = Int(nice_address_get_port(&candidate.pointee.addr))
        baseHost = Self.host(&candidate.pointee.base_addr)
    }

    private static func host(_ address: UnsafeMutablePointer<NiceAddress>) -> String {
        withUnsafeTemporaryAllocation(of: gchar.self, capacity: 64) { buffer in
            // A candidate of the other side has no base.
            guard let start = buffer.baseAddress, nice_address_is_valid(address) != 0 else { return "" }
            nice_address_to_string(address, start)
            return String(cString: start)
        }
    }
}
