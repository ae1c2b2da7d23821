internal import RoomCore
internal import TransportValues

extension SeededGenerator {
    /// True with this probability.
    mutating func chance(_ probability: Double) -> Bool { Double.random(in: 0..<1, using: &self) < probability }

    mutating func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &self) }

    mutating func pick<Element>(_ elements: [Element]) -> Element {
        elements[Int.random(in: 0..<elements.count, using: &self)]
    }

    /// When a fault begins and how long it lasts: it is over by the end of the plan, and short ones are more likely.
    mutating func faultTime<Kind>(_ plan: FaultPlan<Kind>) -> (at: Duration, duration: Duration) {
        let at = plan.begin + duration(upTo: plan.end - .seconds(5) - plan.begin)
        return (at, min(duration(upTo: duration(upTo: plan.longest)), plan.end - at))
    }
}
