/// The delivery protocol of a `.reliable` channel between two members that both declare the capability `delivery.v1`.
///
/// It runs inside an ordered, reliable data channel whose `protocol` string is `DeliveryProtocol.channelProtocol`, always as binary
/// messages. SCTP already keeps order and repeats losses inside one peer connection; what the header adds is the memory
/// across connections: numbers, acknowledgements, and a resume frame at the start of each.
///
/// All integers are big-endian. Frames begin with one byte for their kind:
///
/// | kind | frame | layout |
/// |---|---|---|
/// | 0x01 | resume | version u8, own session (u8 length + bytes), expected peer session (u8 length + bytes), received u64, next u64 |
/// | 0x02 | binary data | sequence u32, ack u32, payload |
/// | 0x03 | text data | sequence u32, ack u32, payload |
/// | 0x04 | part of a message: more follows | sequence u32, ack u32, payload; the last part is 0x02 or 0x03 |
/// | 0x05 | ack | ack u32 |
///
/// Every data frame has its own sequence number, counting from 1; on the wire the lower 32 bits. `ack` is cumulative.
/// Resume is the first frame of each side on each new channel: `received` is the last number that has come from the other side in
/// order, `next` the lowest number that this side can still send.
public enum DeliveryProtocol {
    /// Label and protocol string of the channel.
    public static let channelLabel = "room.reliable"
    public static let channelProtocol = "room.delivery.v1"
    /// The capability in `hello` and in the roster.
    public static let capability = "delivery.v1"
    public static let version: UInt8 = 1
    /// Kind, sequence, ack.
    public static let dataHeaderLength = 9
    /// Labels of the plain channels beside it, with an empty protocol string.
    public static let unorderedLabel = "room.unordered"
    public static let lossyLabel = "room.lossy"
    /// The reliable channel towards a member without the capability: plain data-channel semantics.
    public static let plainLabel = "room.plain"
}
