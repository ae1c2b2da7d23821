internal import RoomProtocol
internal import TransportPluginAPI

extension RoomChannel {
    var index: Int {
        switch self {
        case .reliable: 0
        case .unordered: 1
        case .lossy: 2
        }
    }

    func parameters(isDelivery: Bool) -> ChannelParameters {
        switch self {
        case .reliable where isDelivery:
            ChannelParameters(label: DeliveryProtocol.channelLabel, protocol: DeliveryProtocol.channelProtocol)
        case .reliable: ChannelParameters(label: DeliveryProtocol.plainLabel)
        case .unordered: ChannelParameters(label: DeliveryProtocol.unorderedLabel, isOrdered: false)
        case .lossy:
            ChannelParameters(
                label: DeliveryProtocol.lossyLabel, isOrdered: false, reliability: .retransmissions(0))
        }
    }

    /// Which channel of the room a data channel is, nil for one that is none.
    init?(_ parameters: ChannelParameters, isDelivery: Bool) {
        switch (parameters.label, isDelivery) {
        case (DeliveryProtocol.channelLabel, true)
        where parameters.protocol == DeliveryProtocol.channelProtocol && parameters.isOrdered
            && parameters.reliability == .reliable:
            self = .reliable
        case (DeliveryProtocol.plainLabel, false): self = .reliable
        case (DeliveryProtocol.unorderedLabel, _): self = .unordered
        case (DeliveryProtocol.lossyLabel, _): self = .lossy
        default: return nil
        }
    }
}
