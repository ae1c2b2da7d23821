internal import RoomCore
public import RoomProtocol
public import RoomValues
public import TransportPluginAPI

/// One message of a topic on its way out.
struct TopicPublication: Sendable {
    let name: String
    let topic: ByteText
    let head: [UInt8]
    let body: Payload
    let isLossy: Bool
}

/// How the messages of a topic are sent.
public enum TopicReliability: Sendable, Hashable {
    /// In order and exactly once, as on `RoomChannel.reliable`. A subscriber that reads slowly holds back the
    /// publishers of this topic, and nothing else.
    case reliable
    /// May be lost, may come in any order. A subscriber that reads slowly gets the newest messages.
    case lossy
}

/// A message of a topic.
public struct TopicMessage<Value: Sendable>: Sendable {
    /// The sender.
    public let from: ParticipantID
    /// The decoded value; for topics without a type the bytes.
    public let value: Value
    /// Whether the sender sent text.
    public let isText: Bool
}

extension TopicMessage: Equatable where Value: Equatable {}
extension TopicMessage: Hashable where Value: Hashable {}

/// A named stream of messages inside a room: whoever subscribes gets what is published from then on.
///
/// Participants meet by the name alone: there is nothing to create, and no history. What nobody subscribes to costs its
/// receiver nothing but a count (the metric `room_topic_unsubscribed`). Topics are independent: one that is read slowly
/// holds up no other one, nor requests or messages.
///
/// A pair of participants can have 256 topics in each direction. Names are 1…64 bytes of UTF-8 and compared by their
/// bytes.
public struct Topic<Value: Sendable>: Sendable {
    /// The name.
    public let name: String
    /// How this side publishes. A subscription gets messages of either kind.
    public let reliability: TopicReliability
    let room: Room
    let codec: any MessageCodec<Value>

    /// Publishes to everybody in the room, or to one participant. Reports for whom it was accepted.
    ///
    /// Waits until the room is joined. In a reliable topic it then waits for subscribers that have more than 256 KiB
    /// (more where they are fast) of this topic to read, and while the buffer of a connected participant is full. A
    /// message to everybody does not wait for a participant whose connection is broken: it is dropped there and
    /// counted (`RoomEvent.undelivered`). It goes to all participants at once; those whose programs know no topics
    /// (`RoomParticipant.hasExchange` is false) are `.notSupported` in the report.
    ///
    /// Throws what the codec throws, or `RoomError`: `.left`, `.peerNotFound`, `.notSupported` (the one participant
    /// does not know topics), `.messageTooLarge`, `.configuration` (the name cannot be used, or there are too many
    /// topics), `.cancelled`, or the reason why the room could not be joined. Of a message to everybody the error's
    /// `report` tells who has got it.
    @discardableResult
    public nonisolated(nonsending) func publish(
        _ value: Value, to participant: (any ParticipantReference)? = nil
    ) async throws -> SendReport {
        try await room.publish(
            codec.encode(value), isText: codec.isText, on: name, reliability, to: participant?.participantID)
    }

    /// Subscribes: returns the messages that come from now on, until the room is left.
    ///
    /// Each call is a subscription of its own and gets every message; each is for one consuming task. It ends when the
    /// sequence and its iterators are destroyed, so a `break` out of the loop ends it. Messages that the codec cannot
    /// decode are skipped.
    public func messages() -> TopicMessages<Value> {
        TopicMessages(subscription: room.hub.exchange.subscribe(to: ByteText(name)), codec: codec)
    }
}

extension Topic where Value == Payload {
    /// Publishes text as `publish(_:to:)` publishes bytes.
    @discardableResult
    public nonisolated(nonsending) func publish(
        _ text: String, to participant: (any ParticipantReference)? = nil
    ) async throws(RoomError) -> SendReport {
        try await room.publish(Payload(text), isText: true, on: name, reliability, to: participant?.participantID)
    }
}

extension TopicMessage where Value == Payload {
    /// The value as text, nil when it is not valid UTF-8.
    public var text: String? { value.utf8Text }
}

/// The messages of one subscription.
public struct TopicMessages<Value: Sendable>: AsyncSequence, Sendable {
    public typealias Element = TopicMessage<Value>
    public typealias Failure = Never
    let subscription: TopicSubscription
    let codec: any MessageCodec<Value>

    public struct AsyncIterator: AsyncIteratorProtocol {
        let subscription: TopicSubscription
        let codec: any MessageCodec<Value>
        var rest: ArraySlice<TopicInbox.Message> = []

        public mutating func next() async -> TopicMessage<Value>? { await next(isolation: nil) }

        public mutating func next(isolation actor: isolated (any Actor)?) async -> TopicMessage<Value>? {
            while true {
                while let message = rest.popFirst() {
                    guard let value = try? codec.decode(message.payload) else { continue }
                    return TopicMessage(from: message.from, value: value, isText: message.isText)
                }
                guard let batch = await subscription.next() else { return nil }
                rest = batch[...]
            }
        }
    }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(subscription: subscription, codec: codec) }
}
