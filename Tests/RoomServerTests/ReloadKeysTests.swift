import Foundation
import RoomProtocol
import Testing

@testable import RoomServer

@Suite("Keys that are replaced while the server runs", .timeLimit(.minutes(1)))
struct ReloadKeysTests {
    @Test func aNewSessionKeyLogsNobodyOutWhileTheOldOneIsThere() async throws {
        try await withFolder { folder in
            let path = folder + "/session.key"
            var configuration = RoomServerConfiguration()
            configuration.sessionKey = .file(path)
            try await withServer({ $0 = configuration }) { server in
                let ann = try await TestClient.join(server, "ann", .host)
                try FileManager.default.moveItem(atPath: path, toPath: path + ".previous")
                try await server.reload(configuration)
                try await ann.abort()
                let resumed = try await TestClient.comeBack(server, "ann", from: ann)
                #expect(resumed.joined?.isResumed == true)
                // Now the old key goes, and with it its tokens.
                try FileManager.default.removeItem(atPath: path + ".previous")
                try await server.reload(configuration)
                #expect(try await refusal(server, ann.joined?.sessionToken) == .unauthorized)
                try await resumed.abort()
                let again = try await TestClient.comeBack(server, "ann", from: resumed)
                #expect(again.joined?.isResumed == true)
            }
        }
    }

    @Test func aRestartInTheMiddleOfARotationLogsNobodyOut() async throws {
        try await withFolder { folder in
            let path = folder + "/session.key"
            var configuration = RoomServerConfiguration()
            configuration.sessionKey = .file(path)
            var old: TestClient?
            try await withServer({ $0 = configuration }) { old = try await TestClient.join($0, "ann", .host) }
            try FileManager.default.moveItem(atPath: path, toPath: path + ".previous")
            let ann = try #require(old)
            try await withServer({ $0 = configuration }) { server in
                let again = try await TestClient.comeBack(server, "ann", from: ann)
                #expect(again.joined?.session == ann.joined?.session)
            }
            // The same key in another file.
            try FileManager.default.moveItem(atPath: path + ".previous", toPath: path + ".2025")
            configuration.previousSessionKeyFiles = [path + ".2025"]
            try await withServer({ $0 = configuration }) { server in
                let again = try await TestClient.comeBack(server, "ann", from: ann)
                #expect(again.joined?.session == ann.joined?.session)
            }
        }
    }

    @Test func aKeyWithoutAFileStays() async throws {
        try await withServer { server in
            let ann = try await TestClient.join(server, "ann", .host)
            try await server.reload(RoomServerConfiguration())
            try await ann.abort()
            #expect(try await TestClient.comeBack(server, "ann", from: ann).joined?.isResumed == true)
        }
    }

    @Test func joinTokensOfANewKeyAreTakenAndThoseOfARemovedOneRefused() async throws {
        try await withFolder { folder in
            let (old, new) = (Array("the secret of last year".utf8), Array("the secret of this year".utf8))
            let files = [folder + "/old", folder + "/new"]
            try Data(old).write(to: URL(fileURLWithPath: files[0]))
            try Data(new).write(to: URL(fileURLWithPath: files[1]))
            var configuration = RoomServerConfiguration()
            configuration.joinTokens.secretFiles = [files[0]]
            try await withServer({ $0 = configuration }) { server in
                #expect(try await code(server, old) == nil)
                #expect(try await code(server, new) == .unauthorized)
                configuration.joinTokens.secretFiles = files
                try await server.reload(configuration)
                #expect(try await code(server, old) == nil)
                #expect(try await code(server, new) == nil)
                configuration.joinTokens.secretFiles = [files[1]]
                try await server.reload(configuration)
                #expect(try await code(server, old) == .unauthorized)
                // A mistake changes nothing.
                configuration.joinTokens.secretFiles = [folder + "/none"]
                await #expect(throws: RoomServerError.self) { try await server.reload(configuration) }
                #expect(try await code(server, new) == nil)
            }
        }
    }

    /// Returns the code with which a first join is refused whose token is signed with `secret`.
    private func code(_ server: RoomServer, _ secret: [UInt8]) async throws -> ProtocolError.Code? {
        let client = try await TestClient.open(server)
        let room = UUID().uuidString
        let token = JoinToken(room: room, expiry: 4_000_000_000).signed(with: secret)
        try await client.say(.hello(Hello(room: RoomName(room), role: .host, name: "ann", token: token)))
        guard case .error(let error) = try await client.next() else { return nil }
        return error.code
    }

    private func refusal(_ server: RoomServer, _ sessionToken: String?) async throws -> ProtocolError.Code? {
        let client = try await TestClient.open(server)
        var hello = Hello(room: RoomName("lobby"), role: .host, name: "ann")
        hello.resume = Resume(sessionToken: sessionToken ?? "", received: 0)
        try await client.say(.hello(hello))
        guard case .error(let error) = try await client.next() else { return nil }
        return error.code
    }
}
