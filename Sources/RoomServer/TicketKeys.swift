internal import COpenSSL
internal import Glibc
internal import Hashing
internal import Synchronization

/// The keys of session tickets (RFC 8446 §4.6.1), one for each hour, derived from the key that signs sessions. So a
/// client resumes TLS after a change of the certificate, after a restart, and at every server with that key.
final class TicketKeys: Sendable {
    /// One key.
    struct Key: Sendable, Equatable {
        let name: [UInt8]
        let cipher: [UInt8]
        let mac: [UInt8]
    }

    private struct State {
        var secrets: [[UInt8]]
        var hour = Int.min
        /// The key of this hour first, then those with which older tickets were made, and that of the next hour: clocks
        /// of servers differ.
        var keys: [Key] = []
    }

    /// Seconds for which a key makes tickets. A ticket is accepted for `lifetime`, which two more keys cover.
    private static let period = 3600
    static let lifetime = 2 * period
    /// Separates these keys from any other use of the secret.
    private static let purpose = Array("room tls ticket v1 ".utf8)

    private let state: Mutex<State>
    /// Returns the seconds since 1970.
    private let now: @Sendable () -> Int

    /// - Parameter secrets: The one that makes tickets, then earlier ones. None: a random one, whose tickets are valid
    ///   at this server only, and until it ends.
    init(secrets: [[UInt8]], now: @escaping @Sendable () -> Int = { Int(time(nil)) }) {
        state = Mutex(Self.state(secrets))
        self.now = now
    }

    func replace(secrets: [[UInt8]]) { state.withLock { $0 = Self.state(secrets) } }

    private static func state(_ secrets: [[UInt8]]) -> State {
        State(secrets: secrets.isEmpty ? [Crypto.randomBytes(32)] : secrets)
    }

    /// The key for new tickets.
    var current: Key { upToDate()[0] }

    /// Returns the key with this name; nil when it is unknown or too old.
    func key(named name: UnsafeBufferPointer<UInt8>) -> Key? { upToDate().first { $0.name.elementsEqual(name) } }

    private func upToDate() -> [Key] {
        let hour = now() / Self.period
        return state.withLock { state in
            if state.hour != hour {
                state.hour = hour
                state.keys = state.secrets.flatMap { secret in
                    [hour, hour - 1, hour - 2, hour + 1].map { Self.key(secret, $0) }
                }
            }
            return state.keys
        }
    }

    private static func key(_ secret: [UInt8], _ hour: Int) -> Key {
        func part(_ number: UInt8) -> [UInt8] {
            let time = withUnsafeBytes(of: Int64(hour).bigEndian) { Array($0) }
            return Crypto.hmac(.sha256, key: secret, purpose + time + [number])
        }
        return Key(
            name: Array(part(0).prefix(COpenSSL_ticket_name_length)), cipher: part(1), mac: part(2))
    }
}

extension TicketKeys {
    /// Makes a context use these keys. They must live as long as the context's connections.
    func serve(_ context: OpaquePointer) -> Bool {
        _ = SSL_CTX_set_timeout(context, Self.lifetime)
        return SSL_CTX_set_ex_data(context, 0, Unmanaged.passUnretained(self).toOpaque()) == 1
            && SSL_CTX_set_tlsext_ticket_key_evp_cb(context, protectTicket) == 1
    }
}

/// SSL_CTX_set_tlsext_ticket_key_evp_cb(3). Returns 0: no ticket, or an unknown one; 1: as prepared; 2: so, but the
/// client should get a new one; -1: failed.
private func protectTicket(
    _ ssl: OpaquePointer?, _ name: UnsafeMutablePointer<UInt8>?, _ iv: UnsafeMutablePointer<UInt8>?,
    _ cipher: OpaquePointer?, _ mac: OpaquePointer?, _ isNew: Int32
) -> Int32 {
    guard let name, let iv, let data = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), 0) else { return -1 }
    let keys = Unmanaged<TicketKeys>.fromOpaque(data).takeUnretainedValue()
    // A ticket of TLS 1.2 contains the keys of its session: with the secret, learned later, a recorded connection could
    // be read. Those of TLS 1.3 serve only together with a new key exchange.
    guard SSL_version(ssl) != TLS1_2_VERSION else { return 0 }
    guard isNew == 0 else {
        let key = keys.current
        guard RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) == 1 else { return -1 }
        for (index, byte) in key.name.enumerated() { name[index] = byte }
        return COpenSSL_use_ticket_key(cipher, mac, key.cipher, key.mac, iv, 1) == 1 ? 1 : -1
    }
    let given = UnsafeBufferPointer(start: name, count: COpenSSL_ticket_name_length)
    guard let key = keys.key(named: given) else { return 0 }
    // Always a new one: a client uses each ticket once (RFC 8446 §C.4).
    return COpenSSL_use_ticket_key(cipher, mac, key.cipher, key.mac, iv, 0) == 1 ? 2 : -1
}
