internal import CUsrsctp
internal import Logging
internal import TransportPluginAPI

/// Datagrams in and out: ICE → DTLS → SCTP → channels, on one stack of calls.
extension WebRTCConnection {
    /// What may wait for the remote description.
    private static let maximumEarly = (bytes: 32_768, datagrams: 32)
    /// Bytes of messages that wait for channels that are not read; then reading stops, and the association's window closes.
    private static let maximumStash = 1 << 18

    // MARK: DTLS

    func makeSession(_ role: DTLSSession.Role, for description: DataDescription) throws(TransportError) {
        let session = try DTLSSession(
            core.dtls, role: role, fingerprints: description.fingerprints, sizes: core.options.sizes, output: output)
        dtls = session
        for slot in channels.rolesSettled(isClient: role == .client) { channelEnded(slot) }
        guard let early else { return }
        self.early = nil
        core.loop.atEndOfTurn { [self] in receive(early) }
    }

    /// Looks at what a step of the handshake has led to, and sets its timer.
    func handshakeWentOn() {
        guard let dtls, !isClosed else { return }
        if let failure = dtls.failure {
            finish(failure)
        } else if dtls.isEstablished {
            handshakeTimer?.cancel()
            handshakeTimer = nil
            if sctp == nil { beginAssociation(over: dtls) }
        } else {
            handshakeTimer?.cancel()
            handshakeTimer = nil
            // Without a path the flight is lost for certain, and OpenSSL gives up after a dozen.
            guard active?.isConnected == true, let timeout = dtls.timeout else { return }
            handshakeTimer = core.loop.schedule(after: .microseconds(timeout + 1000)) { [unowned self] in
                self.dtls?.handleTimeout()
                handshakeWentOn()
            }
        }
    }

    private func beginAssociation(over session: DTLSSession) {
        guard let remote = negotiation.remote else { return }
        let largest = configuration.maximumMessageSize
        let settings = SCTPAssociation.Settings(
            localPort: writer.sctpPort, sizes: core.options.sizes, streams: UInt16(core.options.streams),
            sendBuffer: max(2 << 20, 2 * configuration.sendHighWaterMark + largest),
            receiveBuffer: max(1 << 20, 4 * largest))
        do throws(TransportError) {
            let association = try SCTPAssociation(core.stack, session: session, settings: settings)
            sctp = association
            try association.connect(toPort: remote.sctpPort)
            // What is sent from here on leaves with the third packet of the handshake (RFC 9260 §5.1), a round trip before it is over.
            openAllWaiting()
        } catch {
            finish(error)
        }
    }

    // MARK: Datagrams in

    /// Datagrams from any of the agents: what DTLS authenticates is welcome on every path.
    func receive(_ batch: DatagramBatch) {
        guard !isClosed else { return }
        guard let dtls else {
            keepEarly(batch)
            return
        }
        // What this leads to goes out when it is done, not at the end of the turn.
        output.isFlushPromised = true
        defer {
            output.isFlushPromised = false
            output.flush()
        }
        let plain = core.plain
        var isEvidence = false
        var isForSCTP = false
        dtls.beginInput(batch)
        while true {
            let wasEstablished = dtls.isEstablished
            let count = dtls.read(into: plain)
            if !wasEstablished { handshakeWentOn() }
            guard count > 0, let base = plain.baseAddress else { break }
            isEvidence = true
            guard let sctp else { continue }
            switch sctp.takeHeartbeat(UnsafeRawBufferPointer(start: base, count: count), at: core.loop.turnTime) {
            case .answered: break
            case .came(let heartbeat): heartbeatAnswered(heartbeat)
            case .other:
                if !isForSCTP { core.stack.touch() }
                isForSCTP = true
                sctp.input(base, count: count)
            }
        }
        dtls.endInput()
        if isEvidence { noteEvidence() }
        if isForSCTP {
            if !canCarryData, let sctp, sctp.isAnswered { associationIsUp() }
            pump()
        }
        if outbox != nil { sendOutbox() }
        if let failure = dtls.failure { finish(failure.code == .closed ? nil : failure) }
    }

    private func keepEarly(_ batch: DatagramBatch) {
        let early = early ?? DatagramBatch(capacity: Self.maximumEarly.bytes, maximumCount: Self.maximumEarly.datagrams)
        self.early = early
        for index in 0..<batch.count {
            guard early.append(UnsafeRawBufferPointer(batch[index])) else { return }
        }
    }

    // MARK: Messages in

    /// Reads what SCTP has, and hands it on. Never called from inside a method of the API.
    func pump() {
        guard !isPumping, let sctp, let handler else { return }
        isPumping = true
        let buffer = core.message
        reading: while !isClosed, stashedBytes < Self.maximumStash {
            switch sctp.receive(into: buffer) {
            case .data(let count, let stream, let protocolID, let isEnd):
                if isEnd, reassembly == nil {
                    guard count <= configuration.maximumMessageSize else {
                        tooLarge(on: stream)
                        continue
                    }
                    deliver(
                        UnsafeRawBufferPointer(rebasing: buffer[..<count]), stream: stream, protocol: protocolID,
                        to: handler)
                } else {
                    gather(
                        UnsafeRawBufferPointer(rebasing: buffer[..<count]), stream: stream, protocol: protocolID,
                        isEnd: isEnd, handler)
                }
            case .notification(let notification): take(notification)
            case .empty: break reading
            case .ended:
                finish(nil)
                break reading
            }
        }
        isPumping = false
        if !isClosed, isReleaseWaitedFor { releaseSent() }
        if !events.isEmpty { drainEvents() }
    }

    @inline(__always)
    private func deliver(
        _ bytes: UnsafeRawBufferPointer, stream: UInt16, protocol protocolID: UInt32,
        to handler: any PeerConnectionHandler
    ) {
        let isText: Bool
        var bytes = bytes
        switch protocolID {
        case DCEP.PayloadProtocol.binary: isText = false
        case DCEP.PayloadProtocol.text: isText = true
        // Empty messages carry one byte, which is ignored (RFC 8831 §6.6).
        case DCEP.PayloadProtocol.emptyText, DCEP.PayloadProtocol.emptyBinary:
            isText = protocolID == DCEP.PayloadProtocol.emptyText
            bytes = UnsafeRawBufferPointer(rebasing: bytes[..<0])
        case DCEP.PayloadProtocol.control:
            takeControl(bytes, stream: stream)
            return
        default: return
        }
        guard let slot = channels.slot(ofStream: stream), channels.slots[slot].phase != .waiting else {
            strays.add(StrayMessages.Message(stream: stream, protocol: protocolID, payload: Payload(copying: bytes)))
            return
        }
        counters.messagesReceived &+= 1
        counters.bytesReceived &+= UInt64(bytes.count)
        // A channel's opening is told before its first message; who is told may want none yet.
        if !events.isEmpty {
            drainEvents()
            guard !isClosed, channels.slot(ofStream: stream) == slot else { return }
        }
        guard channels.slots[slot].isReceiving, channels.slots[slot].stash.isEmpty else {
            channels[slot].stash.append(StashedMessage(payload: Payload(copying: bytes), isText: isText))
            stashedBytes += bytes.count + 64
            return
        }
        handler.peerConnection(didReceive: bytes, isText: isText, on: channels.slots[slot].id)
    }

    /// A message in pieces: larger than the buffer, or handed out before it was complete.
    private func gather(
        _ bytes: UnsafeRawBufferPointer, stream: UInt16, protocol protocolID: UInt32, isEnd: Bool,
        _ handler: any PeerConnectionHandler
    ) {
        var message = reassembly ?? Reassembly(stream: stream, protocol: protocolID, bytes: [])
        reassembly = nil
        if message.bytes.count + bytes.count > configuration.maximumMessageSize {
            message.isTooLarge = true
            message.bytes = []
        } else if !message.isTooLarge {
            message.bytes.append(contentsOf: bytes)
        }
        guard isEnd else {
            reassembly = message
            return
        }
        guard !message.isTooLarge else { return tooLarge(on: message.stream) }
        message.bytes.withUnsafeBytes { deliver($0, stream: message.stream, protocol: message.protocol, to: handler) }
    }

    /// The message is gone, so the channel has broken its promise: it ends, and the others go on.
    private func tooLarge(on stream: UInt16) {
        log.debug(
            "a message over the announced size was dropped, and its channel is closed",
            metadata: ["stream": "\(stream)", "limit": "\(configuration.maximumMessageSize)"])
        refuse(stream)
    }

    private func take(_ notification: SCTPNotification) {
        switch notification {
        case .up:
            associationIsUp()
            beginPathSize()
        case .closedByPeer: finish(nil)
        case .lost(let cause):
            finish(
                TransportError(
                    .protocolViolation, "the SCTP association was aborted with error cause \(cause)", isRetriable: true)
            )
        case .restarted:
            finish(TransportError(.protocolViolation, "the other side began a new SCTP association", isRetriable: true))
        case .incomingReset(let streams): streamsReset(streams, incoming: true)
        case .outgoingReset(let streams), .resetFailed(let streams): streamsReset(streams, incoming: false)
        case .partialDeliveryAborted: reassembly = nil
        case .other: break
        }
    }

    /// What is sent from here on arrives: the other side has answered, or has finished the handshake.
    private func associationIsUp() {
        guard let sctp, !canCarryData else { return }
        canCarryData = true
        for slot in channels.limitStreams(to: Int(sctp.outgoingStreams)) { channelEnded(slot) }
        beginLiveness()
        if active?.hasFailed != true { setState(.connected) }
        openAllWaiting()
    }

    private func openAllWaiting() {
        for slot in channels.used where channels.slots[slot].phase == .waiting { openWaiting(slot) }
    }
}
