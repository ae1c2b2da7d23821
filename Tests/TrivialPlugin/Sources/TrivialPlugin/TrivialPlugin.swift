import TransportPluginAPI

/// A signaling transport that refuses every connection: enough to see that it is there and is called.
struct TrivialTransport: SignalingTransport {
    final class Connection: SignalingConnection {
        var closeReason: SignalingClose? { nil }
        func send(_ message: SignalingMessage) async throws(TransportError) { throw TransportError(.closed, "closed") }
        func receive() async throws(TransportError) -> SignalingMessage? { nil }
        func close(_ reason: SignalingClose, within deadline: Duration) async {}
        func abort() {}
    }

    func connect(to endpoint: SignalingEndpoint) async throws(TransportError) -> Connection {
        throw TransportError(.refused, "the trivial transport refuses \(endpoint.url)", isRetryable: false)
    }

    func shutdown() async {}
}

@_cdecl("room_plugin_register")
public func register(_ exchange: UnsafeMutableRawPointer) -> Int32 {
    registerTransports(exchange) { registry in
        let descriptor = PluginDescriptor(
            name: "trivial", summary: "Refuses every connection; proves that plugins load", capabilities: [])
        registry.register(SignalingPlugin(descriptor) { _ in TrivialTransport() })
    }
}
