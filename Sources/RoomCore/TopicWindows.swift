package import RoomProtocol
package import TransportValues

/// The limits of topics between two participants, in each direction.
package enum TopicLimits {
    package static let topics = 256
    /// The cost of a message beside its body, in both windows: what it takes to keep even an empty one.
    package static let overhead = 64

    package static func cost(ofBody count: Int) -> Int { count + overhead }
}

/// The topics on which this side sends to one participant, each with its window.
package struct TopicSender: Sendable {
    package enum Start: Sendable, Equatable {
        case begun
        /// The receiver has not consumed enough: wait for its grant.
        case wait
        /// There are too many topics already.
        case tooMany
    }

    private var windows: [ByteText: SendWindow] = [:]
    private let window: UInt64

    /// `window`: the first limit of each topic.
    package init(window: UInt64 = ReceiveWindow.initialSize) { self.window = window }

    /// A message with a body of so many bytes is to be sent.
    package mutating func begin(_ topic: ByteText, count: Int) -> Start {
        guard windows[topic] != nil || windows.count < TopicLimits.topics else { return .tooMany }
        return windows[topic, default: SendWindow(limit: window)].begin(TopicLimits.cost(ofBody: count))
            ? .begun : .wait
    }

    /// The message that has begun was not taken.
    package mutating func undo(_ topic: ByteText, count: Int) {
        windows[topic]?.undo(TopicLimits.cost(ofBody: count))
    }

    /// Whether a message may begin.
    package func isOpen(_ topic: ByteText) -> Bool { windows[topic]?.isOpen ?? true }

    /// The receiver grants more. Nil: there is no such topic. True: those that wait for the topic may go on.
    package mutating func grant(_ topic: ByteText, limit: UInt64) -> Bool? { windows[topic]?.grant(limit) }

    /// The topics with what was sent of each.
    package var positions: [(name: ByteText, sent: UInt64)] {
        windows.map { ($0.key, $0.value.sent) }.sorted {
            $0.name.text.utf8.lexicographicallyPrecedes($1.name.text.utf8)
        }
    }
}

/// The topics on which one participant sends to this side, each with its window.
package struct TopicReceiver: Sendable {
    private struct Entry: Sendable {
        let name: ByteText
        var window: ReceiveWindow
    }

    private var entries: [Entry] = []
    private var indices: [ByteText: Int] = [:]
    /// Most messages are of the same topic as the one before.
    private var recent = 0
    private let window: UInt64

    /// `window`: the first size of each topic's.
    package init(window: UInt64 = ReceiveWindow.initialSize) { self.window = window }

    /// Returns the number of a topic. Nil: there are too many.
    package mutating func index(
        of name: UnsafeRawBufferPointer, _ budget: inout ReceiveWindow.Budget
    ) -> Int? {
        if recent < entries.count, entries[recent].name.text.hasSameBytes(as: name) { return recent }
        let topic = ByteText(String(decoding: name, as: UTF8.self))
        if let index = indices[topic] {
            recent = index
            return index
        }
        guard entries.count < TopicLimits.topics else { return nil }
        recent = entries.count
        entries.append(Entry(name: topic, window: ReceiveWindow(&budget, size: window)))
        indices[topic] = recent
        return recent
    }

    package func name(of index: Int) -> String { entries[index].name.text }

    /// A message with a body of so many bytes has come. False: the sender has gone beyond its limit.
    package mutating func receive(_ index: Int, count: Int) -> Bool {
        entries[index].window.receive(TopicLimits.cost(ofBody: count))
    }

    /// Messages of this cost in all were consumed. True: a grant is due.
    package mutating func consume(_ index: Int, cost: Int) -> Bool { entries[index].window.consume(cost) }

    /// Moves the limit of a topic. Returns the new one, which is sent to the other side; nil: none is due.
    package mutating func grant(
        _ index: Int, now: Timestamp, _ budget: inout ReceiveWindow.Budget
    ) -> UInt64? {
        entries[index].window.grant(now: now, &budget)
    }

    /// The sender had given this side up, and has sent so much of a topic in all. False: that cannot be.
    package mutating func skip(_ index: Int, to sent: UInt64) -> Bool { entries[index].window.skip(to: sent) }

    /// Goes on with a budget of its own. Returns the topics with their limits.
    package mutating func restart(_ budget: inout ReceiveWindow.Budget) -> [(name: ByteText, limit: UInt64)] {
        entries.indices.map { (entries[$0].name, entries[$0].window.restart(&budget)) }
    }
}

extension String {
    fileprivate func hasSameBytes(as bytes: UnsafeRawBufferPointer) -> Bool {
        utf8.count == bytes.count && utf8.elementsEqual(bytes)
    }
}
