internal import RoomCore
internal import TransportValues

extension SeededGenerator {
    /// True with this probability.
    mutating func chance(_ probability: Double) -> Bool { Double.random(in: 0..<1, using: &self) < probability }

    mutating func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &self) }

    mutating func pick<Element>(_ elements: [Element]) -> Element {
        elements[Int.random(in: 0..<elements.count, using: &self)]
    }

    /// When a fault begins and how long it lasts: it is over by `end`, and short ones are more likely.
    mutating func faultTime(
        from begin: Duration, to end: Duration, longest: Duration
    ) -> (at: Duration, duration: Duration) {
        let at = begin + duration(upTo: end - .seconds(5) - begin)
        return (at, min(duration(upTo: duration(upTo: longest)), end - at))
    }
}
