internal import RoomCore

extension RoomChannel {
    /// The same channel, as delivery names it.
    var delivery: DeliveryChannel {
        switch self {
        case .reliable: .reliable
        case .unordered: .unordered
        case .lossy: .lossy
        }
    }

    var index: Int { delivery.rawValue }

    /// Nil: the channel carries nothing that the application has sent as it is.
    init?(_ channel: DeliveryChannel) {
        switch channel {
        case .reliable: self = .reliable
        case .unordered: self = .unordered
        case .lossy: self = .lossy
        case .bulk, .topics: return nil
        }
    }
}
