#if canImport(Observation)
    public import Observation
    public import RoomConnection

    /// The state of a room on the main actor, for user interfaces that observe objects.
    ///
    /// `run()` keeps it up to date; call it in a task that lives as long as the interface shows the room. It is a thin
    /// layer over `Room.snapshots`, which any other isolation can use directly.
    @MainActor @Observable public final class RoomModel {
        /// The room.
        public let room: Room
        /// The newest state of the room.
        public private(set) var snapshot: RoomSnapshot

        /// Creates a model with the present state of `room`.
        public init(_ room: Room) {
            self.room = room
            snapshot = room.snapshot
        }

        /// Takes up each new state, until the room has ended or the task is cancelled.
        public func run() async {
            for await snapshot in room.snapshots { self.snapshot = snapshot }
        }
    }
#endif
