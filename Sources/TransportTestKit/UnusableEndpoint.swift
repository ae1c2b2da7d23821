package import TransportPluginAPI

/// An endpoint with a value that would add lines to the opening handshake, or that no server can have.
package enum UnusableEndpoint: String, Sendable, CaseIterable {
    case headerValue, headerName, path, subprotocol, host, emptyServerName

    package func apply(to endpoint: inout SignalingEndpoint) {
        switch self {
        case .headerValue: endpoint.headers = [("X", "a\r\nEvil: 1")]
        case .headerName: endpoint.headers = [("X\r\nEvil", "1")]
        case .path: endpoint.path = "/ HTTP/1.1\r\nEvil: 1"
        case .subprotocol: endpoint.subprotocols = ["a\r\nb"]
        case .host: endpoint.host = "127.0.0.1\r\n"
        case .emptyServerName: endpoint.tls.serverName = ""
        }
    }
}
