#if Libwebsockets
    import Glibc
    import SignalingLibwebsockets
    import Testing
    import TransportPluginAPI
    import TransportTestKit

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

        @Test(arguments: UnusableEndpoint.allCases)
        func valuesThatWouldAddLinesAreRefused(_ endpoint: UnusableEndpoint) async throws {
            #expect(try await code { endpoint.apply(to: &$0) } == .invalidArgument)
        }

        @Test func valuesThatLibwebsocketsWouldTruncateAreRefused() async throws {
            #expect(try await code { $0.path = "/" + String(repeating: "a", count: 3000) } == .invalidArgument)
            #expect(try await code { $0.host = String(repeating: "a", count: 120) } == .invalidArgument)
            #expect(
                try await code { $0.headers = [("X", String(repeating: "a", count: 20_000))] } == .invalidArgument)
        }

        /// At the limits of what is taken, nothing is cut.
        @Test(.timeLimit(.minutes(1))) func theLongestRequestIsSentWhole() async throws {
            let server = try LoopbackListener()
            defer { close(server.descriptor) }
            let listener = server.descriptor
            var endpoint = try SignalingEndpoint(url: "ws://127.0.0.1:\(server.port)/")
            endpoint.path = "/" + String(repeating: "p", count: 1998) + "!"
            endpoint.headers = [("X-Long", String(repeating: "h", count: 16_373) + "!")]
            endpoint.subprotocols = [String(repeating: "s", count: 1024)]
            let request = Task.detached { () -> String in
                let connection = accept(listener, nil, nil)
                defer { close(connection) }
                var bytes: [UInt8] = []
                var piece = [UInt8](repeating: 0, count: 65_536)
                while !bytes.suffix(4).elementsEqual("\r\n\r\n".utf8) {
                    let count = recv(connection, &piece, piece.count, 0)
                    guard count > 0 else { break }
                    bytes += piece[..<count]
                }
                return String(decoding: bytes, as: UTF8.self)
            }
            let transport = try LibwebsocketsSignaling()
            await #expect(throws: TransportError.self) { _ = try await transport.connect(to: endpoint) }
            let lines = await request.value.split(separator: "\r\n")
            #expect(lines.first == "GET \(endpoint.path) HTTP/1.1")
            #expect(lines.contains("X-Long: \(endpoint.headers[0].value)"))
            #expect(lines.contains { $0.hasSuffix(endpoint.subprotocols[0]) })
            await transport.shutdown()
            _ = consume server
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

        /// libwebsockets looks for timers that are due once before it waits: one that comes due there must not be lost.
        @Test func aDeadlineThatIsNearlyOverWhenTheWaitBeginsIsKept() async throws {
            let silent = try LoopbackListener()
            defer { close(silent.descriptor) }
            let transport = try LibwebsocketsSignaling()
            let endpoint = try SignalingEndpoint(url: "ws://127.0.0.1:\(silent.port)/")
            for step in 1...100 {
                var endpoint = endpoint
                endpoint.connectTimeout = .microseconds(1_000 + step * 10)
                let start = Timestamp.now()
                await #expect(throws: TransportError.self) { _ = try await transport.connect(to: endpoint) }
                #expect(Timestamp.now() - start < .seconds(2), "attempt \(step)")
            }
            await transport.shutdown()
        }
    }
#endif
