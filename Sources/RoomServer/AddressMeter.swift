internal import RoomServerCore
internal import TransportPluginAPI
internal import WebSocketWire

/// A counter of the messages, frames and requests from one address over the connections of one loop. Lives on the loop.
final class AddressMeter {
    private var budget: OverdrawableBudget
    /// The connections that hold it.
    fileprivate(set) var users = 0

    fileprivate init(_ limits: AddressLimits) {
        budget = OverdrawableBudget(rate: limits.messagesPerSecond, burst: limits.messageBurst)
    }

    /// Takes what has come, and returns how long to read nothing more.
    func charge(_ amount: Int) -> Duration { budget.charge(amount, at: .now()) }

    /// A connection of the address has ended.
    func release() { users -= 1 }

    fileprivate func isOfNoUse(at now: Timestamp) -> Bool { users == 0 && budget.isFull(at: now) }
}

/// The meters of one loop. Those without a connection are kept while their budget is not full.
final class AddressMeters {
    private let limits: AddressLimits
    private var meters: [AddressGroup: AddressMeter] = [:]
    private var limit = AddressMeters.fewest

    private static let fewest = 1024

    init(_ limits: AddressLimits) { self.limits = limits }

    /// Returns the meter of an address for one more connection, or nil if there is no limit.
    func meter(for address: NetworkAddress) -> AddressMeter? {
        guard limits.messagesPerSecond > 0 else { return nil }
        let group = AddressGroup(address)
        let meter = meters[group] ?? AddressMeter(limits)
        meters[group] = meter
        meter.users += 1
        if meters.count > limit { forget() }
        return meter
    }

    /// At most once for as many new addresses as are kept.
    private func forget() {
        let now = Timestamp.now()
        meters = meters.filter { !$0.value.isOfNoUse(at: now) }
        // From so many addresses, debts are forgotten as well.
        if meters.count > limits.remembered { meters = meters.filter { $0.value.users > 0 } }
        limit = max(Self.fewest, meters.count * 2)
    }
}
