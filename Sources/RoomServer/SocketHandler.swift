internal import NIOCore

/// A handler at the end of the pipeline of a socket: bytes come in, and bytes go out.
protocol SocketHandler: ChannelInboundHandler where InboundIn == ByteBuffer, OutboundOut == ByteBuffer {}
