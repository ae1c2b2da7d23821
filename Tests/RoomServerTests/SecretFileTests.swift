import Foundation
import Logging
import Testing

@testable import RoomServer

@Suite("Files with secrets")
struct SecretFileTests {
    private let directory = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    private let log = CapturedLog(.warning)
    private var logger: Logger { log.logger }

    init() throws { try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true) }

    private func load(_ name: String) throws -> [UInt8] {
        try RoomServerConfiguration.SessionKey.file(path(name)).load(logger)
    }

    private func path(_ name: String) -> String { directory.appendingPathComponent(name).path }

    private func write(_ name: String, _ bytes: [UInt8], mode: Int = 0o600) {
        _ = FileManager.default.createFile(
            atPath: path(name), contents: Data(bytes), attributes: [.posixPermissions: mode])
    }

    private func files() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: directory.path) }

    @Test func aKeyIsMadeOnceAndKept() throws {
        let key = try load("key")
        #expect(key.count == 32 && key.contains { $0 != 0 })
        #expect(try load("key") == key)
        #expect(try files() == ["key"])
        let attributes = try FileManager.default.attributesOfItem(atPath: path("key"))
        #expect(attributes[.posixPermissions] as? Int == 0o600)
        #expect(log.lines.count == 0)
    }

    @Test func serversThatStartAtTheSameTimeAgreeOnOneKey() async throws {
        let keys = try await withThrowingTaskGroup(of: [UInt8].self) { group in
            for _ in 0..<16 { group.addTask { try load("key") } }
            return try await group.reduce(into: Set<[UInt8]>()) { $0.insert($1) }
        }
        #expect(keys.count == 1)
        #expect(try files() == ["key"])
    }

    @Test(arguments: [
        ([], "is empty"), ([UInt8](repeating: 7, count: 31), "has 31 bytes"),
        ([UInt8](repeating: 0, count: 32), "only zeros"),
    ])
    func aDamagedKeyIsNamedAndLeftAsItIs(_ bytes: [UInt8], _ what: String) throws {
        write("key", bytes)
        let error = #expect(throws: RoomServerError.self) { try load("key") }
        #expect(error?.message.contains(what) == true && error?.message.contains(path("key")) == true)
        // `FileManager.contents(atPath:)` leaks a buffer where the file is empty.
        let file = try #require(FileHandle(forReadingAtPath: path("key")))
        #expect(try file.readToEnd() ?? Data() == Data(bytes))
    }

    @Test func aFileThatIsTooLargeOrMissingIsNoKey() {
        write("key", [UInt8](repeating: 7, count: 4097))
        #expect(throws: RoomServerError.self) { try load("key") }
        #expect(throws: RoomServerError.self) { try load("") }
        #expect(throws: RoomServerError.self) { try load("no/such/folder/key") }
    }

    @Test(arguments: [(0o600, 0), (0o400, 0), (0o640, 1), (0o644, 1), (0o660, 1)])
    func aFileThatOthersCanReadIsTakenWithAWarning(_ mode: Int, _ warnings: Int) throws {
        write("key", [UInt8](repeating: 7, count: 32), mode: mode)
        #expect(try load("key").count == 32)
        #expect(log.lines.count == warnings)
    }

    @Test(arguments: [0o602, 0o622, 0o646, 0o666, 0o777])
    func aFileThatEverybodyCanWriteIsRefused(_ mode: Int) {
        write("key", [UInt8](repeating: 7, count: 32), mode: mode)
        let error = #expect(throws: RoomServerError.self) { try load("key") }
        #expect(error?.message.contains("mode \(String(mode, radix: 8))") == true)
    }

    @Test(arguments: [
        ("s3cret\n", "s3cret"), ("s3cret\r\n\n", "s3cret"), (" a\nb ", " a\nb "), ("a\n", nil), ("\n", nil), ("", nil),
    ])
    func lineEndsBehindASecretAreNoPartOfIt(_ text: String, _ secret: String?) throws {
        write("secret", Array(text.utf8))
        if let secret {
            #expect(try SecretFile.secret(path("secret"), logger) == Array(secret.utf8))
        } else {
            #expect(throws: RoomServerError.self) { try SecretFile.secret(path("secret"), logger) }
        }
        #expect(throws: RoomServerError.self) { try SecretFile.secret(path("missing"), logger) }
    }

    @Test(arguments: [(1, nil), (3, nil), (4, 1), (31, 1), (32, 0), (64, 0)] as [(Int, Int?)])
    func secretsOfJoinTokensThatCanBeGuessedAreWarnedOfOrRefused(_ count: Int, _ warnings: Int?) throws {
        var configuration = RoomServerConfiguration()
        configuration.joinTokenSecret = [UInt8](repeating: 7, count: count)
        guard let warnings else {
            #expect(throws: RoomServerError.self) { try configuration.checkSecrets(logger) }
            return
        }
        try configuration.checkSecrets(logger)
        #expect(log.lines.count == warnings)
    }
}
