internal import TransportPluginAPI

/// A message of the establishment protocol that waits to be sent: reliably and in order (RFC 8832 §6), independently of
/// its channel's parameters.
struct ControlMessage: Equatable {
    var channel: ChannelID
    var stream: UInt16
    var bytes: [UInt8]
}
