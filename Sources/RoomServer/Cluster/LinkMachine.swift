internal import Hashing
internal import RoomProtocol
internal import TransportValues

/// The decisions of one end of a link: who the other node is, whether it lives, how much each stream may send.
///
/// Can transition: idle → greeting (`opened`) → proving (the other side's hello) → ready (its proof) → ended; any →
/// ended. The side that has opened the link proves itself last: it learns first whom it talks to.
struct LinkMachine: Sendable {
    enum Side: String, Sendable {
        /// Has opened the link. Its clients are the streams.
        case dialer
        /// Owns the rooms.
        case acceptor
    }

    enum Action: Sendable, Hashable {
        case write(LinkFrame)
        /// The other side has proved that it belongs to the cluster.
        case ready(LinkHello)
        /// A frame of a stream, for the shell.
        case deliver(LinkFrame)
        /// The stream may send again, after `text` has said that it must not.
        case resume(StreamID)
        /// Close the socket. All streams have ended.
        case end(String)
    }

    struct Settings: Sendable {
        /// Derived from the keys that sign sessions, so that only nodes of one cluster have them. Both sides need a
        /// common one.
        var keys: [[UInt8]]
        /// The name of the other node, where it is known.
        var expectedNode: String?
        var handshakeTimeout = Duration.seconds(3)
        var pingInterval = Duration.seconds(1)
        var silenceLimit = Duration.seconds(4)
        var maximumStreams = 100_000

        init(keys: [[UInt8]], expectedNode: String? = nil) {
            self.keys = keys
            self.expectedNode = expectedNode
        }

        /// - Parameter sessionKey: The key that signs sessions.
        static func key(from sessionKey: [UInt8]) -> [UInt8] {
            Crypto.hmac(.sha256, key: sessionKey, Array("room cluster link v1".utf8))
        }
    }

    private struct Stream: Sendable {
        /// Bytes that were sent or received and are not credited yet.
        var outstanding = 0
        /// The bytes of a credit that is not worth a frame yet.
        var uncredited = 0
        var isPaused = false
    }

    private enum State: Sendable {
        case idle
        case greeting
        case proving(LinkHello)
        case ready
        case ended
    }

    /// Bytes of a client's messages, after the first, that may be sent without credit. The last one may exceed it.
    static let window = 64 << 10
    /// The links that a client may be carried over. The owner carries nobody on.
    static let maximumHops: UInt8 = 1
    static let maximumHandshakeContent = 1024
    static let maximumContent = Limits.serverMessageBytes + 1024

    private let side: Side
    private let hello: LinkHello
    private let settings: Settings
    private var state = State.idle
    private var binding: [UInt8] = []
    private var streams: [StreamID: Stream] = [:]
    private var lastStream: StreamID = 0
    private var parser = LinkParser(maximumContent: LinkMachine.maximumHandshakeContent)
    private var deadline = Timestamp.distantFuture
    private var lastHeard = Timestamp.zero
    private var lastPing: UInt64 = 0
    /// Whether the link has ended since nothing came.
    private(set) var wasSilent = false

    init(_ side: Side, hello: LinkHello, settings: Settings) {
        self.side = side
        self.hello = hello
        self.settings = settings
    }

    var nextDeadline: Timestamp? { deadline == .distantFuture ? nil : deadline }
    var isReady: Bool { if case .ready = state { true } else { false } }
    var streamCount: Int { streams.count }

    // MARK: Events of the socket

    /// The socket is connected. The time for TLS and the handshake begins.
    mutating func connected(at now: Timestamp) {
        deadline = now + settings.handshakeTimeout
        lastHeard = now
    }

    /// TLS is established; `binding` are bytes that only the two sides know.
    mutating func opened(binding: [UInt8], at now: Timestamp) -> [Action] {
        guard case .idle = state else { return [] }
        self.binding = binding
        state = .greeting
        return side == .dialer ? [.write(.hello(hello))] : []
    }

    mutating func received(_ bytes: UnsafeRawBufferPointer, at now: Timestamp) -> [Action] {
        lastHeard = now
        var rest = bytes
        var actions: [Action] = []
        do throws(LinkViolation) {
            while !hasEnded, let frame = try parser.next(&rest) { actions += try handle(frame, now) }
        } catch {
            actions += end("the other node broke the protocol: \(error)")
        }
        return actions
    }

    mutating func timePassed(to now: Timestamp) -> [Action] {
        guard deadline <= now else { return [] }
        guard isReady else { return hasEnded ? [] : end("the handshake took too long") }
        // A process that was stopped has not looked at its sockets: what is there is read before anybody is judged.
        if now - deadline > settings.pingInterval { lastHeard = max(lastHeard, now - settings.pingInterval) }
        guard now - lastHeard < settings.silenceLimit else {
            wasSilent = true
            return end("the other node is silent")
        }
        deadline = now + settings.pingInterval
        lastPing += 1
        return [.write(.ping(lastPing))]
    }

    /// The socket has closed, or is closed with this reason.
    mutating func closed(_ reason: String) -> [Action] { hasEnded ? [] : end(reason) }

    private var hasEnded: Bool { if case .ended = state { true } else { false } }

    private mutating func end(_ reason: String) -> [Action] {
        state = .ended
        streams = [:]
        deadline = .distantFuture
        return [.end(reason)]
    }

    // MARK: Streams of clients, at the side that has opened the link

    /// Opens a stream for a client. Nil when the link cannot take any more.
    mutating func open(_ opening: LinkOpening) -> (StreamID, [Action])? {
        guard isReady, side == .dialer, streams.count < settings.maximumStreams, lastStream < .max else { return nil }
        lastStream += 1
        streams[lastStream] = Stream()
        return (lastStream, [.write(.open(lastStream, opening))])
    }

    /// Tells the other side that this one owns a room.
    func tell(_ room: String, _ fence: UInt64) -> [Action] { isReady ? [.write(.fence(fence, room: room))] : [] }

    /// Sends a question of the admin API.
    func ask(_ id: StreamID, _ question: LinkQuestion) -> [Action] {
        isReady && side == .dialer ? [.write(.ask(id, question))] : []
    }

    func answer(_ id: StreamID, _ answer: LinkAnswer) -> [Action] {
        isReady && side == .acceptor ? [.write(.answer(id, answer))] : []
    }

    /// Sends a text message. The second result is false when the stream must not send more before `resume`.
    mutating func text(_ id: StreamID, _ text: [UInt8]) -> ([Action], maySendMore: Bool) {
        guard var stream = streams[id] else { return ([], true) }
        if side == .dialer {
            stream.outstanding += text.count
            stream.isPaused = stream.outstanding >= Self.window
            streams[id] = stream
        }
        return ([.write(.text(id, text))], !stream.isPaused)
    }

    mutating func frame(_ id: StreamID) -> [Action] { streams[id] == nil ? [] : [.write(.frame(id))] }

    /// Ends a stream.
    mutating func close(_ id: StreamID, code: UInt16) -> [Action] {
        streams.removeValue(forKey: id) == nil ? [] : [.write(.close(id, code: code))]
    }

    // MARK: Streams at the owner

    mutating func accept(_ id: StreamID) -> [Action] { streams[id] == nil ? [] : [.write(.accept(id))] }

    mutating func refuse(_ id: StreamID, _ refusal: LinkRefusal) -> [Action] {
        streams.removeValue(forKey: id) == nil ? [] : [.write(.refuse(id, refusal))]
    }

    mutating func abort(_ id: StreamID) -> [Action] {
        streams.removeValue(forKey: id) == nil ? [] : [.write(.abort(id))]
    }

    /// The room's loop has taken so many bytes of `text`.
    mutating func took(_ count: Int, from id: StreamID) -> [Action] {
        guard var stream = streams[id] else { return [] }
        stream.outstanding -= count
        stream.uncredited += count
        defer { streams[id] = stream }
        guard stream.uncredited >= Self.window / 4 else { return [] }
        defer { stream.uncredited = 0 }
        return [.write(.credit(id, UInt32(clamping: stream.uncredited)))]
    }

    // MARK: Frames

    private mutating func handle(_ frame: LinkFrame, _ now: Timestamp) throws(LinkViolation) -> [Action] {
        switch (state, frame) {
        case (.idle, _), (.ended, _): return []
        case (.greeting, .hello(let theirs)): return greet(theirs)
        case (.proving(let theirs), .proof(let proof)): return verify(proof, theirs, now)
        case (.greeting, _), (.proving, _): throw LinkViolation(description: "a frame before the handshake")
        case (.ready, .hello), (.ready, .proof): throw LinkViolation(description: "a second handshake")
        case (.ready, .fence): return [.deliver(frame)]
        case (.ready, .ask):
            guard side == .acceptor else { throw LinkViolation(description: "a question from a room's owner") }
            return [.deliver(frame)]
        case (.ready, .answer):
            guard side == .dialer else { throw LinkViolation(description: "an answer from a client's node") }
            return [.deliver(frame)]
        case (.ready, .ping(let id)): return [.write(.pong(id))]
        case (.ready, .pong): return []
        case (.ready, .open(let id, let opening)):
            guard side == .acceptor, id > lastStream else {
                throw LinkViolation(description: "a stream that cannot be opened")
            }
            lastStream = id
            guard opening.hops <= Self.maximumHops else { return [.write(.refuse(id, .notOwner))] }
            guard streams.count < settings.maximumStreams else { return [.write(.refuse(id, .busy))] }
            streams[id] = Stream()
            return [.deliver(frame)]
        case (.ready, .text(let id, let text)):
            guard var stream = streams[id] else { return [] }
            if side == .acceptor {
                guard stream.outstanding < Self.window else {
                    throw LinkViolation(description: "a stream that sends without credit")
                }
                stream.outstanding += text.count
                streams[id] = stream
            }
            return [.deliver(frame)]
        case (.ready, .frame(let id)):
            guard side == .acceptor else { throw LinkViolation(description: "a client's frame from the owner") }
            return streams[id] == nil ? [] : [.deliver(frame)]
        case (.ready, .credit(let id, let count)):
            guard var stream = streams[id] else { return [] }
            stream.outstanding -= Int(count)
            guard side == .dialer, stream.outstanding >= 0 else {
                throw LinkViolation(description: "credit for what was not sent")
            }
            let resumes = stream.isPaused && stream.outstanding < Self.window
            if resumes { stream.isPaused = false }
            streams[id] = stream
            return resumes ? [.resume(id)] : []
        case (.ready, .accept(let id)):
            guard side == .dialer else { throw LinkViolation(description: "an answer from a client's node") }
            return streams[id] == nil ? [] : [.deliver(frame)]
        case (.ready, .refuse(let id, _)), (.ready, .abort(let id)):
            guard side == .dialer else { throw LinkViolation(description: "an answer from a client's node") }
            return streams.removeValue(forKey: id) == nil ? [] : [.deliver(frame)]
        case (.ready, .close(let id, _)): return streams.removeValue(forKey: id) == nil ? [] : [.deliver(frame)]
        }
    }

    private mutating func greet(_ theirs: LinkHello) -> [Action] {
        guard theirs.cluster == hello.cluster else { return end("the other node belongs to another cluster") }
        guard theirs.minimumVersion <= hello.version, hello.minimumVersion <= theirs.version else {
            return end("the other node speaks other versions of the link's protocol")
        }
        guard settings.expectedNode == nil || theirs.node == settings.expectedNode else {
            return end("the other node is not the one that is meant: check --advertise")
        }
        guard theirs.node != hello.node else { return end("the other node has this node's name: check --node") }
        state = .proving(theirs)
        guard side == .acceptor else { return [] }
        return [.write(.hello(hello)), .write(.proof(codes(of: .acceptor, theirs).flatMap { $0 }))]
    }

    private mutating func verify(_ proof: [UInt8], _ theirs: LinkHello, _ now: Timestamp) -> [Action] {
        let prover = side == .dialer ? Side.acceptor : .dialer
        let known = codes(of: prover, theirs)
        let theirCodes = stride(from: 0, to: proof.count, by: Digest.length).map {
            Array(proof[$0..<min($0 + Digest.length, proof.count)])
        }
        guard theirCodes.contains(where: { code in known.contains { Crypto.areEqual($0, code) } }) else {
            return end("the other node has another session key: all nodes need the same --session-key-file")
        }
        state = .ready
        parser.maximumContent = Self.maximumContent
        deadline = now + settings.pingInterval
        let answer = side == .dialer ? [Action.write(.proof(codes(of: .dialer, theirs).flatMap { $0 }))] : []
        return answer + [.ready(theirs)]
    }

    /// Binds each key to this connection, to both introductions and to the direction.
    private func codes(of prover: Side, _ theirs: LinkHello) -> [[UInt8]] {
        let (first, second) = side == .dialer ? (hello, theirs) : (theirs, hello)
        let parts = [Array(prover.rawValue.utf8), binding, first.encoded, second.encoded]
        let message = parts.flatMap { part in
            withUnsafeBytes(of: UInt32(clamping: part.count).bigEndian, Array.init) + part
        }
        return settings.keys.map { Crypto.hmac(.sha256, key: $0, message) }
    }
}
