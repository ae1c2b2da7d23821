/// The steps that a machine has decided on and not taken yet.
///
/// A step that leads to others does not take them: it adds them. The outermost call takes one step after the other
/// until none is left, those that a step has added before those that waited already. The storage is kept, so a step
/// costs no allocation.
struct Agenda<Step: Sendable>: Sendable {
    /// Since the last call of `next()`, in order.
    private var added: [Step] = []
    /// The next step is the last element.
    private var waiting: [Step] = []

    mutating func add(_ step: Step) { added.append(step) }

    /// Moves the actions of a part to the agenda.
    mutating func add<Action>(_ actions: inout [Action], as step: (Action) -> Step) {
        for action in actions { added.append(step(action)) }
        actions.removeAll(keepingCapacity: true)
    }

    /// No step is left.
    var isEmpty: Bool { added.isEmpty && waiting.isEmpty }

    /// Removes and returns the step that is to be taken now. There must be one.
    mutating func next() -> Step {
        // Most calls add one.
        if added.count == 1 { return added.removeLast() }
        while !added.isEmpty { waiting.append(added.removeLast()) }
        return waiting.removeLast()
    }
}
