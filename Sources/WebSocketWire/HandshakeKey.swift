/// The key that a client sends in its opening handshake, and the server's proof that it has read it (RFC 6455 §4.1,
/// §4.2.2).
public enum HandshakeKey {
    /// Bytes of the random value that a key stands for.
    static let nonceBytes = 16

    /// The value of `Sec-WebSocket-Accept` for the key.
    public static func accept(_ key: String) -> String {
        Base64.encode(SHA1.digest(of: (key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").utf8))
    }

    /// Whether a server takes the key.
    static func isValid(_ key: String) -> Bool { Base64.decode(key)?.count == nonceBytes }
}
