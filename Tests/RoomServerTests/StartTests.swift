import Glibc
import Logging
import Testing

@testable import RoomServer

@Suite("Servers that cannot start", .timeLimit(.minutes(1)))
struct StartTests {
    /// Returns the error of a server that cannot start, and leaves nothing in memory either.
    private func error(_ configure: (inout RoomServerConfiguration) -> Void) async throws -> RoomServerError? {
        var configuration = RoomServerConfiguration()
        configure(&configuration)
        var result: RoomServerError?
        try await expectNothingRemains(Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }) { logger in
            let server = RoomServer(configuration: configuration, logger: logger)
            do { try await server.run() } catch { result = error as? RoomServerError }
        }
        return result
    }

    /// A service is started again after the one, and not after the other.
    @Test func whatGoesAwayByItselfIsNoMistakeInTheSettings() async throws {
        try await withServer { server in
            let taken = try await server.address.port
            #expect(try await error { $0.port = taken }?.isTransient == true)
            let admin = try #require(
                try await error {
                    $0.admin = .init()
                    $0.admin?.port = taken
                    $0.admin?.token = Array("0123456789abcdef".utf8)
                })
            #expect(admin.isTransient && admin.message.contains("admin API"))
        }
        #expect(try await error { $0.host = "203.0.113.1" }?.isTransient == true)
        #expect(try await error { $0.threads = 0 }?.isTransient == false)
        #expect(try await error { $0.sessionKey = .file("/nowhere/key") }?.isTransient == false)
        #expect(RoomServerError.isTransient(ENOSPC) && !RoomServerError.isTransient(EACCES))
    }
}
