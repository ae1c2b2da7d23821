internal import TransportPluginAPI

/// What libnice can use of a list of ICE servers.
struct Servers {
    struct Relay {
        var url: ICEServerURL
        /// The URL's, or one of its addresses.
        var host: String
        var username: String
        var credential: String

        /// Nil where it has a name.
        var address: IPAddress? { IPAddress(url.host) }
    }
    /// libnice asks one STUN server.
    private(set) var stun: ICEServerURL?
    private(set) var turn: [Relay] = []

    /// libnice's limit per component.
    static let maximumRelays = 8

    /// Throws `.invalidArgument` for a URL that is none, and for a TURN server without credentials. STUN and TURN over TLS are
    /// left out, since libnice does not speak TLS; lists usually name the plain ones beside them.
    init(_ servers: [ICEServer]) throws(TransportError) {
        for server in servers {
            for text in server.urls {
                let url = try ICEServerURL(text)
                switch url.scheme {
                case .stuns, .turns: continue
                case .stun: if stun == nil { stun = url }
                case .turn:
                    guard let username = server.username, let credential = server.credential, !username.isEmpty else {
                        throw TransportError(
                            .invalidArgument, "the ICE server '\(text.prefix(256))' needs a username and a credential")
                    }
                    // They go to C as strings that end with a zero.
                    guard username.utf8.count <= 512, credential.utf8.count <= 512, !username.utf8.contains(0),
                        !credential.utf8.contains(0)
                    else {
                        throw TransportError(
                            .invalidArgument, "the credentials of the ICE server '\(text.prefix(256))' are malformed")
                    }
                    if turn.count < Self.maximumRelays {
                        turn.append(Relay(url: url, host: url.host, username: username, credential: credential))
                    }
                }
            }
        }
    }
}
