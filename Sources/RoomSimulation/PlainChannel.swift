internal import RoomCore
internal import RoomProtocol
internal import TransportValues

/// The channels beside the reliable one.
enum PlainKind: Sendable {
    /// Exactly once while one peer connection lives, in any order.
    case unordered
    /// At most once.
    case lossy
}

/// What one session has told another over one of these channels.
struct PlainLedger {
    var sent: UInt64 = 0
    /// Handed to a connection, and neither delivered nor lost with it.
    var open: Set<UInt64> = []
    /// The latest that was delivered.
    var latest: UInt64 = 0
}

/// What an association has under way in one direction on these channels: each message in a datagram of its own, which may be lost, come
/// twice, or be overtaken. SCTP takes each once, and repeats what is lost where the channel wants it (RFC 3758).
final class PlainPipe {
    struct Message {
        var kind: PlainKind
        /// Index of the ledger that it is counted in.
        var ledger: Int
        var number: UInt64
    }
    private var nextTSN: UInt64 = 0
    /// By transmission sequence number.
    private(set) var underWay: [UInt64: Message] = [:]

    static let highWater = 48

    var isFull: Bool { underWay.count >= Self.highWater }
    var numbers: [UInt64] { underWay.keys.sorted() }

    func push(_ message: Message) -> UInt64 {
        nextTSN += 1
        underWay[nextTSN] = message
        return nextTSN
    }

    func take(_ number: UInt64) -> Message? { underWay.removeValue(forKey: number) }
}

extension ReliableStream {
    /// Messages that an application may have waiting on the unordered channel.
    static var plainLimit: Int { 100 }
}

// The plain channels, driven as `PeerLink` drives them: what waits on the unordered one waits for the next connection, and what is handed
// to a connection shares its fate; on the lossy one nothing waits.
extension Simulation {
    func plainLedger(_ reliable: Int, _ kind: PlainKind) -> Int { reliable * 2 + (kind == .unordered ? 0 : 1) }

    func sayPlain(_ stream: ReliableStream) {
        for _ in 0..<Int.random(in: 1...3, using: &random) {
            let ledger = plainLedger(stream.outgoing, .unordered)
            guard stream.waiting.count < ReliableStream.plainLimit else { break }
            plainLedgers[ledger].sent += 1
            stream.waiting.append(plainLedgers[ledger].sent)
        }
        drainPlain(stream)
        guard stream.isOpen, let endpoint = stream.endpoint else { return }
        let ledger = plainLedger(stream.outgoing, .lossy)
        for _ in 0..<Int.random(in: 1...3, using: &random) {
            plainLedgers[ledger].sent += 1
            transmit(.init(kind: .lossy, ledger: ledger, number: plainLedgers[ledger].sent), from: endpoint)
        }
    }

    func drainPlain(_ stream: ReliableStream) {
        guard stream.isOpen, let endpoint = stream.endpoint else { return }
        let ledger = plainLedger(stream.outgoing, .unordered)
        while !endpoint.plainPipe.isFull, let number = stream.waiting.popFirst() {
            transmit(.init(kind: .unordered, ledger: ledger, number: number), from: endpoint)
        }
    }

    private func transmit(_ message: PlainPipe.Message, from endpoint: Endpoint) {
        if message.kind == .lossy, endpoint.plainPipe.isFull { return }
        plainLedgers[message.ledger].open.insert(message.number)
        let number = endpoint.plainPipe.push(message)
        schedulePlain(number, from: endpoint)
        if chance(scenario.datagramDuplication) { schedulePlain(number, from: endpoint) }
    }

    private func schedulePlain(_ number: UInt64, from endpoint: Endpoint, after delay: Duration = .zero) {
        let line = endpoint.line
        queue.push(
            .delivery(.plain(line, fromOfferer: endpoint.isOfferer, number)),
            at: now + delay + latency() + endpoint.node.slowness)
    }

    /// The path is there again: what was not acknowledged is sent again, whether it has come or not.
    func resumePlain(_ line: Line, fromOfferer: Bool) {
        guard let endpoint = line.end(isOfferer: fromOfferer), carries(line, fromOfferer: fromOfferer) else { return }
        for number in endpoint.plainPipe.numbers { schedulePlain(number, from: endpoint) }
    }

    func arrivePlain(_ line: Line, fromOfferer: Bool, _ number: UInt64) {
        let pipe = line.plainPipe(fromOfferer: fromOfferer)
        // SCTP has it, or it is lost with the association.
        guard let message = pipe.underWay[number], let writer = line.end(isOfferer: fromOfferer) else {
            plainStatistics.repeated += 1
            return
        }
        let isCarried = carries(line, fromOfferer: fromOfferer)
        if !isCarried || isLost(line) {
            switch message.kind {
            case .lossy:
                _ = pipe.take(number)
                lose(message)
            // Asked for again by what comes behind it, or when its time is over.
            case .unordered: if isCarried { schedulePlain(number, from: writer, after: .milliseconds(200)) }
            }
            return
        }
        _ = pipe.take(number)
        guard let reader = line.end(isOfferer: !fromOfferer), !reader.isClosed, let stream = reader.stream,
            stream.endpoint === reader
        else { return lose(message) }
        deliver(message, stream)
        if let stream = writer.stream, stream.endpoint === writer { drainPlain(stream) }
    }

    private func lose(_ message: PlainPipe.Message) {
        plainLedgers[message.ledger].open.remove(message.number)
        plainStatistics.lost += 1
    }

    /// The association has lost one end: of what was under way from it, some comes nevertheless.
    func cutPlain(_ endpoint: Endpoint) {
        let toIt = endpoint.line.plainPipe(fromOfferer: !endpoint.isOfferer)
        for number in toIt.numbers { if let message = toIt.take(number) { lose(message) } }
        for number in endpoint.plainPipe.numbers {
            if chance(0.5) { arrivePlain(endpoint.line, fromOfferer: endpoint.isOfferer, number) }
            if let message = endpoint.plainPipe.take(number) { lose(message) }
        }
    }

    private func deliver(_ message: PlainPipe.Message, _ stream: ReliableStream) {
        var name: String { nodes[directory[stream.remote] ?? 0].name }
        let what = message.kind == .unordered ? "unordered" : "lossy"
        guard message.ledger == plainLedger(stream.incoming, message.kind) else {
            return report("\(stream.node.name) gets a message of another session from \(name), \(what)")
        }
        guard plainLedgers[message.ledger].open.remove(message.number) != nil else {
            return report("\(stream.node.name) gets \(what) message \(message.number) of \(name) twice")
        }
        plainStatistics.delivered += 1
        if message.number < plainLedgers[message.ledger].latest { plainStatistics.overtaken += 1 }
        plainLedgers[message.ledger].latest = max(message.number, plainLedgers[message.ledger].latest)
    }
}

/// What became of the messages on the channels that are not reliable.
package struct PlainStatistics: Sendable, Equatable {
    package var delivered = 0
    /// Came behind a later one.
    package var overtaken = 0
    /// Datagrams that came again, or too late.
    package var repeated = 0
    /// On the lossy channel, or with a connection.
    package var lost = 0
}
