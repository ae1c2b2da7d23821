internal import TransportPluginAPI

/// The servers of a list that can be used here. Others are left out; they were refused where the list was made.
struct Servers {
    struct Relay {
        var url: ICEServerURL
        /// The URL's host, or one of its addresses.
        var host: String
        var username: String
        var credential: String

        /// The address in the URL. Nil where that has a name.
        var address: IPAddress? { IPAddress(url.host) }
    }
    /// Servers that are asked for server-reflexive addresses, each once: the STUN servers, and behind them the TURN
    /// servers on UDP, which answer such questions too (RFC 8656 §7.3).
    private(set) var stun: [ICEServerURL] = []
    private(set) var turn: [Relay] = []

    /// libnice's limit per component.
    static let maximumRelays = 8
    static let maximumSTUN = 8

    /// STUN and TURN over TLS are left out, since libnice does not speak TLS; lists usually name the plain ones beside
    /// them.
    init(_ servers: [ICEServer]) {
        for server in servers {
            for text in server.urls {
                guard let url = try? ICEServerURL(text, of: server) else { continue }
                switch url.scheme {
                case .stuns, .turns: continue
                case .stun: ask(url)
                case .turn:
                    guard let username = server.username, let credential = server.credential else { continue }
                    let isKnown = turn.contains {
                        $0.url == url && $0.username == username && $0.credential == credential
                    }
                    if !isKnown, turn.count < Self.maximumRelays {
                        turn.append(Relay(url: url, host: url.host, username: username, credential: credential))
                    }
                }
            }
        }
        for relay in turn where relay.url.transport == .udp { ask(relay.url) }
    }

    private mutating func ask(_ url: ICEServerURL) {
        guard stun.count < Self.maximumSTUN, !stun.contains(where: { $0.host == url.host && $0.port == url.port })
        else { return }
        stun.append(url)
    }
}
