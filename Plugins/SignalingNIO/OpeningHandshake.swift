#if NIO
    internal import NIOCore
    internal import NIOHTTP1
    internal import NIOTLS
    internal import NIOWebSocket
    internal import TransportPluginAPI

    /// The opening handshake (RFC 6455 §4.1): sends the request and judges the answer. Replaced by a `FrameHandler` when it is right.
    final class OpeningHandshake: ChannelInboundHandler, RemovableChannelHandler {
        typealias InboundIn = HTTPClientResponsePart
        typealias OutboundOut = HTTPClientRequestPart

        private let link: Link
        /// TLS is done, or there is none.
        private var isThroughTLS: Bool

        private init(_ link: Link) {
            self.link = link
            isThroughTLS = link.request.tls == nil
        }

        static func addHandlers(to channel: any Channel, _ link: Link) throws {
            let handshake = OpeningHandshake(link)
            let bound = NIOLoopBound(handshake, eventLoop: channel.eventLoop)
            try channel.pipeline.syncOperations.addHandler(UpgradeGate(link))
            try channel.pipeline.syncOperations.addHTTPClientHandlers(
                leftOverBytesStrategy: .forwardBytes,
                withClientUpgrade: (
                    upgraders: [Upgrader(link)],
                    completionHandler: { context in
                        context.pipeline.syncOperations.removeHandler(bound.value, promise: nil)
                    }
                ))
            try channel.pipeline.syncOperations.addHandler(handshake)
        }

        func channelActive(context: ChannelHandlerContext) {
            let request = link.request
            var headers = HTTPHeaders([("Host", request.endpoint.hostHeader)])
            if !request.endpoint.subprotocols.isEmpty {
                headers.add(
                    name: "Sec-WebSocket-Protocol", value: request.endpoint.subprotocols.joined(separator: ", "))
            }
            headers.add(contentsOf: request.endpoint.headers)
            let head = HTTPRequestHead(version: .http1_1, method: .GET, uri: request.endpoint.path, headers: headers)
            context.write(wrapOutboundOut(.head(head)), promise: nil)
            context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
            context.fireChannelActive()
        }

        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            if case .handshakeCompleted? = event as? TLSUserEvent { isThroughTLS = true }
            context.fireUserInboundEventTriggered(event)
        }

        /// What comes here is no upgrade.
        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            guard case .head(let head) = unwrapInboundIn(data), head.status != .switchingProtocols else { return }
            link.failed(Failure.refused(link.request, head))
            link.abortSocket()
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            if !link.isAccepted { link.failed(Failure.handshake(link.request, error, isThroughTLS: isThroughTLS)) }
            link.abortSocket()
        }

        func channelInactive(context: ChannelHandlerContext) {
            link.failed(Failure.hungUp(link.request, isThroughTLS: isThroughTLS))
            context.fireChannelInactive()
        }
    }

    /// Keeps the end of the socket from SwiftNIO's HTTP decoder while that is on its way out. It leaves the pipeline a moment after the
    /// answer that switches protocols, and hands on then what came behind it; told of the end before, it would drop it. The
    /// `FrameHandler` that takes its place learns of the end when it is removed itself.
    private final class UpgradeGate: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let link: Link

        init(_ link: Link) { self.link = link }

        func channelInactive(context: ChannelHandlerContext) {
            if !link.isAccepted || link.isEstablished { context.fireChannelInactive() }
        }
    }

    /// Judges an answer that switches protocols. SwiftNIO has checked that the first protocol in `Upgrade` is `websocket`.
    private struct Upgrader: NIOHTTPClientProtocolUpgrader {
        let supportedProtocol = "websocket"
        let requiredUpgradeHeaders: [String] = []
        private let link: Link
        /// Makes the key and checks the server's proof of it.
        private let key = NIOWebSocketClientUpgrader { channel, _ in channel.eventLoop.makeSucceededVoidFuture() }

        init(_ link: Link) { self.link = link }

        func addCustom(upgradeRequestHeaders: inout HTTPHeaders) {
            key.addCustom(upgradeRequestHeaders: &upgradeRequestHeaders)
        }

        func shouldAllowUpgrade(upgradeResponse: HTTPResponseHead) -> Bool {
            guard let reason = objection(to: upgradeResponse) else {
                link.isAccepted = true
                return true
            }
            link.failed(Failure.notWebSocket(link.request, reason))
            return false
        }

        private func objection(to response: HTTPResponseHead) -> String? {
            let headers = response.headers
            if !headers[canonicalForm: "connection"].contains(where: {
                $0.lowercased().utf8.elementsEqual("upgrade".utf8)
            }) {
                return "its answer has no 'Connection: Upgrade'"
            }
            if !key.shouldAllowUpgrade(upgradeResponse: response) {
                return "its Sec-WebSocket-Accept does not fit our key"
            }
            if !headers["sec-websocket-extensions"].isEmpty { return "it chose an extension that was not offered" }
            let offered = link.request.endpoint.subprotocols
            let chosen = headers["sec-websocket-protocol"]
            if offered.isEmpty, !chosen.isEmpty { return "it chose a subprotocol, and none was offered" }
            if !offered.isEmpty,
                chosen.count != 1 || !offered.contains(where: { $0.utf8.elementsEqual(chosen[0].utf8) })
            {
                return "it chose none of the subprotocols: is this the right server?"
            }
            return nil
        }

        func upgrade(context: ChannelHandlerContext, upgradeResponse: HTTPResponseHead) -> EventLoopFuture<Void> {
            let channel = context.channel
            return channel.eventLoop.makeCompletedFuture {
                let handler = FrameHandler(link)
                try channel.pipeline.syncOperations.addHandler(handler)
                link.established(handler)
            }
        }
    }
#endif
