internal import RoomCore
internal import RoomProtocol
internal import TransportValues

// A data path whose other side says anything, in any order: also what breaks the protocol.
extension VectorWalks {
    static func delivery(seed: UInt64, _ level: DeliveryLevel, steps: Int, on tape: VectorTape) {
        var walk = DeliveryWalk(seed: seed, level, on: tape)
        for _ in 0..<steps { walk.step() }
        walk.end()
    }
}

private struct DeliveryWalk: ~Copyable {
    private let level: DeliveryLevel
    private let memory: String
    private var link: RecordedLink
    private var outbox: RecordedOutbox
    private var dice: SeededGenerator
    private var now = Timestamp.zero
    private var isAttached = false
    private var lastID = 0
    /// The channels on which it has not yet said where it resumes.
    private var silent: Set<DeliveryChannel> = []

    init(seed: UInt64, _ level: DeliveryLevel, on tape: VectorTape) {
        self.level = level
        dice = SeededGenerator(seed: ~seed)
        let name = tape.uniqueName("\(level)")
        memory = name
        let streams = NumberedStreams(session: SessionID("s1"), peerSession: SessionID("s2"))
        link = RecordedLink(
            streams: streams, level: level, messageLimit: 400, memory: memory,
            tape: tape.instance("DeliveryLink", name, group: "walks"))
        var limits = DeliveryOutbox.Limits(buffer: 1500, message: 400)
        limits.bulk = 800
        limits.block = 2048
        limits.frame = 100
        outbox = RecordedOutbox(
            level: level, streams: streams, limits: limits,
            tape: tape.instance("DeliveryOutbox", name, group: "walks"))
    }

    private mutating func chance(_ probability: Double) -> Bool { dice.chance(probability) }
    private mutating func number(_ range: ClosedRange<Int>) -> Int { dice.number(range) }
    private mutating func channel() -> DeliveryChannel { dice.pick(level.channels) }
    private mutating func bytes(_ count: ClosedRange<Int>) -> [UInt8] {
        (0..<number(count)).map { _ in UInt8(truncatingIfNeeded: dice.next()) }
    }

    mutating func step() {
        now = now + dice.duration(upTo: .milliseconds(300))
        switch number(0...22) {
        case 0 where !isAttached || chance(0.05): attach()
        case 0...5: accept()
        case 6...8: drain(channel())
        case 9...16: if isAttached { frame() } else { attach() }
        case 17: reopen()
        case 18:
            if level.isNumbered(.reliable) { link.acknowledgementTimerFired(.reliable) }
            for channel in level.channels { acknowledge(channel) }
        case 19: _ = link.watchTimerFired { Int($0.rawValue) % 3 }
        case 20:
            let statuses: [PeerStatus] = [
                .connected(nil), .connecting, .recovering(.wait, attempt: 1, since: now),
                .recovering(.rebuild, attempt: 2, since: now),
            ]
            _ = link.statusChanged(statuses[number(0...3)], &outbox)
        case 21:
            if chance(0.1) {
                link.detached()
                isAttached = false
                _ = outbox.connectionEnded()
            }
        default: _ = outbox.hasCredit(on: channel(), mayDrop: chance(0.5))
        }
    }

    private mutating func attach() {
        link.detached()
        isAttached = true
        for channel in link.attached(isOpener: chance(0.5)) {
            lastID += 1
            link.opening(channel, as: ChannelID(rawValue: lastID))
            open(ChannelID(rawValue: lastID), channel.parameters(level))
        }
        if lastID == 0 || chance(0.6) { reopen() }
    }

    private mutating func open(_ id: ChannelID, _ parameters: ChannelParameters) {
        for action in link.channelOpened(id, parameters) {
            switch action {
            case .sendResume: silent = [.reliable, .bulk]
            case .beginSending: outbox.connected(maximumMessageSize: number(60...200))
            case .suspendSending: outbox.disconnected()
            case .drain(let channel): drain(channel)
            case .openChannel, .scheduleTimer, .cancelTimer: break
            }
        }
    }

    private mutating func reopen() {
        guard isAttached else { return }
        if chance(0.4), lastID > 0 {
            let id = ChannelID(rawValue: number(1...lastID))
            if chance(0.5) {
                _ = link.channelClosed(id, now: now)
            } else if let channel = link.channelWritable(id) {
                drain(channel)
                _ = link.isAcknowledgementOverdue(channel)
            }
            return
        }
        if chance(0.3) { return _ = link.reopeningTimerFired(channel()) }
        lastID += 1
        let foreign = [ChannelParameters(label: "other"), ChannelParameters(label: "room.reliable", isOrdered: false)]
        open(ChannelID(rawValue: lastID), chance(0.1) ? foreign[number(0...1)] : channel().parameters(level))
    }

    private mutating func accept() {
        let channel = channel()
        if channel == .bulk || channel == .topics || level == .exchange && chance(0.3) {
            let (head, body) = (bytes(0...9), bytes(0...410))
            let isUrgent = chance(0.2)
            head.withUnsafeBytes { head in
                body.withUnsafeBytes {
                    _ = outbox.accept(exchange: head, $0, on: channel, isUrgent: isUrgent)
                }
            }
        } else {
            let (isText, mayDrop) = (chance(0.5), chance(0.5))
            let bytes = chance(0.1) ? bytes(399...401) : bytes(0...60)
            bytes.withUnsafeBytes { _ = outbox.accept($0, isText: isText, on: channel, mayDrop: mayDrop) }
        }
    }

    private mutating func drain(_ channel: DeliveryChannel) {
        guard let id = link.writable(channel) else { return }
        var batch = link.nextFrames(on: channel, in: &outbox)
        for index in 0..<batch.count {
            let sequence = batch.first + UInt64(index)
            if batch.hasHeaders { link.stamp(batch[index], on: channel) }
            if chance(0.08) {
                let codes: [TransportError.Code] = [.wouldBlock, .messageTooLarge, .closed]
                let refusal = link.frameRefused(sequence, codes[number(0...2)], on: channel)
                if refusal == .drop {
                    outbox.giveUpMessage()
                    continue
                }
                break
            }
            link.frameTaken(sequence, count: batch[index].count, on: channel)
            if channel == .bulk { outbox.bulkTaken(sequence, now: now) }
        }
        release(channel)
        let outstanding = number(0...50)
        _ = link.watch(channel) { $0 == id ? outstanding : 0 }
    }

    private mutating func release(_ channel: DeliveryChannel) {
        if let sequence = link.takeReleasable(on: channel) { outbox.release(upTo: sequence, on: channel, now: now) }
    }

    private mutating func acknowledge(_ channel: DeliveryChannel) {
        guard level.isNumbered(channel), link.acknowledgementFrame(channel) != nil else { return }
        if chance(0.2) { link.refused(.wouldBlock, on: channel) } else { link.acknowledgementTaken(channel) }
        _ = link.hintChannel
    }

    /// A frame of the other side: mostly one that fits.
    private mutating func frame() {
        let channel = channel()
        var frame: [UInt8]
        let machine = link.streams[channel].machine
        let next = machine.received + 1
        let acknowledged =
            chance(0.03)
            ? machine.transmitted + 1 : UInt64(number(Int(machine.acknowledged)...Int(machine.transmitted)))
        let isSilent = silent.contains(channel) && chance(0.9)
        switch isSilent ? 0 : number(0...9) {
        case 0 where level.isNumbered(channel) && (isSilent || chance(0.05)):
            silent.remove(channel)
            let (first, last) = (Int(machine.acknowledged), Int(machine.accepted))
            let resume = DeliveryProtocol.ResumeFrame(
                session: SessionID("s2"), peerSession: SessionID(chance(0.97) ? "s1" : "s3"),
                received: UInt64(max(0, number(first...last) + (chance(0.9) ? 0 : number(-3...2)))),
                next: chance(0.9) ? next : next + 2)
            frame = resume.encoded
        case 2 where level.isNumbered(channel):
            frame = [DeliveryProtocol.Kind.ack.rawValue] + Self.bigEndian(UInt32(truncatingIfNeeded: acknowledged))
        case 3: frame = [DeliveryProtocol.Kind.hint.rawValue, UInt8(number(0...4))]
        case 4: frame = chance(0.2) ? bytes(0...12) : []
        default:
            let kinds: [DeliveryProtocol.Kind] =
                channel == .bulk ? [.exchange, .exchange, .part] : [.binary, .text, .part, .exchange]
            let kind = kinds[number(0...(kinds.count - 1))]
            let sequence = chance(0.88) ? next : UInt64(number(max(0, Int(next) - 3)...Int(next) + 1))
            frame = [kind.rawValue] + Self.bigEndian(UInt32(truncatingIfNeeded: sequence))
            frame += Self.bigEndian(UInt32(truncatingIfNeeded: acknowledged)) + bytes(0...(kind == .part ? 250 : 80))
        }
        if frame.isEmpty { return }
        let isText = chance(0.2)
        let verdict = frame.withUnsafeBytes { link.received($0, isText: isText, on: channel) }
        _ = link.takeIsFirstSinceBreak()
        release(channel)
        switch verdict {
        case .deliverAssembled: _ = link.takeAssembled()
        case .exchangeAssembled: _ = link.takeAssembled(on: channel)
        case .resumed: drain(channel)
        case .violation:
            link.detached()
            isAttached = false
            _ = outbox.connectionEnded()
        case .deliver, .exchange, .absorbed, .hint, .ignored: break
        }
        if level.isNumbered(channel) { _ = link.acknowledgementUrgency(afterFrameOf: frame.count, on: channel) }
    }

    private static func bigEndian(_ number: UInt32) -> [UInt8] {
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: number >> $0) }
    }

    mutating func end() {
        link.detached()
        _ = outbox.connectionEnded()
        _ = link.close(&outbox)
    }
}
