/// The version of the protocol that these types describe.
public let protocolVersion = 1

/// A message with its number and the acknowledgement that accompanies it.
public struct Envelope<Message: Sendable & Hashable>: Sendable, Hashable {
    /// The message's number. Nil for messages that are not numbered (hello, joined, ack, ping, pong, goingAway, error,
    /// leave, iceServers).
    public var sequence: SequenceNumber?
    /// The number up to which all messages of the other side have arrived.
    public var ack: SequenceNumber?
    /// The message.
    public var message: Message

    /// Creates an envelope, by default without a number and an acknowledgement.
    public init(sequence: SequenceNumber? = nil, ack: SequenceNumber? = nil, _ message: Message) {
        self.sequence = sequence
        self.ack = ack
        self.message = message
    }
}
