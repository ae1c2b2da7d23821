internal import TransportPluginAPI

/// Looks up the names of servers for objects that live on a loop.
enum NameLookUp {
    /// Calls `body` on the loop with the addresses of a name, none when it does not resolve in time. Not called when
    /// `owner`, which is not kept, is gone.
    static func addresses<Owner: AnyObject>(
        of name: String, within time: Duration, on loop: TransportLoop, for owner: Owner,
        _ body: @escaping (Owner, [IPAddress]) -> Void
    ) {
        let reply = Reply(owner, body)
        let deadline = Timestamp.now() + time
        Task {
            let addresses = await resolve(name, deadline)
            loop.execute { reply.call(addresses) }
        }
    }

    private static func resolve(_ name: String, _ deadline: Timestamp) async -> [IPAddress] {
        do throws(TransportError) {
            return try await NameResolver.resolve(name, url: name, deadline: deadline).compactMap { IPAddress($0) }
        } catch { return [] }
    }

    private final class Reply<Owner: AnyObject>: @unchecked Sendable {
        // SAFETY: made and read on the loop only.
        private weak var owner: Owner?
        private let body: (Owner, [IPAddress]) -> Void

        init(_ owner: Owner, _ body: @escaping (Owner, [IPAddress]) -> Void) {
            self.owner = owner
            self.body = body
        }

        func call(_ addresses: [IPAddress]) { if let owner { body(owner, addresses) } }
    }
}
