package import RoomConnection
package import TransportPluginAPI

/// The results of two participants' trial of a room.
package struct TrialRecord: Sendable {
    /// A message that was sent in both directions.
    package struct Exchange: Sendable, Hashable {
        /// The size in bytes.
        package var size: Int
        /// The time until it had arrived in both directions; nil when it did not.
        package var time: Duration?
    }
    /// The room that was, or should have been, joined.
    package var room: String
    /// Whether only relayed paths were allowed.
    package var isRelayOnly: Bool
    /// The time until both were in the room.
    package var joinTime: Duration?
    /// The reason why one of them is not in the room, or not any more.
    package var failure: RoomError?
    /// The ICE servers of both participants: the configuration's and the room server's.
    package var iceServers: [ICEServer] = []
    /// The time from then until both were connected.
    package var connectTime: Duration?
    /// The path of one of them.
    package var path: PeerPath?
    /// The reason why they are not connected, as far as the room knows it.
    package var stall: PeerStall?
    /// The exchanged messages, in order. None was sent after one that did not arrive.
    package var exchanges: [Exchange] = []

    package init(room: String, isRelayOnly: Bool) {
        self.room = room
        self.isRelayOnly = isRelayOnly
    }

    /// Whether one of the ICE servers is a relay.
    package var hasRelays: Bool {
        iceServers.contains { $0.urls.contains { $0.lowercased().hasPrefix("turn") } }
    }
}
