/// How many faults cut the path from each participant to each other one, by their indices.
struct PathCuts {
    private let participants: Int
    /// Row by row.
    private var counts: [Int]

    init(participants: Int) {
        self.participants = participants
        counts = Array(repeating: 0, count: participants * participants)
    }

    func isCut(from: Int, to: Int) -> Bool { counts[from * participants + to] > 0 }

    mutating func change(from: Int, to: Int, by change: Int) { counts[from * participants + to] += change }
}
