import ICELibnice
import InProcessTransport
import Logging
import PeerWebRTC
import Testing
import TransportPluginAPI
import TransportTestKit

#if WebRTC
    /// One after the other: `faults` cuts every path of the process.
    @Suite(.serialized) struct WebRTCConformance {
        static let faults = ICEFaultControl()
        static let plugin = WebRTCTransport.plugin(name: "webrtc-libnice", summary: "under test") {
            context throws(TransportError) in try LibniceProvider(context)
        }

        @Sendable static func make() throws -> WebRTCTransport<FaultInjectingICEAgentProvider<LibniceProvider>> {
            let logger = Logger(label: "conformance") { _ in SwiftLogNoOpLogHandler() }
            let provider = try LibniceProvider(PluginContext(logger: logger))
            // The loop of all suites: a process has one for usrsctp, and they may run at the same time.
            return try WebRTCTransport(
                provider: FaultInjectingICEAgentProvider(provider, control: faults), loop: TestPair.loop,
                logger: logger)
        }

        static let subject = PeerSubject(
            capabilities: plugin.descriptor.capabilities, makeTransports: { (try make(), try make()) },
            setPath: { isUp, left, right in
                if isUp { faults.restore() } else { faults.cut() }
                // The agents are told on their loops.
                await left.loop.run {}
                await right.loop.run {}
            })

        @Test(arguments: PeerConformance.clauses(of: subject))
        func keepsTheContract(_ clause: ConformanceClause) async throws { try await clause.run() }
    }
#endif
