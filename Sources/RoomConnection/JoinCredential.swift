public import TransportPluginAPI

/// A join token, and when it expires. What the token itself says is the server's business: nothing of it is read here.
public struct JoinCredential: Sendable, Hashable, ExpressibleByStringLiteral {
    /// What the server is shown. A secret.
    public var value: String
    /// When it cannot be used any more. Nil: not known, or never.
    public var expiresAt: Timestamp?

    /// A token that can be used for `validFor` from now on. Nil: for how long is not known, or for ever.
    public init(_ value: String, validFor: Duration? = nil) {
        self.value = value
        expiresAt = validFor.map(Timestamp.init(afterNow:))
    }

    /// A token whose end is not known.
    public init(stringLiteral value: String) { self.init(value) }
}

/// What a token provider may give: a ``JoinCredential``, or a `String` whose end is not known.
public protocol JoinCredentialConvertible: Sendable {
    /// The token, and when it expires.
    var joinCredential: JoinCredential { get }
}

extension JoinCredential: JoinCredentialConvertible {
    /// Itself.
    public var joinCredential: JoinCredential { self }
}

extension String: JoinCredentialConvertible {
    /// A token whose end is not known.
    public var joinCredential: JoinCredential { JoinCredential(self) }
}

extension JoinCredential: CustomStringConvertible {
    /// Not the token, which is a secret.
    public var description: String { "a join token" }
}

extension Timestamp {
    /// So long from now on; at most a year.
    init(afterNow duration: Duration) { self = .now() + min(max(duration, .zero), .seconds(366 * 86_400)) }
}
