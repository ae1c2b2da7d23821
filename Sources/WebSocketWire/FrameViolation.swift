/// A breach of RFC 6455's rules of frames, or of a limit, after which a connection must fail (§7.1.7).
public enum FrameViolation: Error, Hashable, CustomStringConvertible {
    /// One of the bits is set that only extensions use.
    case reservedBit
    /// The kind of the frame is none that RFC 6455 knows.
    case reservedOpcode
    /// A server has masked a frame.
    case maskedFrame
    /// A client has not masked a frame.
    case unmaskedFrame
    /// A control frame is not final.
    case fragmentedControlFrame
    /// A control frame has more than 125 bytes.
    case longControlFrame
    /// There is no message that could be continued.
    case unexpectedContinuation
    /// A message begins before the one before it has ended.
    case unfinishedMessage
    /// A length is not in the shortest form.
    case overlongLength
    /// A length does not fit into 63 bits.
    case lengthOverflow
    /// A message has more bytes than the receiver takes.
    case messageTooLarge(maximum: Int)
    /// A message has more frames that neither end it nor add to it than the receiver takes.
    case emptyFragments(maximum: Int)
    /// A text is not UTF-8.
    case invalidText
    /// A close frame has one byte.
    case truncatedCloseCode
    /// The reason in a close frame is not UTF-8.
    case invalidCloseReason
    /// The code in a close frame is none that may be sent (RFC 6455 §7.4).
    case invalidCloseCode(UInt16)

    /// The close code that reports it to the other side (RFC 6455 §7.4.1).
    public var closeCode: UInt16 {
        switch self {
        case .messageTooLarge: 1009
        case .emptyFragments: 1008
        case .invalidText, .invalidCloseReason: 1007
        default: 1002
        }
    }

    /// The thing that came, as a noun phrase.
    public var description: String {
        switch self {
        case .reservedBit: "a frame with a reserved bit set"
        case .reservedOpcode: "a frame with a reserved opcode"
        case .maskedFrame: "a masked frame"
        case .unmaskedFrame: "a frame without a mask"
        case .fragmentedControlFrame: "a control frame in fragments"
        case .longControlFrame: "a control frame of more than 125 bytes"
        case .unexpectedContinuation: "a continuation without a message"
        case .unfinishedMessage: "a new message inside a fragmented one"
        case .overlongLength: "a length that is not encoded in the fewest bytes"
        case .lengthOverflow: "a length with its highest bit set"
        case .messageTooLarge(let maximum): "a message of more than \(maximum) bytes"
        case .emptyFragments(let maximum): "more than \(maximum) empty fragments"
        case .invalidText: "text that is not UTF-8"
        case .truncatedCloseCode: "a close frame with half a code"
        case .invalidCloseReason: "a close reason that is not UTF-8"
        case .invalidCloseCode(let code): "the close code \(code), which must not be sent"
        }
    }
}
