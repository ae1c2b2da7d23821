internal import NIOCore
internal import WebSocketWire

/// Reads the header of the PROXY protocol at the beginning of a connection, before TLS, and removes itself. Its time is
/// limited by that of the first request.
final class ProxyHeaderHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let gate: AddressGate
    private let connection: ConnectionHandler
    private var bytes = ByteBuffer()

    init(_ gate: AddressGate, _ connection: ConnectionHandler) {
        self.gate = gate
        self.connection = connection
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var input = unwrapInboundIn(data)
        bytes.writeBuffer(&input)
        do {
            guard let header = try bytes.withUnsafeReadableBytes(ProxyHeader.read) else { return }
            if let client = header.client { connection.client = try gate.admit(client) }
            bytes.moveReaderIndex(forwardBy: header.length)
        } catch {
            context.fireErrorCaught(error)
            context.channel.reset()
            return
        }
        let rest = bytes
        bytes = ByteBuffer()
        if rest.readableBytes > 0 { context.fireChannelRead(wrapInboundOut(rest)) }
        context.pipeline.syncOperations.removeHandler(self, promise: nil)
    }
}
