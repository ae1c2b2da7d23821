internal import Glibc
internal import RoomConnection
internal import TransportPluginAPI

/// Checks of others than this machine: the room server, STUN and TURN servers.
struct NetworkChecks: Sendable {
    let configuration: RoomConfiguration
    /// The variables of this process's environment, which may name a proxy.
    let environment: [String: String]

    // MARK: The room server

    /// `ahead`: seconds by which this machine's clock is ahead of the server's, where that came out.
    func server(_ plugin: SignalingPlugin) async -> (findings: [Finding], ahead: Double?) {
        let endpoint = configuration.server
        if endpoint.proxy != nil { return (await throughProxy(plugin, endpoint), nil) }
        let (host, port) = (endpoint.host, endpoint.port)
        let addresses: [String]
        do throws(TransportError) {
            addresses = try await NameResolver.resolve(host, url: endpoint.url, deadline: .now() + .seconds(5))
        } catch {
            let cure = "check the name in --server, and the resolver (/etc/resolv.conf)"
            return ([Finding("name", .problem, error.message, cure: cure)], nil)
        }
        var findings = [Finding("name", .ok, "\(host) is \(addresses.joined(separator: ", "))")]
        let trust = endpoint.isSecure ? endpoint.tls : nil
        // Beside each other, so that a silent server is waited for once.
        async let handshake = handshake(plugin, endpoint)
        let answer = await blocking { Probes.health(host: host, addresses: addresses, port: port, tls: trust) }
        findings += Judgement.server(
            answer, host: host, port: port, isSecure: endpoint.isSecure, here: Probes.realTime())
        // Where nothing takes a connection, a backend would say the same in other words.
        let opened = await handshake
        if answer.address != nil { findings.append(opened) }
        let names = ["https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]
        if answer.address == nil, let index = findings.indices.last,
            let name = names.first(where: { environment[$0]?.isEmpty == false })
        {
            findings[index].message += "; this environment names a proxy (\(name)), which is not used for this server"
        }
        return (findings, answer.clockOffset?.ahead)
    }

    /// Behind a proxy, the server's name and port are the proxy's to find.
    private func throughProxy(_ plugin: SignalingPlugin, _ endpoint: SignalingEndpoint) async -> [Finding] {
        guard let proxy = endpoint.proxy else { return [] }
        do throws(TransportError) {
            let dialer = try SignalingDialer()
            let outcome: Result<Int32, TransportError>
            do throws(TransportError) {
                outcome = .success(try await dialer.connect(to: endpoint, deadline: .now() + .seconds(5)))
            } catch { outcome = .failure(error) }
            await dialer.shutdown()
            close(try outcome.get())
        } catch {
            let cure =
                "check the proxy (--proxy, https_proxy, no_proxy), or connect without one (--proxy none)"
            return [Finding("proxy", .problem, error.message, cure: cure)]
        }
        let place = "\(endpoint.host), port \(endpoint.port)"
        return [
            Finding("proxy", .ok, "the proxy \(proxy) makes connections to \(place)"),
            await handshake(plugin, endpoint),
        ]
    }

    private func handshake(_ plugin: SignalingPlugin, _ endpoint: SignalingEndpoint) async -> Finding {
        do throws(TransportError) {
            let transport = try plugin.make(
                PluginContext(options: configuration.signaling.options, logger: configuration.logger))
            return await handshake(transport, endpoint)
        } catch {
            return Finding("handshake", .problem, "\(plugin.descriptor.name) did not start: \(error.message)")
        }
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
                case .refused where error.status != nil: "check the URL's path, and whether a token is required"
                case .notSupported: "choose another signaling backend"
                default: "check that the server runs, and that proxies on the way support WebSocket"
                }
            return Finding("handshake", .problem, error.message, cure: cure)
        }
    }

    // MARK: STUN and TURN

    /// `clockAhead`: seconds by which this machine's clock is ahead of the room server's.
    func check(
        _ url: String, _ server: ICEServer, _ peer: PeerPlugin, clockAhead: Double
    ) async -> Finding {
        let parsed: ICEServerURL
        do throws(TransportError) { parsed = try ICEServerURL(url) } catch {
            return Finding(
                "stun", .problem, error.message, cure: "write stun:host:port or turn:host:port?transport=udp")
        }
        switch parsed.scheme {
        case .turn, .turns: return await allocation(parsed, url, server, peer, clockAhead)
        case .stuns: return Finding("stun", .warning, "\(url) was not tested: only STUN over UDP is")
        case .stun: return Judgement.stun(await binding(parsed, url), url: url)
        }
    }

    private func binding(_ server: ICEServerURL, _ url: String) async -> Result<String, ProbeFailure> {
        do throws(ProbeFailure) {
            let addresses = try await addresses(of: server, url)
            return await blocking { Probes.binding(addresses, port: server.port) }
        } catch {
            return .failure(error)
        }
    }

    private func addresses(of server: ICEServerURL, _ url: String) async throws(ProbeFailure) -> [String] {
        do throws(TransportError) {
            return try await NameResolver.resolve(server.host, url: url, deadline: .now() + .seconds(5))
        } catch {
            throw .failed(error.message)
        }
    }

    /// The doctor asks first, since it hears why not; but only a relayed address that the peer backend gets itself is
    /// good.
    private func allocation(
        _ parsed: ICEServerURL, _ url: String, _ server: ICEServer, _ plugin: PeerPlugin, _ clockAhead: Double
    ) async -> Finding {
        let name = plugin.descriptor.name
        guard plugin.descriptor.capabilities.contains(.relay) else {
            return Finding("turn", .warning, "\(name) does not use TURN: \(url) was not tested")
        }
        let one = ICEServer(urls: [url], username: server.username, credential: server.credential)
        let outcome = await outcome(of: one, parsed, url)
        var hasRelay = false
        if !outcome.isFinal {
            do throws(TransportError) {
                let transport = try plugin.make(
                    PluginContext(options: configuration.peer.options, logger: configuration.logger))
                hasRelay = try await RelayProbe.run(transport, one)
            } catch {
                return Finding(
                    "turn", .problem, "\(url): \(error.message)", cure: "check its URL, username and credential")
            }
        }
        return Judgement.turn(
            hasRelay: hasRelay, url: url, backend: name, outcome: outcome, username: server.username,
            now: Probes.realTime() - clockAhead)
    }

    private func outcome(of server: ICEServer, _ parsed: ICEServerURL, _ url: String) async -> TURNOutcome {
        do throws(ProbeFailure) {
            let addresses = try await addresses(of: parsed, url)
            let trust = TLSTrust(authoritiesFile: configuration.server.tls.authoritiesFile)
            return await blocking {
                Probes.allocation(
                    parsed, addresses: addresses, username: server.username, password: server.credential, trust: trust)
            }
        } catch {
            return .failed(error)
        }
    }
}
