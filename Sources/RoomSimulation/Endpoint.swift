internal import RoomCore
internal import RoomProtocol
internal import TransportValues

/// One end of a peer connection.
final class Endpoint {
    let pair: PeerPair
    let node: Node
    let life: Int
    let remote: ParticipantID
    let isOfferer: Bool
    let stream: PeerStream?
    /// The data channels that are open here.
    var channels: [DataChannel] = []
    /// Those that wait for the association.
    var waiting: [(ChannelID, ChannelParameters)] = []
    /// Of the ids that this end has given.
    var lastChannel = -2
    /// When the credentials of the relays that it uses now expire.
    var relayExpiry = Timestamp.distantFuture
    var hasRelay: Bool { relayExpiry != .distantFuture }
    var state = PeerConnectionState.new
    var isSuspect = false
    /// Of the path that its machine was told of.
    var pathAddress: String?
    /// It receives nothing, and will notice after the usual time, whatever else happens meanwhile.
    var isInSilence = false
    var isClosed = false
    var deadSince: Timestamp?
    var plainPipe: PlainPipe { pair.plainPipe(fromOfferer: isOfferer) }
    /// Counts judgements of the path; an older one is void.
    var assessment = 0

    struct DataChannel {
        var id: ChannelID
        var parameters: ChannelParameters
        /// The room's channel with the same promises.
        var channel: DeliveryChannel
        /// The shell knows that it is open.
        var isReported = false

        init(_ id: ChannelID, _ parameters: ChannelParameters) {
            self.id = id
            self.parameters = parameters
            let isTopics = parameters.label == DeliveryProtocol.topicsLabel
            channel =
                parameters.isOrdered
                ? .reliable : parameters.reliability == .reliable ? .unordered : isTopics ? .topics : .lossy
        }
    }

    /// The promises of an open channel; nil when it is not open.
    func kind(of id: ChannelID) -> DeliveryChannel? {
        for channel in channels where channel.id == id { return channel.channel }
        return nil
    }

    init(pair: PeerPair, node: Node, remote: ParticipantID, isOfferer: Bool) {
        stream = node.streams[remote]
        self.pair = pair
        self.node = node
        life = node.life
        self.remote = remote
        self.isOfferer = isOfferer
    }
}
