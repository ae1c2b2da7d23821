internal import RoomCore
internal import RoomProtocol
public import TransportPluginAPI

/// The queues between an application and the peer loop, as the micro-benchmarks measure them.
@_spi(Benchmarks) public enum MeasuredQueues {
    /// As many messages through the mailbox, in batches of 100.
    @inline(never)
    public static func mailbox(_ payload: Payload, count: Int) -> Int {
        let mailbox = Mailbox<Payload>(limit: 1 << 20)
        var taken = 0
        for index in 1...count {
            mailbox.append(payload, weight: payload.count)
            if index.isMultiple(of: 100) { taken += mailbox.takeNow().count }
        }
        return taken + mailbox.takeNow().count
    }

    /// As many messages through the resend buffer: numbered, framed, acknowledged 100 at a time.
    @inline(never)
    public static func resendBuffer(_ bytes: UnsafeRawBufferPointer, count: Int) -> Int {
        var buffer = SendBuffer(headerLength: 9)
        var length = 0
        for index in 1...count {
            buffer.append(bytes, kind: .binary)
            length += buffer.frame(buffer.lastSequence)?.bytes.count ?? 0
            if index.isMultiple(of: 100) { buffer.release(upTo: buffer.lastSequence) }
        }
        buffer.removeAll()
        return length
    }
}
