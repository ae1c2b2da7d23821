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

    /// Creates the room's channel that a data channel is, or nil when it is none.
    init?(_ parameters: ChannelParameters, isDelivery: Bool) {
        // The peer chooses the label: up to 64 KiB, which are compared as bytes.
        let label = ByteText(parameters.label)
        if label == ByteText(DeliveryProtocol.unorderedLabel) {
            self = .unordered
        } else if label == ByteText(DeliveryProtocol.lossyLabel) {
            self = .lossy
        } else if isDelivery, label == ByteText(DeliveryProtocol.channelLabel),
            ByteText(parameters.protocol) == ByteText(DeliveryProtocol.channelProtocol), parameters.isOrdered,
            parameters.reliability == .reliable
        {
            self = .reliable
        } else if !isDelivery, label == ByteText(DeliveryProtocol.plainLabel) {
            self = .reliable
        } else {
            return nil
        }
    }
}
