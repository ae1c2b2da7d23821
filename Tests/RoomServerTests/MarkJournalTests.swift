import Foundation
import Logging
import RoomProtocol
import RoomServerCore
import Testing

@testable import RoomServer

@Suite("The journal of marks", .timeLimit(.minutes(1)))
struct MarkJournalTests {
    private let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    private let lobby = RoomName("lobby")

    private func kicked(_ session: String) -> Mark { Mark(.kicked(SessionID(session)), in: lobby) }

    private func open(_ path: String, now: Int = 1000) throws -> MarkMemory {
        try MarkJournal.open(path, machines: 1, limits: RoomServerLimits(), now: { now }, logger)
    }

    /// Opens the file, appends marks, and returns those that it had.
    @discardableResult
    private func append(_ marks: [Mark], to path: String, now: Int = 1000) async throws -> [Mark] {
        let memory = try open(path, now: now)
        for mark in marks { memory.journal.append([mark]) }
        await memory.journal.finish()
        return memory.marks
    }

    @Test func marksComeBackInTheirOrder() async throws {
        try await withFolder { folder in
            let path = folder + "/departures"
            #expect(try await append([kicked("a"), kicked("b"), Mark(.nameKicked("bob"), in: lobby)], to: path) == [])
            #expect(try await append([kicked("c")], to: path).count == 3)
            let marks = try await append([], to: path)
            #expect(marks == [kicked("a"), kicked("b"), kicked("c"), Mark(.nameKicked("bob"), in: lobby)])
            var status = stat()
            #expect(stat(path, &status) == 0 && status.st_mode & 0o777 == 0o600)
        }
    }

    @Test func marksExpireWithTheTokensThatTheyRefuse() async throws {
        try await withFolder { folder in
            let path = folder + "/departures"
            try await append([kicked("a")], to: path)
            #expect(try await append([], to: path, now: 1000 + 86_399) == [kicked("a")])
            #expect(try await append([], to: path, now: 1000 + 86_400) == [])
            // They are gone from the file, too.
            #expect(try await append([], to: path, now: 1000) == [])
        }
    }

    /// As after a crash in the middle of a write, or on a damaged disk.
    @Test func damagedLinesAreLeftOutAndTheOthersStay() async throws {
        try await withFolder { folder in
            let path = folder + "/departures"
            try await append([kicked("a"), kicked("b"), kicked("c")], to: path)
            var text = try String(contentsOfFile: path, encoding: .utf8)
            text = text.replacingOccurrences(of: #""subject":"b""#, with: #""subject":"x""#)
            text += String(repeating: "z", count: 200_000) + "\n" + text.prefix(40)
            try text.write(toFile: path, atomically: false, encoding: .utf8)
            #expect(try await append([kicked("d")], to: path) == [kicked("a"), kicked("c")])
            #expect(try await append([], to: path) == [kicked("a"), kicked("c"), kicked("d")])
        }
    }

    @Test func aFileBelongsToOneServerAtATime() async throws {
        try await withFolder { folder in
            let path = folder + "/departures"
            let first = try open(path)
            let error = #expect(throws: RoomServerError.self) { try open(path) }
            #expect(error?.message.contains("--state-dir") == true)
            await first.journal.finish()
            #expect(throws: Never.self) { try open(path) }
        }
    }

    @Test func theFileIsWrittenAnewWhenItHasGrown() async throws {
        try await withFolder { folder in
            let path = folder + "/departures"
            let memory = try open(path)
            // Some 2 MB of marks, of which few hold.
            for _ in 0..<20 {
                memory.journal.append(
                    (0..<500).flatMap { number in
                        [
                            Mark(.roomClosed, in: RoomName("room \(number)")),
                            Mark(.roomCreated, in: RoomName("room \(number)")),
                        ]
                    })
                memory.journal.append([kicked("a")])
            }
            await memory.journal.finish()
            let size = try #require(
                try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int)
            #expect(size < 3 << 19)
            #expect(try await append([], to: path) == [kicked("a")])
        }
    }

    @Test func aFolderThatCannotBeWrittenIsAnErrorOrAWarning() throws {
        var configuration = RoomServerConfiguration()
        configuration.departuresFile = "/proc/departures"
        #expect(throws: RoomServerError.self) { try configuration.openMemory({ 0 }, logger) }
        configuration.requiresDeparturesFile = false
        #expect(try configuration.openMemory({ 0 }, logger) == nil)
    }

    // MARK: Over a restart

    @Test(arguments: [1, 3])
    func kickedLeftAndClosedStayAfterARestartOfTheServer(_ threads: Int) async throws {
        try await withFolder { folder in
            let configure: (inout RoomServerConfiguration) -> Void = {
                $0.sessionKey = .file(folder + "/session.key")
                $0.departuresFile = folder + "/departures"
                $0.threads = threads
            }
            var old: [TestClient] = []
            try await withServer(configure) { server in
                for number in 0..<8 {
                    let room = "room \(number)"
                    let ann = try await TestClient.join(server, "ann", .host, room: room)
                    let bob = try await TestClient.join(server, "bob", room: room)
                    let carol = try await TestClient.join(server, "carol", room: room)
                    let target = try #require(bob.joined?.participant)
                    try await carol.sayNumbered(.leave)
                    #expect(await carol.isClosedByServer())
                    try await ann.sayNumbered(.kick(target, reason: ""))
                    #expect(await bob.isClosedByServer())
                    old += [bob, carol]
                }
            }
            try await withServer(configure) { server in
                for number in 0..<8 {
                    let room = "room \(number)"
                    let kicked = try await refusal(server, "bob", old[2 * number], room)
                    let left = try await refusal(server, "carol", old[2 * number + 1], room)
                    #expect(kicked == .kicked && left == .staleEpoch)
                }
            }
        }
    }

    /// Returns the code with which a return is refused.
    private func refusal(
        _ server: RoomServer, _ name: String, _ old: TestClient, _ room: String
    ) async throws -> ProtocolError.Code? {
        let client = try await TestClient.open(server)
        var hello = Hello(room: RoomName(room), role: .guest, name: name)
        hello.resume = Resume(sessionToken: old.joined?.sessionToken ?? "", received: 0)
        try await client.say(.hello(hello))
        guard case .error(let error) = try await client.next() else { return nil }
        return error.code
    }
}

/// Runs `body` with a new folder, which is removed afterwards.
func withFolder<Result>(
    isolation: isolated (any Actor)? = #isolation, _ body: (String) async throws -> Result
) async throws -> Result {
    let folder = FileManager.default.temporaryDirectory.appending(path: "room-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    return try await body(folder.path)
}
