package import RoomProtocol
internal import RoomValues
package import TransportValues

/// The protocols that both sides of a pair speak. Each includes the ones before it.
package enum DeliveryLevel: Sendable, CaseIterable {
    /// Plain data channels.
    case plain
    /// `delivery.v1`: the reliable channel is numbered.
    case delivery
    /// `exchange.v1`: there are topics, requests and streams, too.
    case exchange

    /// The level of the pair with another participant.
    package init(of participant: Participant) {
        self = participant.hasExchange ? .exchange : participant.hasDelivery ? .delivery : .plain
    }

    /// The channels between the two.
    package var channels: [DeliveryChannel] {
        self == .exchange ? DeliveryChannel.allCases : [.reliable, .unordered, .lossy]
    }

    /// Whether the frames of a channel have numbers and are kept until they are acknowledged.
    package func isNumbered(_ channel: DeliveryChannel) -> Bool {
        switch channel {
        case .reliable: self != .plain
        case .bulk: true
        case .unordered, .lossy, .topics: false
        }
    }
}

/// The channels of a room, each carried by a data channel of the peer connection.
// `@usableFromInline`: otherwise other modules compare two of them through the witness table.
@usableFromInline
package enum DeliveryChannel: Int, Sendable, CaseIterable {
    case reliable
    case unordered
    case lossy
    /// The bytes of streams.
    case bulk
    /// The messages of lossy topics.
    case topics

    /// Nothing is kept while there is no connection.
    package var isLossy: Bool { self == .lossy || self == .topics }
}

extension DeliveryChannel {
    /// The parameters of the data channel that carries this one between two sides that speak `level`.
    package func parameters(_ level: DeliveryLevel) -> ChannelParameters {
        switch self {
        case .reliable where level == .plain: ChannelParameters(label: DeliveryProtocol.plainLabel)
        case .reliable:
            ChannelParameters(label: DeliveryProtocol.channelLabel, protocol: DeliveryProtocol.channelProtocol)
        case .unordered: ChannelParameters(label: DeliveryProtocol.unorderedLabel, isOrdered: false)
        case .lossy:
            ChannelParameters(
                label: DeliveryProtocol.lossyLabel, isOrdered: false, reliability: .retransmissions(0))
        case .bulk: ChannelParameters(label: DeliveryProtocol.bulkLabel, protocol: DeliveryProtocol.channelProtocol)
        case .topics:
            ChannelParameters(
                label: DeliveryProtocol.topicsLabel, isOrdered: false, reliability: .retransmissions(0))
        }
    }

    /// Creates the room's channel that a data channel carries, or nil when it carries none.
    package init?(_ parameters: ChannelParameters, _ level: DeliveryLevel) {
        // The peer chooses the label: up to 64 KiB, which are compared as bytes.
        let label = ByteText(parameters.label)
        var isNumbered: Bool {
            ByteText(parameters.protocol) == ByteText(DeliveryProtocol.channelProtocol) && parameters.isOrdered
                && parameters.reliability == .reliable
        }
        if label == ByteText(DeliveryProtocol.unorderedLabel) {
            self = .unordered
        } else if label == ByteText(DeliveryProtocol.lossyLabel) {
            self = .lossy
        } else if level != .plain, label == ByteText(DeliveryProtocol.channelLabel), isNumbered {
            self = .reliable
        } else if level == .plain, label == ByteText(DeliveryProtocol.plainLabel) {
            self = .reliable
        } else if level == .exchange, label == ByteText(DeliveryProtocol.bulkLabel), isNumbered {
            self = .bulk
        } else if level == .exchange, label == ByteText(DeliveryProtocol.topicsLabel) {
            self = .topics
        } else {
            return nil
        }
    }
}
