// The room server's WebSocket layer (request, answer, frames) under an application that sends every message back: what
// Autobahn's fuzzing client tests. Listens on a free port of 127.0.0.1 and prints it; ends when standard input does.

#if DEBUG
    import Foundation
    import NIOCore
    import NIOPosix

    @testable import RoomServer

    private final class EchoHandler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        private enum State {
            case request([UInt8])
            case open
            /// A close frame was sent, and the client should end the connection.
            case ending
        }
        private var state = State.request([])
        // Autobahn's largest messages have 16 MiB.
        private var parser = WebSocketParser(maximumMessageSize: 64 << 20)

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            unwrapInboundIn(data).withUnsafeReadableBytes { read($0, context) }
            context.flush()
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

        private func read(_ bytes: UnsafeRawBufferPointer, _ context: ChannelHandlerContext) {
            switch state {
            case .request(var head):
                head.append(contentsOf: bytes)
                guard let end = head.indices.first(where: { head[$0...].starts(with: [13, 10, 13, 10]) }) else {
                    state = .request(head)
                    return
                }
                let status = ServerStatus(rooms: 0, participants: 0, connections: 0, retryAfter: nil)
                guard let request = HTTPRequest(head: head[..<end]) else { return context.close(promise: nil) }
                let response = HTTPResponse(to: request, status)
                context.write(wrapOutboundOut(ByteBuffer(bytes: response.bytes)), promise: nil)
                state = response.isUpgrade ? .open : .ending
                let rest = Array(head[(end + 4)...])
                rest.withUnsafeBytes { read($0, context) }
            case .open: readFrames(bytes, context)
            case .ending: break
            }
        }

        private func readFrames(_ bytes: UnsafeRawBufferPointer, _ context: ChannelHandlerContext) {
            var events: [WebSocketParser.Event] = []
            let violation = parser.consume(bytes, into: &events)
            for event in events {
                switch event {
                case .text(let text): write(context) { WebSocketFrame.writeText(text, into: &$0) }
                case .binary(let bytes):
                    // The room server sends none: a text frame with the other opcode.
                    write(context) {
                        WebSocketFrame.writeText(bytes, into: &$0)
                        $0.setInteger(UInt8(0x82), at: $0.readerIndex)
                    }
                case .ping(let payload): write(context) { WebSocketFrame.writePong(payload, into: &$0) }
                case .pong, .fragment: break
                case .close(let code): end(context) { WebSocketFrame.writeClose(code, into: &$0) }
                }
            }
            if let violation {
                end(context) { WebSocketFrame.writeClose(violation.code, violation.reason, into: &$0) }
            }
        }

        private func write(_ context: ChannelHandlerContext, _ frame: (inout ByteBuffer) -> Void) {
            var buffer = ByteBuffer()
            frame(&buffer)
            context.write(wrapOutboundOut(buffer), promise: nil)
        }

        private func end(_ context: ChannelHandlerContext, _ frame: (inout ByteBuffer) -> Void) {
            state = .ending
            write(context, frame)
            context.flush()
            context.close(mode: .output, promise: nil)
        }
    }

    @main
    enum Main {
        static func main() throws {
            let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
            let channel = try ServerBootstrap(group: group)
                .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
                .childChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(EchoHandler())
                    }
                }
                .bind(host: "127.0.0.1", port: 0).wait()
            FileHandle.standardOutput.write(Data("LISTENING \(channel.localAddress?.port ?? 0)\n".utf8))
            while readLine() != nil {}
            try channel.close().wait()
            try group.syncShutdownGracefully()
        }
    }
#else
    @main
    enum Main {
        static func main() { fatalError("the echo server of Tests/Autobahn needs a debug build") }
    }
#endif
