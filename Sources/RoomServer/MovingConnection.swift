internal import Glibc
internal import RoomProtocol
internal import TransportPluginAPI
internal import WebSocketWire

/// A WebSocket connection on its way to the loop of the room that its `hello` names.
///
/// The socket is a duplicate of the descriptor, as a channel cannot leave its loop.
final class MovingConnection: @unchecked Sendable {
    // SAFETY: made by one loop and given away to another; never used by both.
    private var descriptor: CInt
    let tls: TLSSession?
    let client: ClientAddress
    let hello: Envelope<ClientMessage>
    /// The time of the `hello`.
    let time: Timestamp?
    /// The size of the message with the `hello`.
    let bytes: Int
    var parser: FrameParser
    /// The input after the `hello`.
    let rest: [UInt8]

    init(
        _ descriptor: CInt, _ tls: TLSSession?, _ client: ClientAddress, _ hello: Envelope<ClientMessage>,
        at time: Timestamp?, bytes: Int, _ parser: consuming FrameParser, rest: [UInt8]
    ) {
        self.descriptor = descriptor
        self.tls = tls
        self.client = client
        self.hello = hello
        self.time = time
        self.bytes = bytes
        self.parser = parser
        self.rest = rest
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// Returns the descriptor, which the caller must close.
    func takeDescriptor() -> CInt {
        defer { descriptor = -1 }
        return descriptor
    }
}
