import RoomCore
import RoomProtocol
import Testing
import TransportValues

/// One end of a link with the smallest shell: what it sends lies in `sent`.
final class DeliveryEnd {
    var link: DeliveryLink
    var outbox: DeliveryOutbox
    var sent: [(bytes: [UInt8], isText: Bool, channel: ChannelID)] = []
    var delivered: [(text: String, isText: Bool, channel: DeliveryChannel)] = []
    var exchanged: [(text: String, channel: DeliveryChannel)] = []
    var verdicts: [DeliveryLink.Verdict] = []
    var actions: [DeliveryLink.Action] = []
    var refusal: TransportError.Code?
    /// Frames that are taken before one is refused.
    var credit = Int.max

    convenience init(
        _ session: SessionID, _ peer: SessionID, level: DeliveryLevel = .delivery, messageLimit: Int = 1 << 20
    ) {
        self.init(
            NumberedStreams(session: session, peerSession: peer), level: level, messageLimit: messageLimit)
    }

    init(_ streams: NumberedStreams, level: DeliveryLevel = .delivery, messageLimit: Int = 1 << 20) {
        link = DeliveryLink(streams: streams, level: level, messageLimit: messageLimit)
        var limits = DeliveryOutbox.Limits(buffer: 100_000, message: 100_000)
        limits.block = 1024
        outbox = DeliveryOutbox(level: level, streams: streams, limits: limits)
    }

    deinit { _ = link.close(&outbox) }

    func send(_ text: String, on channel: DeliveryChannel = .reliable) {
        var text = text
        let outcome = text.withUTF8 {
            outbox.accept(UnsafeRawBufferPointer($0), isText: true, on: channel, mayDrop: false)
        }
        #expect(outcome == .accepted)
        drain(channel)
    }

    func send(exchange text: String, on channel: DeliveryChannel) {
        var text = text
        let outcome = text.withUTF8 {
            outbox.accept(exchange: .init(start: nil, count: 0), UnsafeRawBufferPointer($0), on: channel)
        }
        #expect(outcome == .accepted)
        drain(channel)
    }

    func perform(_ new: [DeliveryLink.Action]) {
        actions += new
        for action in new {
            switch action {
            case .beginSending: outbox.connected(maximumMessageSize: 20)
            case .suspendSending: outbox.disconnected()
            case .sendResume(let frame, let id): sent.append((frame.encoded, false, id))
            case .drain(let channel): drain(channel)
            case .openChannel, .scheduleTimer, .cancelTimer: break
            }
        }
    }

    func drain(_ channel: DeliveryChannel) {
        guard let id = link.writable(channel) else { return }
        var batch = link.nextFrames(on: channel, in: &outbox)
        for index in 0..<batch.count {
            if credit == 0, let refusal {
                let verdict = link.frameRefused(batch.first + UInt64(index), refusal, on: channel)
                if verdict == .drop { continue }
                return
            }
            credit -= 1
            if batch.hasHeaders { link.stamp(batch[index], on: channel) }
            sent.append(([UInt8](batch[index]), batch.isText(index), id))
            link.frameTaken(batch.first + UInt64(index), count: batch[index].count, on: channel)
        }
        if let sequence = link.takeReleasable(on: channel) { outbox.release(upTo: sequence, on: channel) }
        if batch.count == FrameBatch.capacity { drain(channel) }
    }

    func receive(_ bytes: [UInt8], isText: Bool = false, on id: ChannelID) {
        bytes.withUnsafeBytes { bytes in
            guard let channel = link.channel(of: id) else { return }
            let verdict = link.received(bytes, isText: isText, on: channel)
            verdicts.append(verdict)
            if let sequence = link.takeReleasable(on: channel) { outbox.release(upTo: sequence, on: channel) }
            switch verdict {
            case .deliver(let channel, let isText, let offset):
                delivered.append((String(decoding: bytes.dropFirst(offset), as: UTF8.self), isText, channel))
            case .deliverAssembled(let isText):
                delivered.append((String(decoding: link.takeAssembled(), as: UTF8.self), isText, .reliable))
            case .exchange(let channel, let offset):
                exchanged.append((String(decoding: bytes.dropFirst(offset), as: UTF8.self), channel))
            case .exchangeAssembled(let channel):
                exchanged.append((String(decoding: link.takeAssembled(on: channel), as: UTF8.self), channel))
            case .resumed: drain(channel)
            case .absorbed, .hint, .ignored, .violation: break
            }
        }
    }

    func open(isOpener: Bool) {
        link.detached()
        _ = outbox.connectionEnded()
        for channel in link.attached(isOpener: isOpener) {
            link.opening(channel, as: ChannelID(rawValue: channel.rawValue))
        }
        for channel in link.level.channels {
            perform(link.channelOpened(ChannelID(rawValue: channel.rawValue), channel.parameters(link.level)))
        }
    }
}
