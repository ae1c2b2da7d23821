internal import Logging
internal import NIOCore

/// Pauses the listening socket when no connection can be accepted, usually because no descriptor is left. The socket
/// stays readable then, and retrying at once would use a whole core. Logs a warning once, and again only after a minute
/// without failures.
///
/// `AcceptBackoffHandler` of SwiftNIO delays only the next read. The failed one stays pending, and each turn of the
/// event loop retries it.
final class AcceptPause: ChannelInboundHandler {
    typealias InboundIn = Channel

    static let pause = TimeAmount.milliseconds(500)
    private static let mute = TimeAmount.seconds(60)

    private let logger: Logger
    private var mutedUntil = NIODeadline.distantPast
    private var end: Scheduled<Void>?

    init(_ logger: Logger) { self.logger = logger }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard error is IOError else { return context.fireErrorCaught(error) }
        if mutedUntil <= .now() {
            logger.warning(
                "connections cannot be accepted and wait: raise the limit of descriptors (ulimit -n, LimitNOFILE)",
                metadata: ["error": "\(error)"])
        }
        mutedUntil = .now() + Self.mute
        guard end == nil, (try? context.channel.syncOptions?.setOption(.autoRead, value: false)) != nil else { return }
        end = context.eventLoop.assumeIsolated().scheduleTask(in: Self.pause) {
            self.end = nil
            try? context.channel.syncOptions?.setOption(.autoRead, value: true)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        end?.cancel()
        end = nil
        context.fireChannelInactive()
    }
}
