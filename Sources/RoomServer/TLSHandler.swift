internal import COpenSSL
internal import NIOCore

/// TLS on one connection (RFC 8446), over memory BIOs.
///
/// A server writes nothing before the other side's first data, and so never before the end of the handshake. What a
/// client writes earlier waits for that end.
final class TLSHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// The handshake is over. Triggered in the pipeline after it, before the first data.
    struct Opened {}
    /// The handshake has failed.
    struct Failed {}
    /// The other side sends nothing more. What is written while this is passed on goes out before the socket closes.
    struct InputEnded {}

    private let session: TLSSession
    private var ssl: OpaquePointer { session.ssl }
    private var incoming: OpaquePointer { session.incoming }
    private var outgoing: OpaquePointer { session.outgoing }
    private let isClient: Bool
    private var isOpen = false
    /// The writes of a client before the end of the handshake.
    private var early: [(data: NIOAny, promise: EventLoopPromise<Void>?)] = []
    private var isRemoved = false
    private var hasInputEnded = false
    /// Whether the session goes on in another channel.
    private var isDetached = false

    /// Bytes of TLS's own answers, such as those to a change of keys, that are not written yet.
    private var answers = 0

    /// Bytes of the longest record (RFC 8446 §5.1).
    private static let recordLength = 16_384
    /// An honest client causes a few dozen.
    private static let answerLimit = 4096

    /// - Parameters:
    ///   - isOpen: Whether the handshake is over.
    ///   - isClient: Whether this side begins the handshake.
    init(_ session: TLSSession, isOpen: Bool = false, isClient: Bool = false) {
        self.session = session
        self.isOpen = isOpen
        self.isClient = isClient
    }

    /// Gives the session to another channel. This handler then neither reads nor writes.
    func detach() -> TLSSession {
        isDetached = true
        return session
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        isRemoved = true
        for write in early { write.promise?.fail(ChannelError.ioOnClosedChannel) }
        early = []
    }

    func channelActive(context: ChannelHandlerContext) {
        context.fireChannelActive()
        if isClient { _ = handshake(context) }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let isTaken = unwrapInboundIn(data).withUnsafeReadableBytes { bytes in
            BIO_write(incoming, bytes.baseAddress, Int32(truncatingIfNeeded: bytes.count)) == bytes.count
        }
        guard isTaken else { return context.close(promise: nil) }
        if isOpen || handshake(context) { read(context) }
    }

    /// Bytes that only the two sides of this connection can know (RFC 9266). Nil before the end of the handshake.
    var channelBinding: [UInt8]? {
        guard isOpen else { return nil }
        var bytes = [UInt8](repeating: 0, count: 32)
        let label = "EXPORTER-Channel-Binding"
        guard SSL_export_keying_material(ssl, &bytes, bytes.count, label, label.utf8.count, nil, 0, 1) == 1 else {
            return nil
        }
        return bytes
    }

    /// Continues the handshake. Returns whether it is complete.
    private func handshake(_ context: ChannelHandlerContext) -> Bool {
        ERR_clear_error()
        let result = SSL_do_handshake(ssl)
        let error = SSL_get_error(ssl, result)
        sendOutput(context, nil)
        context.flush()
        guard result == 1 else {
            if error != SSL_ERROR_WANT_READ { fail(context) }
            return false
        }
        isOpen = true
        for (data, promise) in early { write(context: context, data: data, promise: promise) }
        if !early.isEmpty { context.flush() }
        early = []
        context.fireUserInboundEventTriggered(Opened())
        return true
    }

    /// Passes on what can be decrypted.
    private func read(_ context: ChannelHandlerContext) {
        while !isRemoved {
            var plain = context.channel.allocator.buffer(capacity: Self.recordLength)
            ERR_clear_error()
            var result: Int32 = 0
            plain.writeWithUnsafeMutableBytes(minimumWritableBytes: Self.recordLength) { buffer in
                result = SSL_read(ssl, buffer.baseAddress, Int32(truncatingIfNeeded: buffer.count))
                return max(0, Int(result))
            }
            guard result <= 0 else {
                context.fireChannelRead(wrapInboundOut(plain))
                continue
            }
            let error = SSL_get_error(ssl, result)
            guard sendAnswers(context) else { return context.close(promise: nil) }
            switch error {
            case SSL_ERROR_WANT_READ: break
            case SSL_ERROR_ZERO_RETURN: inputEnded(context)
            default: fail(context)
            }
            return
        }
    }

    /// The other side has sent close_notify: nothing more comes. It may still read (RFC 8446 §6.1), so what was written
    /// before goes out.
    private func inputEnded(_ context: ChannelHandlerContext) {
        guard !hasInputEnded else { return }
        hasInputEnded = true
        context.fireUserInboundEventTriggered(InputEnded())
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.assumeIsolated().whenComplete { _ in
            if !self.isRemoved { self.close(context: context, mode: .all, promise: nil) }
        }
        context.writeAndFlush(wrapOutboundOut(ByteBuffer()), promise: written)
    }

    /// Writes what TLS itself answers. False: the client asks for ever more and does not read it.
    private func sendAnswers(_ context: ChannelHandlerContext) -> Bool {
        let count = Int(BIO_ctrl_pending(outgoing))
        guard count > 0 else { return true }
        guard answers + count <= Self.answerLimit else { return false }
        answers += count
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.assumeIsolated().whenComplete { _ in self.answers -= count }
        sendOutput(context, written)
        context.flush()
        return true
    }

    private func fail(_ context: ChannelHandlerContext) {
        let verdict = SSL_get_verify_result(ssl)
        let reason =
            isClient && verdict != Int(X509_V_OK)
            ? "the certificate is not valid: " + String(cString: X509_verify_cert_error_string(verdict))
            : String(cString: COpenSSL_error_text(ERR_peek_error()))
        ERR_clear_error()
        if !isOpen { context.fireUserInboundEventTriggered(Failed()) }
        context.fireErrorCaught(RoomServerError(message: "TLS failed: \(reason)"))
        context.close(promise: nil)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard isOpen else {
            early.append((data, promise))
            return
        }
        var rest = unwrapOutboundIn(data)
        // One record at a time: a memory BIO takes everything, and keeps the memory of the most that it ever held.
        repeat {
            let piece = rest.readSlice(length: min(rest.readableBytes, Self.recordLength)) ?? ByteBuffer()
            ERR_clear_error()
            let isTaken = piece.withUnsafeReadableBytes { bytes in
                bytes.isEmpty
                    || SSL_write(ssl, bytes.baseAddress, Int32(truncatingIfNeeded: bytes.count)) == bytes.count
            }
            guard isTaken else {
                ERR_clear_error()
                promise?.fail(ChannelError.ioOnClosedChannel)
                return
            }
            sendOutput(context, rest.readableBytes == 0 ? promise : nil)
        } while rest.readableBytes > 0
    }

    /// Writes the ciphertext that waits.
    private func sendOutput(_ context: ChannelHandlerContext, _ promise: EventLoopPromise<Void>?) {
        let pending = Int(BIO_ctrl_pending(outgoing))
        guard pending > 0 else {
            promise?.succeed()
            return
        }
        var cipher = context.channel.allocator.buffer(capacity: pending)
        cipher.writeWithUnsafeMutableBytes(minimumWritableBytes: pending) { buffer in
            max(0, Int(BIO_read(outgoing, buffer.baseAddress, Int32(truncatingIfNeeded: pending))))
        }
        context.write(wrapOutboundOut(cipher), promise: promise)
    }

    /// Ends the output with close_notify (RFC 8446 §6.1), also where only the output is closed.
    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        if isOpen, !isDetached, mode != .input {
            ERR_clear_error()
            _ = SSL_shutdown(ssl)
            ERR_clear_error()
            sendOutput(context, nil)
            context.flush()
        }
        context.close(mode: mode, promise: promise)
    }
}

/// The state of one TLS connection, with its ciphertext in both directions.
final class TLSSession {
    let ssl: OpaquePointer
    /// Owned by `ssl`, as is `outgoing`.
    let incoming: OpaquePointer
    let outgoing: OpaquePointer
    private let owner: AnyObject?

    /// Creates the server's side, or a client's that verifies that the certificate is for `serverName`: a name or a
    /// numeric address. A client without a name verifies nothing. Nil: there is no memory, or the name is none.
    ///
    /// - Parameter owner: The object that the context's callbacks use.
    init?(
        _ context: OpaquePointer, serverName: String? = nil, isClient: Bool = false, keeping owner: AnyObject? = nil
    ) {
        guard let ssl = SSL_new(context) else { return nil }
        if let serverName, COpenSSL_verify_name(ssl, serverName) != 1 {
            SSL_free(ssl)
            return nil
        }
        guard let incoming = BIO_new(BIO_s_mem()), let outgoing = BIO_new(BIO_s_mem()) else {
            SSL_free(ssl)
            return nil
        }
        SSL_set_bio(ssl, incoming, outgoing)
        if serverName != nil || isClient { SSL_set_connect_state(ssl) } else { SSL_set_accept_state(ssl) }
        self.owner = owner
        self.ssl = ssl
        self.incoming = incoming
        self.outgoing = outgoing
    }

    deinit { SSL_free(ssl) }
}
