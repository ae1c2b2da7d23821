#if NIO
    import SignalingNIO
    import Testing
    import TransportPluginAPI
    import TransportTestKit

    @Suite struct NIOEndpoints {
        private func error(_ change: (inout SignalingEndpoint) -> Void) async throws -> TransportError? {
            // Port 1: nothing must be sent there anyway.
            var endpoint = try SignalingEndpoint(url: "ws://127.0.0.1:1/")
            change(&endpoint)
            let transport = try NIOSignaling()
            var error: TransportError?
            do throws(TransportError) { _ = try await transport.connect(to: endpoint) } catch let caught {
                error = caught
            }
            await transport.shutdown()
            return error
        }

        private func code(_ change: (inout SignalingEndpoint) -> Void) async throws -> TransportError.Code? {
            try await error(change)?.code
        }

        @Test(arguments: UnusableEndpoint.allCases)
        func valuesThatWouldAddLinesAreRefused(_ endpoint: UnusableEndpoint) async throws {
            #expect(try await code { endpoint.apply(to: &$0) } == .invalidArgument)
        }

        @Test func aRefusedPortIsToldAsRefused() async throws {
            #expect(try await code { $0.host = "127.0.0.1" } == .refused)
            #expect(try await code { $0.host = "localhost" } == .refused)
        }

        #if !NIOSSL
            @Test func wssWithoutTLSNamesTheBackendsThatHaveIt() async throws {
                let error = try await error { $0.isSecure = true }
                #expect(error?.code == .notSupported)
                #expect(error?.message.contains("libwebsockets") == true)
                #expect(error?.message.contains("NIOSSL") == true)
            }
        #endif

        @Test func aTransportThatIsDroppedEndsWithoutShutdown() async throws {
            weak var dropped: NIOSignaling?
            do {
                let transport = try NIOSignaling()
                dropped = transport
                #expect(try await code { _ in } == .refused)
                _ = try? await transport.connect(to: try SignalingEndpoint(url: "ws://127.0.0.1:1/"))
            }
            #expect(dropped == nil)
        }
    }
#endif
