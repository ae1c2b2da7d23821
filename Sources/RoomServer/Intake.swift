internal import NIOCore
internal import TransportPluginAPI

/// The input of one connection since its address was last charged, and the pause while the address is over its budget:
/// then nothing is read, and the client's messages wait at the client.
final class Intake {
    private static let bytesPerMessage = 4096

    private var count = 0
    private var bytes = 0
    private var meter: AddressMeter?
    private var pause: Scheduled<Void>?

    /// Counts a message, a frame, or a request.
    func countFrame() { count += 1 }

    /// Counts what is sent for a request.
    func count(answer: HTTPResponse) { bytes += answer.body.count }

    /// Charges what was counted, and what was read, to the client's address.
    func charge(_ read: Int, _ client: ClientAddress, _ context: ChannelHandlerContext, _ loop: ServerLoop) {
        bytes += read
        let amount = count + bytes / Self.bytesPerMessage
        guard amount > 0, let payer = client.payer else { return }
        count = 0
        bytes %= Self.bytesPerMessage
        if meter == nil { meter = loop.meter(for: payer) }
        guard let meter else { return }
        let delay = meter.charge(amount)
        guard delay > .zero, pause == nil,
            (try? context.channel.syncOptions?.setOption(.autoRead, value: false)) != nil
        else { return }
        resume(after: delay, meter, context)
    }

    /// Reads again when the address is within its budget.
    private func resume(after delay: Duration, _ meter: AddressMeter, _ context: ChannelHandlerContext) {
        let delay = TimeAmount.nanoseconds(delay.saturatedNanoseconds)
        pause = context.eventLoop.assumeIsolated().scheduleTask(in: delay) {
            self.pause = nil
            let rest = meter.charge(0)
            guard rest <= .zero else { return self.resume(after: rest, meter, context) }
            try? context.channel.syncOptions?.setOption(.autoRead, value: true)
        }
    }

    /// The connection has ended.
    func end() {
        pause?.cancel()
        pause = nil
        meter?.release()
        meter = nil
    }
}
