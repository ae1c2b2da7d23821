public import TransportPluginAPI

/// A join token, and its expiry. The content of the token is for the server: nothing here reads it.
public struct JoinCredential: Sendable, Hashable, ExpressibleByStringLiteral {
    /// The token to show to the server. A secret.
    public var value: String
    /// The time from which the token cannot be used any more. Nil when it is unknown or there is none.
    public var expiresAt: Timestamp?

    /// Creates a token that can be used for `validFor` from now. Nil: unknown, or without limit.
    public init(_ value: String, validFor: Duration? = nil) {
        self.value = value
        expiresAt = validFor.map(Timestamp.init(afterNow:))
    }

    /// Creates a token with an unknown expiry.
    public init(stringLiteral value: String) { self.init(value) }
}

/// A result of a token provider: a ``JoinCredential``, or a `String` with an unknown expiry.
public protocol JoinCredentialConvertible: Sendable {
    /// The token, and its expiry.
    var joinCredential: JoinCredential { get }
}

extension JoinCredential: JoinCredentialConvertible {
    /// This credential.
    public var joinCredential: JoinCredential { self }
}

extension String: JoinCredentialConvertible {
    /// A token with an unknown expiry.
    public var joinCredential: JoinCredential { JoinCredential(self) }
}

extension JoinCredential: CustomStringConvertible {
    /// Redacted: the token is a secret.
    public var description: String { "a join token" }
}

extension Timestamp {
    /// Creates a timestamp `duration` from now, at most a year.
    init(afterNow duration: Duration) { self = .now() + min(max(duration, .zero), .seconds(366 * 86_400)) }
}
