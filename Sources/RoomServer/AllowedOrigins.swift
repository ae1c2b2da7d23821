internal import WebSocketWire

/// The pages that may connect (RFC 6454; RFC 6455 §10.2).
struct AllowedOrigins: Sendable, Equatable {
    /// The origins, serialised as in browsers. Nil: every page may connect.
    private var origins: [String]?

    static let every = AllowedOrigins()

    private init() {}

    /// Creates the list. Throws when an entry is not an origin.
    init(_ origins: [String]?) throws(RoomServerError) {
        guard let origins else { return }
        var normalized: [String] = []
        for origin in origins {
            guard let origin = Self.normalized(origin) else {
                throw RoomServerError(
                    message:
                        "'\(origin)' is not an origin: write https://example.org, with :port if it is not the "
                        + "scheme's own, or null.")
            }
            normalized.append(origin)
        }
        self.origins = normalized
    }

    /// Returns whether the origin of the request may connect. Clients that are not browsers send no `Origin`.
    func contains(originOf request: RequestHead) -> Bool {
        guard let origins else { return true }
        let given = request.fields.values("origin")
        guard let first = given.first else { return true }
        guard given.count == 1, let origin = Self.normalized(first) else { return false }
        return origins.contains(origin)
    }

    /// Returns the origin in lower case, without the scheme's default port and a trailing slash. Nil: it is not an
    /// origin.
    private static func normalized(_ text: String) -> String? {
        var origin = text.lowercased()
        guard origin != "null" else { return origin }
        guard let colon = origin.firstIndex(of: ":"), origin[colon...].hasPrefix("://") else { return nil }
        if origin.hasSuffix("/") { origin.removeLast() }
        let scheme = origin[..<colon]
        let host = origin[colon...].dropFirst(3)
        guard !scheme.isEmpty, !host.isEmpty, !host.utf8.contains(where: { $0 <= 0x20 || $0 >= 0x7F }),
            !host.contains(where: { "/?#@,*".contains($0) })
        else { return nil }
        for (name, port) in [("http", ":80"), ("https", ":443")] where scheme == name && origin.hasSuffix(port) {
            origin.removeLast(port.count)
        }
        return origin
    }
}
