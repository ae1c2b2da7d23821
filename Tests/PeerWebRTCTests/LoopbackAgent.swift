internal import Glibc
internal import TransportPluginAPI

/// The faults of the datagrams of a test's agents. Touched on the loop only.
final class TestNetwork: @unchecked Sendable {
    // SAFETY: touched on the loop of the test only.
    /// Nothing passes.
    var isDown = false
    /// Every n-th datagram is lost; 0: none.
    var loss = 0
    var counter = 0
    /// Larger datagrams are lost.
    var largest = Int.max
    /// The size of the largest datagram that was sent since this was set.
    var largestSent = 0
    /// All agents ever made, in order.
    var agents: [LoopbackAgent] = []
    /// Agents do not become connected on their own while this is set.
    var holdsConnectivity = false { didSet { for agent in agents { agent.check() } } }
    /// Agents take a path for working as soon as they know the other side, before the other side knows them.
    var isHasty = false
    /// Agents that become connected when the test calls `becomeConnected`, and not before.
    var isLate: (LoopbackAgent) -> Bool = { _ in false }
    /// The address that agents claim their paths leave from.
    var localAddress = "127.0.0.1"
    /// Agents find no port to gather on.
    var isOutOfPorts: (_ isControlling: Bool) -> Bool = { _ in false }
    /// An agent learns of the first candidate of the other side.
    var onFirstCandidate: (LoopbackAgent) -> Void = { _ in }

    func dropsNext(_ size: Int) -> Bool {
        counter += 1
        largestSent = max(largestSent, size)
        return isDown || size > largest || loss > 0 && counter % loss == 0
    }
}

/// An ICE agent as far as the contract goes, over one UDP socket on 127.0.0.1: a path comes up only when both sides
/// know each other's credentials and address, and a new generation has new ones.
final class LoopbackAgent: ICEAgent, @unchecked Sendable {
    // SAFETY: touched on its loop only.
    let localCredentials: ICECredentials
    let network: TestNetwork
    let isControlling: Bool
    let servers: [ICEServer]
    private let loop: TransportLoop
    private var handler: (any ICEAgentHandler)?
    private let descriptor: Int32
    private var port: UInt16 = 0
    private var watch: LoopWatch?
    private var remote: ICECredentials?
    private var remoteAddress: sockaddr_in?
    private var isConnected = false
    private var isClosed = false
    private var isGathered = false
    private var timer: LoopTimer?
    private let incoming = DatagramBatch()
    private(set) var sentCount = 0
    private(set) var receivedCount = 0
    /// Datagrams beyond this many are lost.
    var receiveLimit = Int.max
    private(set) var sawEndOfCandidates = false
    let madeAt = Timestamp.now()
    private(set) var firstCandidateAt: Timestamp?

    init(
        _ configuration: ICEAgentConfiguration, on loop: TransportLoop, handler: any ICEAgentHandler,
        network: TestNetwork
    ) throws(TransportError) {
        self.loop = loop
        self.handler = handler
        self.network = network
        isControlling = configuration.isControlling
        servers = configuration.servers
        func random(_ count: Int) -> String {
            String((0..<count).map { _ in "abcdefghijklmnopqrstuvwxyz0123456789+/".randomElement() ?? "a" })
        }
        localCredentials = ICECredentials(usernameFragment: random(8), password: random(24))
        descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
        var size: Int32 = 4 << 20
        setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, 4)
        setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &size, 4)
        var address = Self.address(port: 0)
        let length = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                var length = length
                _ = bind(descriptor, pointer, length)
                _ = getsockname(descriptor, pointer, &length)
            }
        }
        port = UInt16(bigEndian: address.sin_port)
        watch = try loop.watch(descriptor, for: .readable) { [unowned self] _ in receive() }
        network.agents.append(self)
    }

    private static func address(port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        return address
    }

    func gather() throws(TransportError) {
        if network.isOutOfPorts(isControlling) { throw TransportError(.resourceExhausted, "no port is left") }
        isGathered = true
        let line =
            "candidate:1 1 udp 2130706431 127.0.0.1 \(port) typ host generation 0 "
            + "ufrag \(localCredentials.usernameFragment)"
        loop.execute { [self] in
            guard !isClosed else { return }
            handler?.iceAgent(didEmit: .candidate(line))
            handler?.iceAgent(didEmit: .gatheringDone)
        }
    }

    func setRemoteCredentials(_ credentials: ICECredentials) throws(TransportError) {
        remote = credentials
        check()
    }

    func addRemoteCandidate(_ candidate: String) throws(TransportError) {
        if firstCandidateAt == nil {
            firstCandidateAt = .now()
            network.onFirstCandidate(self)
        }
        let words = candidate.split(separator: " ")
        guard words.count > 5, words[4] == "127.0.0.1", let port = UInt16(words[5]) else { return }
        remoteAddress = Self.address(port: port)
        check()
    }

    func endOfRemoteCandidates() { sawEndOfCandidates = true }

    var selectedPath: PeerPath? {
        guard isConnected else { return nil }
        return PeerPath(local: .host, remote: .host, summary: "udp \(port)", localAddress: network.localAddress)
    }

    /// A connectivity check: the other side's credentials and our own name, as STUN's USERNAME and MESSAGE-INTEGRITY
    /// would be.
    func check() {
        guard !isClosed, !isConnected, !network.holdsConnectivity, isGathered, let remote, remoteAddress != nil else {
            return
        }
        let text = "\0\(remote.usernameFragment):\(remote.password):\(localCredentials.usernameFragment)"
        var bytes = Array(text.utf8)
        bytes.withUnsafeMutableBytes { transmit(UnsafeRawBufferPointer($0)) }
        if network.isHasty { connect() }
        timer?.cancel()
        timer = loop.schedule(after: .milliseconds(5)) { [weak self] in self?.check() }
    }

    func send(_ batch: DatagramBatch) {
        if isConnected { for index in 0..<batch.count { transmit(UnsafeRawBufferPointer(batch[index])) } }
        sentCount += batch.count
        batch.removeAll()
    }

    /// Puts a datagram of anybody's making on the way to the other side.
    func transmit(_ bytes: UnsafeRawBufferPointer) {
        guard !isClosed, var address = remoteAddress, !network.dropsNext(bytes.count) else { return }
        withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                _ = sendto(
                    descriptor, bytes.baseAddress, bytes.count, 0, pointer, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }

    private func receive() {
        incoming.removeAll()
        while !isClosed, incoming.count < incoming.maximumCount, incoming.free.count >= 2048 {
            let free = incoming.free
            let count = recv(descriptor, free.baseAddress, free.count, 0)
            guard count > 0 else { break }
            if free[0] == 0 {
                if !isConnected { checkReceived(String(decoding: free[1..<count], as: UTF8.self)) }
            } else if receivedCount < receiveLimit {
                incoming.commit(count)
                receivedCount += 1
            }
        }
        if !incoming.isEmpty, !isClosed { handler?.iceAgent(didReceive: incoming) }
    }

    private func checkReceived(_ text: String) {
        let words = text.split(separator: ":")
        guard words.count == 3, words[0] == localCredentials.usernameFragment, words[1] == localCredentials.password,
            let remote, words[2] == remote.usernameFragment, remoteAddress != nil, !network.holdsConnectivity
        else { return }
        // The last check tells the other side, whose own may have come too early.
        check()
        connect()
    }

    private func connect() {
        guard !isConnected, !network.isLate(self) else { return }
        isConnected = true
        timer?.cancel()
        loop.execute { [self] in becomeConnected() }
    }

    func becomeConnected() {
        guard !isClosed else { return }
        isConnected = true
        timer?.cancel()
        handler?.iceAgent(didEmit: .selected(PeerPath(local: .host, remote: .host, summary: "udp \(port)")))
        handler?.iceAgent(didEmit: .state(.connected))
    }

    /// The path is said to be lost, or to be back.
    func tell(_ state: ICEAgentState) {
        if !isClosed { handler?.iceAgent(didEmit: .state(state)) }
    }

    func close() {
        guard !isClosed else { return }
        isClosed = true
        handler = nil
        timer?.cancel()
        watch?.cancel()
        Glibc.close(descriptor)
        network.agents.removeAll { $0 === self }
    }

    /// Hands datagrams to this side as if they had come.
    func inject(_ datagrams: [[UInt8]]) {
        let batch = DatagramBatch()
        for datagram in datagrams { datagram.withUnsafeBytes { _ = batch.append($0) } }
        if !isClosed { handler?.iceAgent(didReceive: batch) }
    }
}

struct LoopbackProvider: ICEAgentProvider {
    let network: TestNetwork

    func makeAgent(
        _ configuration: ICEAgentConfiguration, on loop: TransportLoop, handler: any ICEAgentHandler
    ) throws(TransportError) -> LoopbackAgent {
        try LoopbackAgent(configuration, on: loop, handler: handler, network: network)
    }
}
