internal import RoomCluster
internal import RoomProtocol

/// The store of a cluster in Redis: requests as commands, replies as values.
struct RedisStore: Sendable {
    /// Separates clusters that share a server; the hash tag of all keys.
    private let prefix: String

    /// - Parameter cluster: The name of the cluster, without braces.
    init(cluster: String) { prefix = "{\(cluster)}:" }

    struct Call: Sendable, Hashable {
        var script: RedisScript
        var keys: [String]
        var arguments: [String]
    }

    func call(for request: StoreRequest) -> Call {
        switch request {
        case .renewLease(let lease, let milliseconds, let isFirst, let number):
            call(
                StoreScripts.renewLease, lease.node.rawValue, lease.incarnation.text, lease.address,
                lease.isDraining ? "1" : "0", String(milliseconds), isFirst ? "1" : "0", String(number))
        case .dropLease(let node, let incarnation): call(StoreScripts.dropLease, node.rawValue, incarnation.text)
        case .claim(let claim):
            call(
                StoreScripts.claim,
                [claim.room.rawValue, claim.node.rawValue, claim.incarnation.text, String(claim.seen), Self.markLimit]
                    + claim.gone.flatMap { [$0.node.rawValue, $0.incarnation.text, String($0.renewals)] })
        case .readRoom(let room): call(StoreScripts.readRoom, room.rawValue)
        case .readNodes: call(StoreScripts.readNodes)
        case .reassert(let node, let incarnation, let assertions):
            call(
                StoreScripts.reassert,
                [node.rawValue, incarnation.text, Self.markLimit]
                    + assertions.flatMap { [$0.room.rawValue, String($0.fence)] })
        case .release(let room, let node, let incarnation, let fence):
            call(StoreScripts.release, room.rawValue, node.rawValue, incarnation.text, String(fence))
        case .writeMarks(let marks):
            call(
                StoreScripts.writeMarks,
                [Self.markLimit]
                    + marks.flatMap { [$0.room.rawValue, $0.mark.text, String($0.milliseconds), String($0.fence)] })
        }
    }

    private static let markLimit = String(Mark.limit)

    private func call(_ script: RedisScript, _ arguments: String...) -> Call { call(script, arguments) }

    private func call(_ script: RedisScript, _ arguments: [String]) -> Call {
        Call(script: script, keys: [prefix + "fence"], arguments: [prefix] + arguments)
    }

    /// Reads a reply. `.failed` for one that no script of this version gives.
    static func reply(_ value: RESPValue) -> StoreReply {
        guard let parts = value.elements, let kind = parts.first?.text else { return .failed }
        switch (kind, parts.count) {
        case ("done", 1): return .done
        case ("superseded", 1): return .superseded
        case ("noLease", 1): return .noLease
        case ("free", 1): return .free
        case ("renewed", 4):
            guard let held = parts[1].integer, let losses = parts[2].number, let birth = parts[3].number else {
                return .failed
            }
            return .renewed(wasHeld: held == 1, losses: losses, birth: birth)
        case ("owner", 7):
            guard let record = record(parts[1...3]), let lease = lease(Array(parts[1...2] + parts[4...6])) else {
                return .failed
            }
            return .owner(record, lease)
        case ("nodes", 2):
            guard let nodes = parts[1].elements else { return .failed }
            return .nodes(nodes.compactMap { $0.elements.flatMap(lease) }.sorted { $0.node < $1.node })
        case ("claimed", 4):
            guard let fence = parts[1].number, let marks = parts[2].elements, let previous = parts[3].elements else {
                return .failed
            }
            return .claimed(
                fence, marks.compactMap { $0.text.flatMap(Mark.init(text:)) }, previous: record(previous[...]))
        case ("asserted", 2):
            guard let outcomes = parts[1].elements else { return .failed }
            var read: [AssertionOutcome] = []
            for outcome in outcomes {
                guard let parts = outcome.elements, parts.count >= 2 else { return .failed }
                if parts[0].text == "kept", parts.count == 3, let fence = parts[1].number,
                    let marks = parts[2].elements
                {
                    read.append(.kept(fence, marks.compactMap { $0.text.flatMap(Mark.init(text:)) }))
                } else if parts[0].text == "lost", let record = record(parts[1...]) {
                    read.append(.lost(record))
                } else {
                    return .failed
                }
            }
            return .asserted(read)
        default: return .failed
        }
    }

    private static func lease(_ parts: [RESPValue]) -> NodeLease? {
        guard parts.count == 5, let node = parts[0].text, let incarnation = parts[1].number,
            let address = parts[2].text, let renewals = parts[4].number
        else { return nil }
        var lease = NodeLease(node: NodeID(node), incarnation: Incarnation(incarnation), address: address)
        lease.isDraining = parts[3].text == "1"
        lease.renewals = renewals
        return lease
    }

    private static func record(_ parts: ArraySlice<RESPValue>) -> RoomRecord? {
        guard parts.count == 3, let node = parts.first?.text, let incarnation = parts.dropFirst().first?.number,
            let fence = parts.last?.number
        else { return nil }
        return RoomRecord(node: NodeID(node), incarnation: Incarnation(incarnation), fence: fence)
    }
}

extension Incarnation {
    fileprivate var text: String { String(rawValue) }
}

extension RESPValue {
    fileprivate var number: UInt64? { integer.flatMap { UInt64(exactly: $0) } }
}
