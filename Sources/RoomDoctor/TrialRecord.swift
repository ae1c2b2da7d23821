package import RoomConnection
package import TransportPluginAPI

/// What came of two participants' attempt to use a room.
package struct TrialRecord: Sendable {
    /// A message that was sent in both directions.
    package struct Exchange: Sendable, Hashable {
        /// Bytes.
        package var size: Int
        /// Until it had come through in both directions; nil: it has not.
        package var time: Duration?

        package init(size: Int, time: Duration?) {
            self.size = size
            self.time = time
        }
    }
    /// The room that was joined, or was to be joined.
    package var room: String
    /// Whether only paths by relay were allowed.
    package var isRelayOnly: Bool
    /// Until both were in the room.
    package var joinTime: Duration?
    /// Why one of them is not in the room, or is not in it any more.
    package var failure: RoomError?
    /// The ICE servers that the two were given: the configuration's and the room server's.
    package var iceServers: [ICEServer] = []
    /// From then on until both were connected.
    package var connectTime: Duration?
    /// The path of one of them.
    package var path: PeerPath?
    /// Why they are not connected, as far as the room knows.
    package var stall: PeerStall?
    /// In the order in which they were sent. None was sent after one that did not come through.
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
