internal import NIOCore
internal import RoomProtocol
internal import RoomServerCore
internal import TransportPluginAPI

/// A client of another node as a connection of its room's loop, on which it lives.
final class RemoteConnection: ServerConnection {
    private let loop: ServerLoop
    private let node: NIOLoopBound<ClusterNode>
    private let stream: RemoteStream
    private var id: ConnectionID?
    var needsFlush = false
    var isHeld = false
    var helloAt: Timestamp?
    private var waiting: [[UInt8]] = []

    init(_ stream: RemoteStream, on loop: ServerLoop, of node: NIOLoopBound<ClusterNode>) {
        self.stream = stream
        self.loop = loop
        self.node = node
    }

    // MARK: From the client

    /// Begins with the client's hello.
    func begin(_ hello: [UInt8], address: String) {
        let id = loop.register(self)
        self.id = id
        loop.connected(id)
        loop.received(hello, from: id)
    }

    func received(_ text: [UInt8]) {
        if let id { loop.received(text, from: id) }
        tell { node, stream in node.took(text.count, from: stream) }
    }

    func receivedFrame() { if let id { loop.receivedFrame(from: id) } }

    /// The client, or the link to its node, is gone.
    func ended() {
        guard let id else { return }
        self.id = nil
        loop.disconnected(id)
    }

    // MARK: To the client

    func write(_ text: [UInt8]) { waiting.append(text) }

    func flush() {
        guard !isHeld, !waiting.isEmpty else { return }
        let texts = waiting
        waiting = []
        tell { node, stream in node.send(texts, to: stream) }
    }

    func close(_ code: CloseCode) {
        isHeld = false
        flush()
        id = nil
        tell { node, stream in node.close(stream, code: code.rawValue) }
    }

    func abort() {
        id = nil
        waiting = []
        tell { node, stream in node.abort(stream) }
    }

    /// The room has another owner by now.
    func refuse() {
        id = nil
        tell { node, stream in node.refuse(stream, .notOwner) }
    }

    private func tell(_ body: @escaping @Sendable (ClusterNode, RemoteStream) -> Void) {
        let (node, stream) = (node, stream)
        node.eventLoop.execute { body(node.value, stream) }
    }
}

/// A stream of a link that another node has opened.
struct RemoteStream: Sendable, Hashable {
    var link: UInt64
    var stream: StreamID
}
