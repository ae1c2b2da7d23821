#if Libwebsockets
    import Glibc
    import SignalingLibwebsockets
    import Testing
    import TransportPluginAPI

    @Suite struct LibwebsocketsEndpoints {
        private func code(_ change: (inout SignalingEndpoint) -> Void) async throws -> TransportError.Code? {
            // Port 1: nothing must be sent there anyway.
            var endpoint = try SignalingEndpoint(url: "ws://127.0.0.1:1/")
            change(&endpoint)
            let transport = try LibwebsocketsSignaling()
            var code: TransportError.Code?
            do throws(TransportError) { _ = try await transport.connect(to: endpoint) } catch { code = error.code }
            await transport.shutdown()
            return code
        }

        @Test func headersCannotSmuggleLines() async throws {
            #expect(try await code { $0.headers = [("X", "a\r\nEvil: 1")] } == .invalidArgument)
            #expect(try await code { $0.headers = [("X\r\nEvil", "1")] } == .invalidArgument)
            #expect(try await code { $0.path = "/ HTTP/1.1\r\nEvil: 1" } == .invalidArgument)
            #expect(try await code { $0.subprotocols = ["a\r\nb"] } == .invalidArgument)
            #expect(try await code { $0.host = "127.0.0.1\r\n" } == .invalidArgument)
            #expect(try await code { $0.tls.serverName = "" } == .invalidArgument)
        }

        @Test func whatLibwebsocketsWouldTruncateIsRefused() async throws {
            #expect(try await code { $0.path = "/" + String(repeating: "a", count: 3000) } == .invalidArgument)
            #expect(try await code { $0.host = String(repeating: "a", count: 120) } == .invalidArgument)
            #expect(
                try await code { $0.headers = [("X", String(repeating: "a", count: 20_000))] } == .invalidArgument)
        }

        @Test func wssToANumericIPv6AddressNeedsAName() async throws {
            #expect(
                try await code {
                    $0.isSecure = true
                    $0.host = "::1"
                } == .notSupported)
        }

        @Test func aRefusedPortIsToldAsRefused() async throws {
            #expect(try await code { $0.host = "127.0.0.1" } == .refused)
            #expect(try await code { $0.host = "localhost" } == .refused)
        }

        @Test func transportsComeAndGoWhileOthersConnect() async throws {
            await withTaskGroup(of: Void.self) { group in
                for _ in 0..<8 {
                    group.addTask {
                        for _ in 0..<20 {
                            guard let transport = try? LibwebsocketsSignaling(),
                                let endpoint = try? SignalingEndpoint(url: "ws://127.0.0.1:1/")
                            else { continue }
                            async let first: Void = { _ = try? await transport.connect(to: endpoint) }()
                            async let second: Void = transport.shutdown()
                            _ = await (first, second)
                        }
                    }
                }
            }
        }
    }
#endif
