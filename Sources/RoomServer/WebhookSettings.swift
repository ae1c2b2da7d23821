internal import RoomServerCore

/// The receivers of events, checked and ready for use.
struct WebhookSettings: Sendable {
    let urls: [HTTPURL]
    let secrets: [[UInt8]]
    let limits: WebhookLimits
    private let tls: TLSClientContext?

    /// Reads the file of authorities. Throws a `RoomServerError` when something cannot work.
    init(_ hooks: RoomServerConfiguration.Webhooks) throws(RoomServerError) {
        var urls: [HTTPURL] = []
        for text in hooks.urls {
            let url = try HTTPURL(text)
            if !urls.contains(url) { urls.append(url) }
        }
        if !urls.isEmpty, hooks.secrets.isEmpty {
            throw RoomServerError(message: "Webhooks need a secret that signs them: --webhook-secret-file.")
        }
        for secret in hooks.secrets where secret.count < WebhookSecret.leastBytes {
            throw RoomServerError(
                message: "A webhook secret has \(secret.count) bytes, and needs at least \(WebhookSecret.leastBytes); "
                    + "make one with 'openssl rand -base64 32', with whsec_ in front.")
        }
        let isSecure = urls.contains(where: \.isSecure)
        self.urls = urls
        secrets = hooks.secrets
        limits = hooks.limits
        tls = isSecure ? try TLSClientContext(authoritiesFile: hooks.authoritiesFile) : nil
    }

    /// The settings of TLS for a URL; nil: it needs none.
    func tls(for url: HTTPURL) -> TLSClientContext? { url.isSecure ? tls : nil }
}
