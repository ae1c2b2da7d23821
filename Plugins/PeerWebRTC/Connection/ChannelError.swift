internal import TransportPluginAPI

/// The errors of a channel that does not accept a message.
enum ChannelError {
    static let wouldBlock = TransportError(
        .wouldBlock, "the channel's send buffer is full: send again after channelWritable",
        isRetryable: true)

    static func notOpen(hasEnded: Bool) -> TransportError {
        hasEnded
            ? TransportError(.closed, "the channel is closed")
            : TransportError(.invalidState, "the channel is not open: wait for channelOpened")
    }

    static func tooLarge(_ count: Int, limit: Int) -> TransportError {
        TransportError(
            .messageTooLarge, "a message of \(count) bytes is over the \(limit) that the other side and this one accept"
        )
    }
}
