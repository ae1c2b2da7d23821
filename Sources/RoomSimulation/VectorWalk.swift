internal import RoomCore
internal import RoomProtocol
internal import RoomValues
internal import TransportValues

/// A random walk through the states of one machine: facts in any order, at any time, with every call recorded.
struct VectorWalk<Machine, Action> {
    private(set) var machine: Machine
    private let tape: VectorTape.Instance?
    /// The state that can be read of the machine.
    private let state: (Machine) -> [(String, Any)]
    /// The machine's random numbers. Those of the walk are drawn from `dice`.
    private var generator: SeededGenerator
    var dice: SeededGenerator
    var now = Timestamp.zero

    init(
        _ machine: Machine, _ arguments: [Any], on tape: VectorTape, name: String = "\(Machine.self)",
        instance: String = "\(Machine.self)", seed: UInt64, state: @escaping (Machine) -> [(String, Any)] = { _ in [] }
    ) {
        self.machine = machine
        self.state = state
        self.tape = tape.instance(name, tape.uniqueName(instance), group: "walks")
        generator = SeededGenerator(seed: seed)
        dice = SeededGenerator(seed: ~seed)
        self.tape?("init", arguments, state: state(machine))
    }

    /// The argument that stands for the machine in calls of others.
    var reference: VectorJSON { tape?.reference ?? VectorJSON(text: "null") }

    /// Makes a call that decides about actions.
    @discardableResult
    mutating func call(
        _ method: String, _ arguments: [Any],
        _ body: (inout Machine, inout SeededGenerator, inout [Action]) -> Void
    ) -> [Action] {
        record(method, arguments, body) { $1 }
    }

    /// Makes a call that decides about actions, and has a result.
    @discardableResult
    mutating func decide(
        _ method: String, _ arguments: [Any],
        _ body: (inout Machine, inout SeededGenerator, inout [Action]) -> Bool
    ) -> [Action] {
        record(method, arguments, body) { (value: $0, actions: $1) }
    }

    /// `result`: as the tape has it.
    private mutating func record<Value>(
        _ method: String, _ arguments: [Any],
        _ body: (inout Machine, inout SeededGenerator, inout [Action]) -> Value,
        result: (Value, [Action]) -> Any
    ) -> [Action] {
        let before = generator
        var actions: [Action] = []
        let value = body(&machine, &generator, &actions)
        tape?(
            method, arguments, random: generator.drawn(since: before), result(value, actions), state: state(machine))
        return actions
    }

    /// Makes a call with a result.
    @discardableResult
    mutating func ask<Result>(_ method: String, _ arguments: [Any], _ body: (inout Machine) -> Result) -> Result {
        let result = body(&machine)
        tape?(method, arguments, result is Void ? nil : result, state: state(machine))
        return result
    }

    // MARK: Chance

    mutating func chance(_ probability: Double) -> Bool { dice.chance(probability) }
    mutating func number(_ range: ClosedRange<Int>) -> Int { dice.number(range) }
    mutating func pick<Element>(_ elements: [Element]) -> Element { dice.pick(elements) }

    /// Lets time pass: mostly a little, now and then much.
    mutating func pass(upTo limit: Duration = .seconds(2)) {
        let most = chance(0.1) ? limit * 5 : chance(0.5) ? limit : .milliseconds(60)
        now = now + dice.duration(upTo: most)
    }

    /// Lets the timer of `deadline` fire, with this probability and where there is one.
    mutating func fires(_ deadline: inout Timestamp?, _ probability: Double) -> Bool {
        guard let due = deadline, chance(probability) else { return false }
        deadline = nil
        pass(to: due)
        return true
    }

    /// Lets time pass until a timer fires, which may be early or late.
    mutating func pass(to deadline: Timestamp) {
        let late: Duration = chance(0.1) ? .milliseconds(2500) : .milliseconds(20)
        now = max(now, chance(0.05) ? deadline - .milliseconds(1) : deadline + dice.duration(upTo: late))
    }
}
