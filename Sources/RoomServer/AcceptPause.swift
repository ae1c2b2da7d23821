internal import Logging
internal import NIOCore

/// Pauses the listening socket when no connection can be accepted, most of all because no descriptor is left: it stays readable then,
/// and trying again at once would take a whole core. Warns once, and again only after a minute without failures.
///
/// `AcceptBackoffHandler` of SwiftNIO delays the next read only. The one that has failed stays pending, and is tried again by each turn
/// of the event loop.
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
