package import TransportValues

/// The flow control of one topic or stream at its receiver: how much has come, how much the application has consumed,
/// and up to where the sender may go on.
///
/// The sender may begin a message while it has sent less than the limit, so the last one may go beyond it. The limit
/// grows when half of the window is consumed. A reader that is as fast as the path gets a larger window: it doubles
/// when two grants come within two round trips.
package struct ReceiveWindow: Sendable, Equatable {
    /// The limit of both sides before the first grant, and the first size of the window.
    package static let initialSize: UInt64 = 262_144
    package static let maximumSize: UInt64 = 4 << 20
    /// Two grants within this time, or within two round trips if that is longer, double the window.
    package static let shortTime = Duration.milliseconds(100)

    /// The windows of all topics and streams of a connection together. New ones are always there; they grow only within
    /// the budget.
    package struct Budget: Sendable, Equatable {
        package static let maximum: UInt64 = 16 << 20
        package private(set) var used: UInt64 = 0

        package init() {}

        fileprivate mutating func add(_ size: UInt64) { used += size }
        fileprivate mutating func remove(_ size: UInt64) { used -= min(size, used) }
        fileprivate func hasRoom(for size: UInt64) -> Bool { used + size <= Self.maximum }
    }

    package private(set) var received: UInt64 = 0
    package private(set) var consumed: UInt64 = 0
    package private(set) var limit: UInt64
    package private(set) var size: UInt64
    private var lastGrant: Timestamp?

    package init(_ budget: inout Budget, size: UInt64 = Self.initialSize) {
        limit = size
        self.size = size
        budget.add(size)
    }

    /// A message of this cost has begun. False: the sender has gone beyond its limit; the message is dropped.
    package mutating func receive(_ cost: Int) -> Bool {
        guard received < limit else { return false }
        received += UInt64(cost)
        return true
    }

    /// The application has consumed so much. True: a grant is due.
    package mutating func consume(_ cost: Int) -> Bool {
        consumed = min(consumed + UInt64(cost), received)
        return isGrantDue
    }

    private var isGrantDue: Bool { consumed + size >= limit + size / 2 }

    /// Moves the limit, where half of the window is consumed. Returns the new limit, which is sent to the other side.
    package mutating func grant(
        now: Timestamp, roundTrip: Duration = .zero, _ budget: inout Budget
    ) -> UInt64? {
        guard isGrantDue else { return nil }
        if let lastGrant, now - lastGrant <= max(Self.shortTime, roundTrip * 2), size < Self.maximumSize,
            budget.hasRoom(for: size)
        {
            budget.add(size)
            size *= 2
        }
        lastGrant = now
        limit = consumed + size
        return limit
    }

    /// The sender has dropped messages: it has sent so much in all. False: that cannot be. True: a grant may be due.
    package mutating func skip(to sent: UInt64) -> Bool {
        guard sent > received, sent <= limit + Self.longestMessage else { return false }
        consumed += sent - received
        received = sent
        return true
    }

    /// More than the longest message costs, which may go beyond the limit.
    private static let longestMessage = UInt64(UInt32.max)

    /// Goes on within another budget: what has come counts as consumed. Returns the limit, which the sender may not
    /// have heard of.
    package mutating func restart(_ budget: inout Budget) -> UInt64 {
        consumed = received
        lastGrant = nil
        budget.add(size)
        if isGrantDue { limit = consumed + size }
        return limit
    }

    /// The stream has ended: its window is free for others.
    package func end(_ budget: inout Budget) { budget.remove(size) }
}

/// The flow control of one topic or stream at its sender.
package struct SendWindow: Sendable, Equatable {
    package private(set) var sent: UInt64 = 0
    package private(set) var limit: UInt64

    package init(limit: UInt64 = ReceiveWindow.initialSize) { self.limit = limit }

    /// Whether a message may begin.
    package var isOpen: Bool { sent < limit }

    /// A message of this cost begins. False: it has to wait.
    package mutating func begin(_ cost: Int) -> Bool {
        guard isOpen else { return false }
        sent += UInt64(cost)
        return true
    }

    /// The message was not taken after all.
    package mutating func undo(_ cost: Int) { sent -= min(UInt64(cost), sent) }

    /// The receiver grants more. False: it does not, and nothing changes.
    package mutating func grant(_ limit: UInt64) -> Bool {
        guard limit > self.limit else { return false }
        self.limit = limit
        return true
    }
}
