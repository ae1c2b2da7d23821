import RoomProtocol
package import TransportValues
package import WebSocketWire

/// The budgets of addresses that a `hello` draws on, the same for all machines of a server.
///
/// Its methods are called synchronously, on the machine's thread.
package protocol AddressAuthority: Sendable {
    /// Counts a room for an address, unless it has too many.
    func openRoom(_ address: NetworkAddress, at now: Timestamp) -> Result<AddressTable.Place, AddressTable.RoomRefusal>
    /// The room that was counted there has ended.
    func roomEnded(_ place: AddressTable.Place)
    /// Returns the time after which join tokens from the address are looked at again; nil: now.
    func delayOfCredentials(_ address: NetworkAddress, at now: Timestamp) -> Duration?
    /// A first join with a valid join token. Returns the time after which it may be used again, if it may not now.
    func joined(withToken token: String, at now: Timestamp) -> Duration?
    /// A join token from the address was invalid.
    func credentialFailed(_ address: NetworkAddress, at now: Timestamp)
}

/// The rooms of one machine that are counted for addresses.
struct AddressAccounts: Sendable {
    var authority: (any AddressAuthority)?
    fileprivate var payers: [RoomName: AddressTable.Place] = [:]

    mutating func roomEnded(_ room: RoomName) {
        if let place = payers.removeValue(forKey: room) { authority?.roomEnded(place) }
    }
}

extension Effects {
    /// Counts a new room for the address of the client that opens it.
    mutating func payForRoom(_ room: RoomName, _ address: NetworkAddress?) throws(ProtocolError) {
        guard let address, let authority = addresses.authority else { return }
        switch authority.openRoom(address, at: now) {
        case .success(let place): addresses.payers[room] = place
        case .failure(let refusal):
            throw .tooManyRequests("Too many rooms were opened from this address.", window(after: refusal.delay))
        }
    }

    /// Returns the rights of a first join. Invalid tokens are counted for the address that they come from; when there
    /// were too many, no further one is looked at. Tokens that have only expired do not count. A valid one can be used
    /// so often, from whatever addresses.
    func authorize(_ hello: Hello, from address: NetworkAddress?) throws(ProtocolError) -> Admission {
        guard let token = hello.token, let address, let addresses = addresses.authority else {
            return try authority.authorize(hello)
        }
        if let delay = addresses.delayOfCredentials(address, at: now) {
            throw .tooManyRequests("Too many invalid join tokens came from this address.", window(after: delay))
        }
        let admission: Admission
        do throws(ProtocolError) { admission = try authority.authorize(hello) } catch {
            if error.code == .unauthorized { addresses.credentialFailed(address, at: now) }
            throw error
        }
        if let delay = addresses.joined(withToken: token, at: now) {
            throw .tooManyRequests("This join token is used too often.", window(after: delay))
        }
        return admission
    }

    private func window(after delay: Duration?) -> RetryWindow {
        let (window, delay) = (limits.retryAfter, delay ?? .zero)
        return (window.lowerBound + delay)...(window.upperBound + delay)
    }
}
