import Glibc
import RoomKit
import Testing

/// A configuration for a port at which nobody listens, since a socket that does not is bound to it.
private func configuration() throws -> RoomConfiguration {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = inet_addr("127.0.0.1")
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let port = withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
            bind(descriptor, address, length)
            getsockname(descriptor, address, &length)
        }
        return UInt16(bigEndian: pointer.pointee.sin_port)
    }
    var configuration = try RoomConfiguration(server: "ws://127.0.0.1:\(port)/")
    configuration.signaling = "foundation"
    configuration.peer = "in-process"
    configuration.joinTimeout = .seconds(1)
    return configuration
}

/// A program that is nothing but a room: what its user sees.
@Suite(.timeLimit(.minutes(1))) struct MainTests {
    private static func text(_ bytes: [UInt8]?) -> String { String(decoding: bytes ?? [], as: UTF8.self) }

    @Test func anErrorIsOneSentenceAndTheStatusIsOne() async {
        let result = await #expect(processExitsWith: .exitCode(1), observing: [\.standardErrorContent]) {
            await TransportRuntime.main(try RoomConfiguration(server: "ws://localhost/{room}")) { _ in }
        }
        let text = Self.text(result?.standardErrorContent)
        #expect(text.hasPrefix("error: 'ws://localhost/{room}' is not a WebSocket URL: "))
        #expect(text.split(separator: "\n").count == 1, "\(text)")
    }

    @Test func withoutAServerTheUserHearsSoAtOnceAndOnce() async {
        let result = await #expect(processExitsWith: .exitCode(1), observing: [\.standardErrorContent]) {
            await TransportRuntime.main(try configuration()) { runtime in
                _ = try await runtime.connect(toRoom: "lobby", as: "alice", host: true)
            }
        }
        let lines = Self.text(result?.standardErrorContent).split(separator: "\n")
        #expect(lines.count == 2, "\(lines)")
        #expect(lines.first?.hasPrefix("room: cannot reach the room 'lobby' at ws://127.0.0.1:") == true)
        #expect(lines.first?.contains("trying again (is a room server running there?") == true)
        #expect(lines.last?.hasPrefix("error: the room 'lobby' at ws://127.0.0.1:") == true)
        #expect(lines.last?.contains(" was not reached within 1") == true)
    }

    @Test func aProgramThatEndsWellSaysNothing() async {
        let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
            await TransportRuntime.main(try configuration()) { _ in }
        }
        #expect(Self.text(result?.standardErrorContent) == "")
    }
}
