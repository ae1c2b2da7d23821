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

    init(_ channel: DeliveryChannel) {
        switch channel {
        case .reliable: self = .reliable
        case .unordered: self = .unordered
        case .lossy: self = .lossy
        }
    }
}
