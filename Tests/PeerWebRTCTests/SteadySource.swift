internal import PeerWebRTC
internal import Testing
internal import TransportPluginAPI

/// When data came again.
final class Resumption: @unchecked Sendable {
    // SAFETY: touched on the loop of the test only.
    var begin = Timestamp.zero
    var end: Timestamp?
    var count = 0
}

/// Sends numbered messages both ways in a steady rhythm.
final class Source: @unchecked Sendable {
    // SAFETY: touched on the loop of the test only.
    private let a: TestPeer
    private let b: TestPeer
    private let ids: (ChannelID, ChannelID)
    private let interval: Duration
    private let count: Int
    private var sent = 0

    init(_ a: TestPeer, _ idA: ChannelID, _ b: TestPeer, _ idB: ChannelID, every interval: Duration, count: Int) {
        self.a = a
        self.b = b
        ids = (idA, idB)
        self.interval = interval
        self.count = count
    }

    var expected: [[UInt8]] { (0..<count).map { Array("\($0)".utf8) } }

    func start(on loop: TransportLoop) {
        guard sent < count else { return }
        do {
            try a.connection.send(Array("\(sent)".utf8), on: ids.0)
            try b.connection.send(Array("\(sent)".utf8), on: ids.1)
        } catch { Issue.record(error) }
        sent += 1
        loop.schedule(after: interval) { [self] in start(on: loop) }
    }
}

/// Checks that `body` throws a transport error of this code.
func expect(_ code: TransportError.Code, _ body: () throws -> Void) {
    do {
        try body()
        Issue.record("no error")
    } catch let error as TransportError {
        #expect(error.code == code, "\(error)")
    } catch { Issue.record(error) }
}
