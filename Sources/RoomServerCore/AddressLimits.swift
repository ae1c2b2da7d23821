/// The limits of one address at a room server. 0: no limit.
///
/// An IPv4 address has these limits, and so has an IPv6 network of 64 bits, which is what one client has. An IPv6
/// network of 48 bits has four times as much. Many people may share one IPv4 address: a school, an office, a mobile
/// network.
public struct AddressLimits: Sendable, Hashable {
    /// The number of sockets that are open at the same time.
    public var connections = 512
    /// The number of sockets among them that are still in TLS, have sent no request, or no `hello`.
    public var handshakes = 128
    /// The number of new sockets per second on average.
    public var connectionsPerSecond = 50
    /// The number of new sockets at once.
    public var connectionBurst = 500
    /// The number of rooms that it has opened and that still exist.
    public var rooms = 200
    /// The number of rooms that it may open per second on average.
    public var roomsPerSecond = 2
    /// The number of rooms that it may open at once.
    public var roomBurst = 100
    /// The number of join tokens and session tokens per second, on average, that may turn out to be invalid. Over it,
    /// join tokens are not looked at; participants that return are.
    public var failuresPerSecond = 1
    /// The number of tokens at once that may turn out to be invalid.
    public var failureBurst = 100
    /// The number of first joins with the same join token per second on average, from all addresses together.
    public var tokenJoinsPerSecond = 1
    /// The number of first joins with the same join token at once. An application may give one token to all
    /// participants of a room.
    public var tokenJoinBurst = 64
    /// The number of messages, frames and requests per second on average, of all connections of one event loop. Each 4
    /// KiB count as one more. Over it, they are read later.
    public var messagesPerSecond = 4000
    /// The number of messages, frames and requests at once.
    public var messageBurst = 20_000

    /// Connections over the rate that are told so before they are closed; the others are closed at once.
    package var answersPerSecond = 10
    package var answerBurst = 50
    /// How much more a network of addresses may use than one address.
    package var networkFactor = 4
    /// The number of addresses and networks that are remembered. When there are so many, further addresses share the
    /// limits of their network.
    package var remembered = 32_768

    /// Creates the default limits.
    public init() {}
}
