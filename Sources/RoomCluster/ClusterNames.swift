package import RoomProtocol

/// The name of a node: 1 to 64 characters of `A-Z a-z 0-9 - _ .`, the same after a restart.
package struct NodeID: Sendable, Hashable, Comparable, CustomStringConvertible {
    package let rawValue: String
    package init(_ rawValue: String) { self.rawValue = rawValue }
    package var description: String { rawValue }
    package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// One life of a node's process; a later one has a higher number.
///
/// The shell takes the microseconds since 1970 at the start of the process. Below 2^53, as everything that a script of
/// the store computes with.
package struct Incarnation: Sendable, Hashable, Comparable, CustomStringConvertible {
    package let rawValue: UInt64
    package init(_ rawValue: UInt64) { self.rawValue = rawValue }
    package var description: String { "\(rawValue)" }
    package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// Counts the claims of rooms, over all rooms; of two owners of one room, the one with the higher fence stays. It
/// travels in the room's session tokens. 0: none. Below 2^53.
package typealias Fence = UInt64

/// The identifier of a connection, or of a stream from another node, that waits for a route. Chosen by the shell.
package struct WaiterID: Sendable, Hashable, CustomStringConvertible {
    package let rawValue: UInt64
    package init(_ rawValue: UInt64) { self.rawValue = rawValue }
    package var description: String { "w\(rawValue)" }
}

/// The identifier of a request to the store. It is never reused.
package struct RequestID: Sendable, Hashable, CustomStringConvertible {
    package let rawValue: UInt64
    package init(_ rawValue: UInt64) { self.rawValue = rawValue }
    package var description: String { "?\(rawValue)" }
}

/// A hello that needs its room's owner.
package struct Waiter: Sendable, Hashable {
    package let id: WaiterID
    package let room: RoomName
    /// The fence in the hello's session token; 0 without one.
    package let fence: Fence
    /// The hello came over a link: it is not carried on to a third node.
    package let isRelayed: Bool
    /// The owners that have refused the hello because they were none.
    package internal(set) var misses = 0

    package init(_ id: WaiterID, for room: RoomName, fence: Fence = 0, isRelayed: Bool = false) {
        self.id = id
        self.room = room
        self.fence = fence
        self.isRelayed = isRelayed
    }
}
