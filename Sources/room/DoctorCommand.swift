internal import ArgumentParser
internal import Foundation
internal import RoomConnection
internal import RoomDoctor
internal import TransportBenchmark
internal import TransportPluginAPI

struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor", abstract: "Say what would stop this machine from connecting, and what to do about it.",
        discussion: """
            Looks at the backends' libraries, the network interfaces, UDP, buffer and descriptor limits, the clock, the room server \
            (with --server, or one in the configuration) and each STUN and TURN server. Exits with 5 when something would stop it.
            """)

    @OptionGroup var common: CommonOptions
    @OptionGroup var transport: TransportOptions

    @Flag(help: "One JSON object a line.")
    var json = false

    func run() async throws {
        signal(SIGPIPE, SIG_IGN)
        let settings = try Settings(path: common.configFile)
        let configuration = try transport.configuration(settings, common)
        let registry = try Backends.registry(plugins: settings.strings("plugins"))
        var hasProblem = false
        func tell(_ findings: [Finding]) {
            for finding in findings {
                hasProblem = hasProblem || finding.status == .problem
                report(finding)
            }
        }
        let signaling = try registry.signalingPlugin(named: configuration.signaling.name)
        let peer = try registry.peerPlugin(named: configuration.peer.name)
        for descriptor in registry.signaling.map(\.descriptor) + registry.peer.map(\.descriptor) {
            let isChosen = [signaling.descriptor.name, peer.descriptor.name].contains(descriptor.name)
            tell([library(descriptor, isChosen: isChosen)])
        }
        tell([
            Judgement.interfaces(Probes.addresses()),
            await blocking {
                Probes.udpFailure().map {
                    Finding(
                        "udp", .problem, $0, cure: "look for a firewall or sandbox on this machine that forbids UDP")
                } ?? Finding("udp", .ok, "UDP works on this machine")
            },
            Judgement.receiveBuffers(maximum: Probes.receiveBufferMaximum()),
            Judgement.descriptors(limit: Probes.descriptorLimit()),
            await blocking {
                let (drift, elapsed) = Probes.clockDrift()
                return Judgement.steadiness(drift: drift, elapsed: elapsed)
            },
        ])
        if try transport.server ?? settings.string("server") != nil {
            tell(await server(configuration.server, signaling, configuration))
        }
        for iceServer in configuration.iceServers {
            for url in iceServer.urls { tell([await check(url, iceServer, peer, configuration)]) }
        }
        if hasProblem { throw ExitStatus.checkFailed }
    }

    private func report(_ finding: Finding) {
        if json {
            var line = JSONLine(event: "check")
            line.add("check", finding.check)
            line.add("status", finding.status.rawValue)
            line.add("message", finding.message)
            if let cure = finding.cure { line.add("cure", cure) }
            return Output.line(line)
        }
        let colour = finding.status == .ok ? Output.green : finding.status == .warning ? Output.yellow : Output.red
        let word = finding.status.rawValue.padding(toLength: 8, withPad: " ", startingAt: 0)
        Output.line(Output.coloured(word, colour) + "\(finding.check): \(finding.message)")
        if let cure = finding.cure { Output.line("        → \(cure)") }
    }

    /// The message of a backend that cannot run names the package that brings what is missing.
    private func library(_ descriptor: PluginDescriptor, isChosen: Bool) -> Finding {
        guard let reason = descriptor.unavailability() else {
            return Finding("libraries", .ok, "\(descriptor.name) can run here")
        }
        return Finding(
            "libraries", isChosen ? .problem : .warning, "\(descriptor.name) cannot run here: \(reason)",
            cure: isChosen ? "install what is missing, or choose another backend" : nil)
    }

    // MARK: The room server

    private func server(
        _ endpoint: SignalingEndpoint, _ plugin: SignalingPlugin, _ configuration: RoomConfiguration
    ) async -> [Finding] {
        var findings: [Finding] = []
        do throws(TransportError) {
            let addresses = try await NameResolver.resolve(
                endpoint.host, url: endpoint.url, deadline: .now() + .seconds(5))
            findings.append(Finding("name", .ok, "\(endpoint.host) is \(addresses.joined(separator: ", "))"))
            if !endpoint.isSecure, let address = addresses.first {
                findings += await health(endpoint, address)
            }
        } catch {
            return [
                Finding(
                    "name", .problem, error.message,
                    cure: "check the name in --server, and the resolver (/etc/resolv.conf)")
            ]
        }
        do {
            let transport = try plugin.make(
                PluginContext(options: configuration.signaling.options, logger: configuration.logger))
            findings.append(await handshake(transport, endpoint))
        } catch {
            findings.append(Finding("handshake", .problem, "\(plugin.descriptor.name) did not start: \(error)"))
        }
        return findings
    }

    private func health(_ endpoint: SignalingEndpoint, _ address: String) async -> [Finding] {
        let url = "http://\(endpoint.host):\(endpoint.port)/health"
        let (host, port) = (endpoint.host, endpoint.port)
        guard let answer = await blocking({ Probes.get("/health", host: host, address: address, port: port) }) else {
            return [
                Finding(
                    "health", .problem, "nothing listens on \(address), port \(port), or a firewall is in between",
                    cure: "start the server (room serve --port \(port)), check the port, let TCP to it through")
            ]
        }
        var findings = [Judgement.health(status: answer.status, url: url)]
        if let date = answer.date {
            findings.append(Judgement.clock(ahead: Date().timeIntervalSince1970 - date))
        }
        return findings
    }

    private func handshake(_ transport: some SignalingTransport, _ endpoint: SignalingEndpoint) async -> Finding {
        let start = Timestamp.now()
        do throws(TransportError) {
            let connection = try await transport.connect(to: endpoint)
            let time = Timestamp.now() - start
            connection.abort()
            await transport.shutdown()
            return Finding(
                "handshake", .ok, "a WebSocket to \(endpoint.url) opened in \(Int(time.inSeconds * 1000)) ms")
        } catch {
            await transport.shutdown()
            let cure =
                switch error.code {
                case .tlsFailed: "check the server's certificate, the clock, and --tls-authorities"
                case .refused where error.status != nil: "check the URL's path, and whether a token is asked for"
                case .notSupported: "choose another signaling backend"
                default: "check that the server runs and that what stands between lets WebSockets through"
                }
            return Finding("handshake", .problem, error.message, cure: cure)
        }
    }

    // MARK: STUN and TURN

    private func check(
        _ url: String, _ server: ICEServer, _ peer: PeerPlugin, _ configuration: RoomConfiguration
    ) async -> Finding {
        let parsed: ICEServerURL
        do throws(TransportError) { parsed = try ICEServerURL(url) } catch {
            return Finding(
                "stun", .problem, error.message, cure: "write stun:host:port or turn:host:port?transport=udp")
        }
        switch parsed.scheme {
        case .turn, .turns: return await allocation(url, server, peer, configuration)
        case .stuns: return Finding("stun", .warning, "\(url) was not asked: only STUN over UDP is")
        case .stun: break
        }
        do throws(TransportError) {
            let addresses = try await NameResolver.resolve(parsed.host, url: url, deadline: .now() + .seconds(5))
            let binding = STUNBinding(transaction: (0..<12).map { _ in UInt8.random(in: 0...255) })
            let seen = await blocking { () -> String? in
                for address in addresses {
                    if let answer = Probes.exchange(binding.request, with: address, port: parsed.port) {
                        return binding.mappedAddress(in: answer)
                    }
                }
                return nil
            }
            if let seen { return Finding("stun", .ok, "\(url) sees this machine as \(seen)") }
            return Finding(
                "stun", .warning, "\(url) did not answer",
                cure:
                    "check its address, and that UDP to it is let through; without it only local addresses and relays are tried"
            )
        } catch {
            return Finding("stun", .warning, error.message, cure: "check the name in \(url)")
        }
    }

    /// Allocates in fact, by the peer backend that is going to.
    private func allocation(
        _ url: String, _ server: ICEServer, _ plugin: PeerPlugin, _ configuration: RoomConfiguration
    ) async -> Finding {
        guard plugin.descriptor.capabilities.contains(.relay) else {
            return Finding("turn", .warning, "\(plugin.descriptor.name) uses no TURN: \(url) was not asked")
        }
        do throws(TransportError) {
            let transport = try plugin.make(
                PluginContext(options: configuration.peer.options, logger: configuration.logger))
            return try await Allocation.probe(
                transport, ICEServer(urls: [url], username: server.username, credential: server.credential), url)
        } catch {
            return Finding("turn", .problem, "\(url): \(error.message)", cure: "check its URL, username and credential")
        }
    }

    /// Runs what blocks on a thread of its own.
    private func blocking<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
        await withCheckedContinuation { continuation in
            Thread.detachNewThread { continuation.resume(returning: body()) }
        }
    }
}

/// Waits for a relayed candidate.
private final class Allocation: PeerConnectionHandler, Sendable {
    private let results = AsyncStream.makeStream(of: (hasRelay: Bool, isComplete: Bool).self)

    func peerConnection(didEmit event: PeerConnectionEvent) {
        switch event {
        case .localCandidate(let candidate) where candidate.text.contains("typ relay"):
            results.continuation.yield((true, true))
        case .localDescription(let description) where description.text.contains("typ relay"):
            results.continuation.yield((true, true))
        case .endOfLocalCandidates, .closed: results.continuation.yield((false, true))
        default: break
        }
    }

    func peerConnection(didReceive bytes: UnsafeRawBufferPointer, isText: Bool, on channel: ChannelID) {}

    static func probe(
        _ transport: some PeerTransport, _ server: ICEServer, _ url: String
    ) async throws(TransportError) -> Finding {
        let allocation = Allocation()
        var configuration = PeerConnectionConfiguration()
        configuration.iceServers = [server]
        configuration.icePolicy = .relay
        let outcome: (hasRelay: Bool, isComplete: Bool)
        do throws(TransportError) {
            let connection = try await transport.loop.runThrowing { [configuration] () throws(TransportError) in
                let connection = try transport.makeConnection(configuration, handler: allocation)
                _ = try connection.openChannel(ChannelParameters(label: "doctor"))
                try connection.offer()
                return connection
            }
            let timer = Task {
                try await Task.sleep(for: .seconds(8))
                allocation.results.continuation.yield((false, false))
            }
            var results = allocation.results.stream.makeAsyncIterator()
            outcome = await results.next() ?? (false, false)
            timer.cancel()
            await transport.loop.run { connection.close() }
        } catch {
            await transport.shutdown()
            throw error
        }
        await transport.shutdown()
        return Judgement.turn(hasRelay: outcome.hasRelay, server: url, isComplete: outcome.isComplete)
    }
}
