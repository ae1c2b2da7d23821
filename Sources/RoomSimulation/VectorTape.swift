internal import RoomCore
internal import RoomProtocol
internal import TransportValues

/// Writes the calls of machines as lines of JSON, which the browser client's machines must reproduce: the machine, its
/// instance, the method and its arguments, the random numbers that it drew, its result and what there is to read of it
/// afterwards, where that has changed.
final class VectorTape {
    /// Takes the lines of a group of machines.
    private let sink: (_ group: String, _ line: String) -> Void
    /// The groups of machines that are recorded; nil: all.
    private let groups: Set<String>?
    private var encoder = VectorEncoder()
    /// By instance, what was last read of the machine.
    private var states: [String: [String: State]] = [:]

    private struct State {
        var value: Any
        var text: String
    }

    /// The generators of the rooms' machines after their last call.
    private var generators: [String: SeededGenerator] = [:]
    private var instances: [String: Int] = [:]

    init(groups: Set<String>? = nil, _ sink: @escaping (_ group: String, _ line: String) -> Void) {
        self.groups = groups
        self.sink = sink
    }

    /// The argument that stands for the generator of random numbers.
    static let random = VectorJSON(text: "{\"$random\":true}")

    /// The tape of one machine.
    struct Instance {
        let tape: VectorTape
        let group: String
        let machine: String
        let name: String

        /// The machine, as an argument of the calls of others.
        var reference: VectorJSON { VectorJSON(text: "{\"$machine\":\"\(machine) \(name)\"}") }

        func callAsFunction(
            _ method: String, _ arguments: [Any] = [], random: [UInt64] = [], _ result: Any? = nil,
            state: [(String, Any)] = []
        ) {
            tape.write(self, method, arguments, random, result, state)
        }
    }

    /// A machine's tape; nil where its group is not recorded.
    func instance(_ machine: String, _ name: String, group: String) -> Instance? {
        guard groups?.contains(group) ?? true else { return nil }
        return Instance(tape: self, group: group, machine: machine, name: name)
    }

    /// A name that no other instance has.
    func uniqueName(_ prefix: String) -> String {
        instances[prefix, default: 0] += 1
        return "\(prefix)#\(instances[prefix] ?? 0)"
    }

    private func write(
        _ instance: Instance, _ method: String, _ arguments: [Any], _ random: [UInt64], _ result: Any?,
        _ state: [(String, Any)]
    ) {
        var line = "{\"machine\":\"\(instance.machine)\",\"instance\":\"\(instance.name)\",\"method\":\"\(method)\""
        if !arguments.isEmpty { line += ",\"arguments\":\(encoder.encode(arguments))" }
        if !random.isEmpty { line += ",\"random\":\(encoder.encode(random.map { "\($0)" }))" }
        if let result {
            let text = encoder.encode(result)
            if text != "null", text != "[]" { line += ",\"result\":\(text)" }
        }
        let key = "\(instance.machine) \(instance.name)"
        var changes: [String] = []
        for (name, value) in state {
            let before = states[key]?[name]
            if let before, Self.areEqual(before.value, value) { continue }
            let text = encoder.encode(value)
            states[key, default: [:]][name] = State(value: value, text: text)
            if before?.text == text { continue }
            changes.append("\"\(name)\":\(text)")
        }
        if !changes.isEmpty { line += ",\"state\":{\(changes.joined(separator: ","))}" }
        sink(instance.group, line + "}")
    }

    /// Whether two values are equal, as far as their type says: to write a value takes longer.
    private static func areEqual(_ left: Any, _ right: Any) -> Bool {
        func isEqual<Value: Equatable>(_ left: Value) -> Bool { right as? Value == left }
        guard let left = left as? any Equatable else { return false }
        return isEqual(left)
    }

    // MARK: The rooms' machines

    /// Lets the machine of a participant take in a fact.
    func handle(_ event: RoomMachine.Event, _ machine: inout RoomMachine, name: String, now: Timestamp)
        -> [RoomMachine.Action]
    {
        guard let instance = instance("RoomMachine", name, group: "room") else {
            return machine.handle(event, now: now)
        }
        if generators[name] == nil {
            let mirror = Mirror(reflecting: machine)
            let (configuration, addresses) = (mirror.descendant("configuration"), mirror.descendant("addresses"))
            instance("init", [configuration as Any, addresses as Any], state: Self.state(of: machine))
        }
        let before = generators[name] ?? Self.generator(of: machine)
        let actions = machine.handle(event, now: now)
        let after = Self.generator(of: machine)
        generators[name] = after
        instance(
            "handle", [event, now, Self.random], random: after.drawn(since: before), actions,
            state: Self.state(of: machine))
        return actions
    }

    private static func generator(of machine: RoomMachine) -> SeededGenerator {
        guard let generator = Mirror(reflecting: machine).descendant("generator") as? SeededGenerator else {
            preconditionFailure("RoomMachine keeps its generator under another name")
        }
        return generator
    }

    private static func state(of machine: RoomMachine) -> [(String, Any)] {
        var peers: [String: PeerStatus] = [:]
        for participant in machine.participants {
            peers[participant.id.rawValue] = machine.peerStatus(of: participant.id)
        }
        return [
            ("isEnded", machine.isEnded), ("signalingStatus", machine.signalingStatus),
            ("membership", machine.membership as Any), ("participants", machine.participants),
            ("attributes", machine.attributes), ("queuedMessages", machine.queuedMessages), ("peerStatus", peers),
        ]
    }
}

extension SeededGenerator {
    /// The numbers that were drawn since `before`.
    func drawn(since before: SeededGenerator) -> [UInt64] {
        var generator = before
        var numbers: [UInt64] = []
        while generator != self { numbers.append(generator.next()) }
        return numbers
    }
}
