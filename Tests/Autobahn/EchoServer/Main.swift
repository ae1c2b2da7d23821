// The room server's WebSocket layer (request, answer, frames) under an application that sends every message back: what
// Autobahn's fuzzing client tests. Listens on a free port of 127.0.0.1 and prints it; ends when standard input does.

#if DEBUG
    import Foundation
    import NIOCore
    import NIOPosix
    import WebSocketWire

    @testable import RoomServer

    private final class EchoHandler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        private enum State {
            case request
            case open
            /// A close frame was sent, and the client should end the connection.
            case ending
        }
        private var state = State.request
        private var head = HTTPHeadBuffer<RequestHead>()
        // Autobahn's largest messages have 16 MiB.
        private var parser = FrameParser(framesFrom: .client, maximumMessageSize: 64 << 20)

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            unwrapInboundIn(data).withUnsafeReadableBytes { read($0, context) }
            context.flush()
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

        private func read(_ bytes: UnsafeRawBufferPointer, _ context: ChannelHandlerContext) {
            switch state {
            case .request:
                var rest = bytes
                let request: RequestHead?
                do throws(HTTPHeadFailure) { request = try head.take(&rest) } catch {
                    return context.close(promise: nil)
                }
                guard let request else { return }
                let status = ServerStatus(rooms: 0, participants: 0, connections: 0, retryAfter: nil)
                let response = HTTPResponse(to: request, status)
                context.write(wrapOutboundOut(ByteBuffer(bytes: response.bytes)), promise: nil)
                state = response.isUpgrade ? .open : .ending
                read(rest, context)
            case .open: readFrames(bytes, context)
            case .ending: break
            }
        }

        private func readFrames(_ bytes: UnsafeRawBufferPointer, _ context: ChannelHandlerContext) {
            var rest = bytes
            do throws(FrameViolation) {
                while let event = try parser.next(&rest) {
                    switch event {
                    case .message(let message):
                        write(context, message.isText ? .text : .binary, message.array())
                    case .ping(let payload): write(context, .pong, payload)
                    case .pong, .fragment: break
                    case .close(let reason): end(context, CloseReason(code: reason.code))
                    }
                }
            } catch {
                end(context, CloseReason(code: error.closeCode, reason: error.description))
            }
        }

        private func write(_ context: ChannelHandlerContext, _ opcode: Opcode, _ payload: [UInt8]) {
            var buffer = ByteBuffer()
            buffer.writeFrame(opcode, payload)
            context.write(wrapOutboundOut(buffer), promise: nil)
        }

        private func end(_ context: ChannelHandlerContext, _ reason: CloseReason) {
            state = .ending
            write(context, .close, reason.payload)
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
