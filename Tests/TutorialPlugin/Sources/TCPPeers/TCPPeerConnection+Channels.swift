import TransportPluginAPI

extension TCPPeerConnection {
    private static let maximumChannels = 1024

    public func openChannel(_ parameters: ChannelParameters) throws(TransportError) -> ChannelID {
        try checkOpen()
        guard parameters.label.utf8.count <= 65_535, parameters.protocol.utf8.count <= 65_535 else {
            throw TransportError(.invalidArgument, "a channel's label or protocol is over 65,535 bytes long")
        }
        let key: ChannelKey
        if let agreed = parameters.negotiatedID {
            key = ChannelKey(owner: .both, number: UInt32(agreed))
        } else {
            key = ChannelKey(owner: .sender, number: nextNumber)
        }
        guard channels[key] == nil, channels.count < Self.maximumChannels else {
            throw TransportError(.resourceExhausted, "no channel is left, or the agreed id is taken")
        }
        if key.owner == .sender { nextNumber += 1 }
        let channel = add(key, parameters)
        if isConnected { announce(channel) }
        return channel.id
    }

    private func add(_ key: ChannelKey, _ parameters: ChannelParameters) -> PeerChannel {
        let channel = PeerChannel(id: ChannelID(rawValue: nextID), key: key, parameters: parameters)
        nextID += 1
        channels[key] = channel
        channelsByID[channel.id] = channel
        return channel
    }

    /// Announces a channel to the other side. An agreed channel opens when both sides have announced it.
    func announce(_ channel: PeerChannel) {
        guard !channel.isOpen, !channel.hasSentClose, channel.key.owner != .receiver else { return }
        link?.send(.open(channel.key, channel.parameters))
        if channel.key.owner == .sender || agreedByRemote.remove(channel.key.number) != nil {
            opened(channel, isRemote: false)
        }
    }

    private func opened(_ channel: PeerChannel, isRemote: Bool) {
        channel.isOpen = true
        emit(.channelOpened(channel.id, channel.parameters, isRemote: isRemote))
        if channel.isClosing { pump() }
    }

    public func send(_ bytes: UnsafeRawBufferPointer, isText: Bool, on channel: ChannelID) throws(TransportError) {
        try checkOpen()
        guard let channel = channelsByID[channel], !channel.isClosing, !channel.hasReceivedClose else {
            throw TransportError(.closed, "the channel is closed")
        }
        guard channel.isOpen else { throw Self.invalidState("the channel is not open yet: wait for channelOpened") }
        guard bytes.count <= maximumMessageSize else {
            throw TransportError(
                .messageTooLarge, "a message of \(bytes.count) bytes is over the maximum of \(maximumMessageSize)")
        }
        let cost = bytes.count + PeerChannel.overhead
        guard channel.buffered == 0 || channel.buffered + cost <= configuration.sendHighWaterMark else {
            channel.mustReportWritable = true
            throw TransportError(
                .wouldBlock, "the channel's buffer is full: wait for channelWritable", isRetryable: true)
        }
        channel.append(Payload(copying: bytes), isText: isText)
        counters.messagesSent += 1
        counters.bytesSent += UInt64(bytes.count)
        pump()
    }

    public func bufferedAmount(of channel: ChannelID) -> Int { channelsByID[channel]?.buffered ?? 0 }

    public func setReceiving(_ isReceiving: Bool, on channel: ChannelID) {
        guard let channel = channelsByID[channel] else { return }
        channel.isReceiving = isReceiving
        if isReceiving { loop.execute { [weak self, id = channel.id] in self?.resume(id) } }
    }

    private func resume(_ id: ChannelID) {
        if let channel = channelsByID[id] { deliver(channel) }
    }

    public func closeChannel(_ channel: ChannelID) {
        guard let channel = channelsByID[channel], !channel.isClosing else { return }
        channel.isClosing = true
        if isConnected { pump() } else { forget(channel) }
    }

    private func forget(_ channel: PeerChannel) {
        guard channels.removeValue(forKey: channel.key) != nil else { return }
        channelsByID[channel.id] = nil
        emit(.channelClosed(channel.id))
    }

    /// Ends a channel when both sides have closed it and everything was read.
    func finishIfDone(_ channel: PeerChannel) {
        if channel.hasSentClose, channel.hasReceivedClose, channel.isRead { forget(channel) }
    }

    // MARK: Out

    /// Moves messages to the socket, one channel after the other, as far as the socket and the windows have room.
    func pump() {
        guard isConnected, let link else { return }
        var hasMoved = true
        while hasMoved, link.hasRoom {
            hasMoved = false
            for channel in channels.values where channel.isOpen {
                guard let frame = channel.next() else { continue }
                link.send(frame)
                hasMoved = true
            }
        }
        for channel in Array(channels.values) where channel.isClosing && channel.isDrained && !channel.hasSentClose {
            channel.hasSentClose = true
            link.send(.close(channel.key))
            finishIfDone(channel)
        }
    }

    private func settleWritable(_ channel: PeerChannel) {
        guard channel.mustReportWritable, channel.buffered <= configuration.sendHighWaterMark / 2 else { return }
        channel.mustReportWritable = false
        emit(.channelWritable(channel.id))
    }

    // MARK: In

    func takeChannelFrame(_ frame: PeerFrame) throws(TransportError) {
        switch frame {
        case .open(let key, let parameters): try takeOpen(key, parameters)
        case .message(let key, let payload, let isText):
            guard payload.count <= configuration.maximumMessageSize else {
                throw TransportError(.messageTooLarge, "a message of \(payload.count) bytes came")
            }
            guard let channel = channels[key] else { return }
            guard !channel.hasReceivedClose,
                channel.received(payload, isText: isText, maximum: configuration.maximumMessageSize)
            else { throw TransportError(.protocolViolation, "more came than the channel's window allows") }
            deliver(channel)
        case .taken(let key, let count):
            guard let channel = channels[key] else { return }
            channel.taken(count)
            pump()
            settleWritable(channel)
        case .close(let key):
            guard let channel = channels[key] else {
                // It never opened here, so its end is all there is to report.
                if key.owner == .both, agreedByRemote.remove(key.number) != nil { link?.send(.close(key)) }
                return
            }
            channel.hasReceivedClose = true
            channel.isClosing = true
            pump()
            finishIfDone(channel)
        default: break
        }
    }

    private func takeOpen(_ key: ChannelKey, _ parameters: ChannelParameters) throws(TransportError) {
        switch key.owner {
        case .sender: throw TransportError(.protocolViolation, "the other side opened a channel of ours")
        case .receiver:
            guard key.number == nextRemoteNumber, channels.count < 2 * Self.maximumChannels else {
                throw TransportError(.protocolViolation, "the other side opened channel \(key.number) out of order")
            }
            nextRemoteNumber += 1
            opened(add(key, parameters), isRemote: true)
        case .both:
            guard key.number <= UInt32(UInt16.max) else {
                throw TransportError(.protocolViolation, "an agreed id of \(key.number) came")
            }
            if let channel = channels[key], !channel.isOpen {
                // Our side was announced when the connection was made, or is about to be.
                if isConnected { opened(channel, isRemote: false) } else { agreedByRemote.insert(key.number) }
            } else {
                agreedByRemote.insert(key.number)
            }
        }
    }
}
