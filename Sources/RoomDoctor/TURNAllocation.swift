internal import COpenSSL

/// The answer of a TURN server to an Allocate request.
package enum TURNOutcome: Sendable, Hashable {
    case allocated
    /// The server requires credentials, and there are none.
    case needsCredentials
    /// The server did not accept the credentials (401).
    case unauthorized
    /// Any other error.
    case refused(code: Int, reason: String)
    case failed(ProbeFailure)

    /// Whether another request with the same credentials cannot get more.
    package var isFinal: Bool {
        switch self {
        case .needsCredentials, .unauthorized, .failed(.refused), .failed(.timedOut): true
        case .allocated, .refused, .failed(.failed): false
        }
    }
}

/// Allocates with long-term credentials (RFC 8656 §7, RFC 8489 §9.2), and releases the allocation at once.
struct TURNAllocation {
    private enum Method {
        static let allocate: UInt16 = 0x0003
        static let refresh: UInt16 = 0x0004
    }

    let username: String?
    let password: String?

    /// Runs the transaction. `exchange` sends a request and returns the answer to it; `send` sends without waiting.
    func run(
        exchange: (STUNMessage, [UInt8]) throws(ProbeFailure) -> STUNMessage,
        send: ([UInt8]) throws(ProbeFailure) -> Void
    ) -> TURNOutcome {
        do throws(ProbeFailure) {
            // RFC 8656 §7.1: the relay should use UDP, 17.
            let udp = STUNMessage.Attribute(.requestedTransport, [17, 0, 0, 0])
            var request = STUNMessage(
                type: Method.allocate, transaction: STUNMessage.newTransaction(), attributes: [udp])
            var answer = try exchange(request, request.bytes)
            var key: [UInt8]?
            // A nonce may have become stale in between (438): the server gives a new one, once.
            for _ in 0..<2 {
                guard let error = answer.error, error.code == 401 && key == nil || error.code == 438,
                    let realm = answer.value(of: .realm), let nonce = answer.value(of: .nonce)
                else { break }
                guard let username, let password else { return .needsCredentials }
                let newKey = Self.key(username, realm, password)
                request = STUNMessage(
                    type: Method.allocate, transaction: STUNMessage.newTransaction(),
                    attributes: [udp] + Self.credentials(username, realm, nonce))
                answer = try exchange(request, request.signed { Self.hmac(newKey, $0) })
                key = newKey
            }
            if answer.isSuccess {
                if let key { try send(release(request, key)) }
                return .allocated
            }
            guard let error = answer.error else { return .failed(.failed("the answer does not belong to Allocate")) }
            return error.code == 401 ? .unauthorized : .refused(code: error.code, reason: error.reason)
        } catch {
            return .failed(error)
        }
    }

    /// Releases the allocation: RFC 8656 §8, a lifetime of 0 ends it.
    private func release(_ allocate: STUNMessage, _ key: [UInt8]) -> [UInt8] {
        let requestedTransport = STUNMessage.AttributeType.requestedTransport.rawValue
        let credentials = allocate.attributes.filter { $0.type != requestedTransport }
        let lifetime = STUNMessage.Attribute(.lifetime, [0, 0, 0, 0])
        return STUNMessage(
            type: Method.refresh, transaction: STUNMessage.newTransaction(), attributes: [lifetime] + credentials
        ).signed { Self.hmac(key, $0) }
    }

    static func credentials(
        _ username: String, _ realm: [UInt8], _ nonce: [UInt8]
    ) -> [STUNMessage.Attribute] {
        [
            .init(.username, Array(username.utf8)),
            .init(.realm, realm),
            .init(.nonce, nonce),
        ]
    }

    /// Computes the key of RFC 8489 §9.2.2, without SASLprep, which leaves ASCII unchanged.
    static func key(_ username: String, _ realm: [UInt8], _ password: String) -> [UInt8] {
        let text = Array("\(username):".utf8) + realm + Array(":\(password)".utf8)
        var digest = [UInt8](repeating: 0, count: 16)
        EVP_Digest(text, text.count, &digest, nil, EVP_md5(), nil)
        return digest
    }

    static func hmac(_ key: [UInt8], _ message: [UInt8]) -> [UInt8] {
        var code = [UInt8](repeating: 0, count: 20)
        HMAC(EVP_sha1(), key, Int32(key.count), message, message.count, &code, nil)
        return code
    }
}
