internal import RoomProtocol
package import TransportValues

/// The channels of a room, each carried by a data channel of the peer connection.
package enum DeliveryChannel: Int, Sendable, CaseIterable {
    case reliable
    case unordered
    case lossy
}

extension DeliveryChannel {
    /// The parameters of the data channel that carries this one. `isDelivery`: both sides speak the delivery protocol.
    package func parameters(isDelivery: Bool) -> ChannelParameters {
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

    /// Creates the room's channel that a data channel carries, or nil when it carries none.
    package init?(_ parameters: ChannelParameters, isDelivery: Bool) {
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
