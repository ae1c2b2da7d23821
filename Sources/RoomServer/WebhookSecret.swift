internal import Hashing
package import Logging
internal import WebSocketWire

/// The secrets of webhooks and their signatures (Standard Webhooks 1.0, symmetric signatures).
package enum WebhookSecret {
    /// As the specification demands.
    static let leastBytes = 24
    private static let prefix = "whsec_"

    /// Returns the secrets of a file, one on each line: `whsec_` and base64, or any other text as its bytes. Blocks as
    /// long as the file system does.
    package static func all(_ path: String, _ logger: Logger) throws(RoomServerError) -> [[UInt8]] {
        var secrets: [[UInt8]] = []
        for line in try SecretFile.secret(path, logger).split(separator: 10) {
            let text = String(decoding: line.filter { $0 != 13 }, as: UTF8.self)
            guard !text.isEmpty else { continue }
            guard text.hasPrefix(prefix) else {
                secrets.append(Array(text.utf8))
                continue
            }
            guard let secret = Base64.decode(String(text.dropFirst(prefix.count))) else {
                throw RoomServerError(message: "\(path): what follows whsec_ is not base64.")
            }
            secrets.append(secret)
        }
        return secrets
    }

    /// Returns the value of `webhook-signature`: one signature for each secret.
    static func signatures(_ secrets: [[UInt8]], id: String, time: Int, body: [UInt8]) -> String {
        let signed = Array("\(id).\(time).".utf8) + body
        return secrets.map { "v1," + Base64.encode(Crypto.hmac(.sha256, key: $0, signed)) }.joined(separator: " ")
    }
}
