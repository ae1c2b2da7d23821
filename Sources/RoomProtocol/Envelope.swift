/// The version of the protocol that these types describe.
public let protocolVersion = 1

/// A message with its number and the acknowledgement that travels with it.
public struct Envelope<Message: Sendable & Hashable>: Sendable, Hashable {
    /// Nil for messages that are not numbered (hello, joined, ack, ping, pong, goingAway, error, leave, iceServers).
    public var sequence: SequenceNumber?
    /// All numbered messages of the other side up to this have come.
    public var ack: SequenceNumber?
    /// What is said.
    public var message: Message

    /// Without a number and an acknowledgement unless they are given.
    public init(sequence: SequenceNumber? = nil, ack: SequenceNumber? = nil, _ message: Message) {
        self.sequence = sequence
        self.ack = ack
        self.message = message
    }
}
