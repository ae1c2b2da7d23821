package import TransportPluginAPI

/// A client of Autobahn's fuzzing server: runs each of the server's test cases over a signaling transport. A case
/// expects that the client echoes every message.
package struct AutobahnClient: Sendable {
    private let server: String
    private let agent: String

    /// Autobahn's largest messages have 16 MiB.
    private static let messageLimit = 64 << 20

    /// Creates a client of the fuzzing server at the URL `server`. The server's report has the results under the name
    /// `agent`.
    package init(server: String, agent: String) {
        self.server = server
        self.agent = agent
    }

    /// Runs all cases, one after the other, and has the server write its report. Throws when the server cannot be
    /// reached or does not say how many cases there are; whether a case has passed is in the report alone.
    package func run(_ transport: some SignalingTransport) async throws {
        let counter = try await transport.connect(to: try endpoint("/getCaseCount"))
        guard let text = try await counter.receive()?.payload.utf8Text, let count = Int(text) else {
            throw TransportError(.protocolViolation, "\(server) did not say how many cases there are")
        }
        await counter.close(.normal, within: .seconds(5))
        for number in 1...max(1, count) {
            await echo(try await transport.connect(to: try endpoint("/runCase?case=\(number)&agent=\(agent)")))
        }
        await echo(try await transport.connect(to: try endpoint("/updateReports?agent=\(agent)")))
    }

    /// Echoes until the connection has ended; Autobahn judges how it ended.
    private func echo(_ connection: some SignalingConnection) async {
        do {
            while let message = try await connection.receive() { try await connection.send(message) }
        } catch {}
        await connection.close(.normal, within: .seconds(5))
    }

    private func endpoint(_ path: String) throws -> SignalingEndpoint {
        var endpoint = try SignalingEndpoint(url: server)
        endpoint.path = path
        // Autobahn writes the report of a large case before it answers again.
        endpoint.connectTimeout = .seconds(120)
        endpoint.maximumMessageSize = Self.messageLimit
        endpoint.bufferLimit = Self.messageLimit
        return endpoint
    }
}
