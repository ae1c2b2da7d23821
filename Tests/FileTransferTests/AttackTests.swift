import Foundation
import Glibc
import Hashing
import Testing
import TransportPluginAPI

@testable import FileTransfer

/// Entries that others have put into the receiving folder, and senders that do not keep the protocol.
@Suite(.timeLimit(.minutes(1))) struct AttackTests {
    private static func partPath(_ desk: Desk, _ name: String) throws -> String {
        let tree = try desk.tree(name)
        return desk.target.appendingPathComponent(ArrivalPlan.partName(tree.manifest.entries[0])).path
    }

    /// A file that must stay as it is.
    private struct Victim {
        let path: String
        private let content = Data("precious".utf8)

        init(_ desk: Desk) throws {
            path = desk.source.appendingPathComponent("victim").path
            try content.write(to: URL(filePath: path))
        }

        var isUnharmed: Bool { (try? Data(contentsOf: URL(filePath: path))) == content }
    }

    @Test(arguments: [false, true])
    func anotherNameOfAFileInThePlaceOfThePartIsNotWritten(_ isSymbolic: Bool) async throws {
        let desk = try Desk("a", Desk.bytes(1000))
        let victim = try Victim(desk)
        let part = try Self.partPath(desk, "a")
        try #require((isSymbolic ? symlink(victim.path, part) : link(victim.path, part)) == 0)
        #expect(try await desk.transfer(["a"]).receiveError?.code == .file)
        #expect(victim.isUnharmed)
    }

    @Test func aPipeInThePlaceOfThePartDoesNotHang() async throws {
        let desk = try Desk("a", Desk.bytes(1000))
        try #require(mkfifo(try Self.partPath(desk, "a"), 0o600) == 0)
        #expect(try await desk.transfer(["a"]).receiveError?.code == .file)
    }

    @Test func aLinkInThePlaceOfTheFileIsNotFollowed() async throws {
        let desk = try Desk("a", Desk.bytes(1000))
        let victim = try Victim(desk)
        try #require(symlink(victim.path, desk.target.appendingPathComponent("a").path) == 0)
        for policy in [ExistingFiles.refuse, .overwrite] {
            #expect(try await desk.transfer(["a"], existing: policy).receiveError?.code == .exists)
        }
        _ = try await desk.transfer(["a"], existing: .rename).received.get()
        #expect(victim.isUnharmed)
        #expect(desk.arrived("a (2)")?.count == 1000)
    }

    @Test func aLinkInThePlaceOfAFolderIsNotFollowed() async throws {
        let desk = try Desk("d/a", Desk.bytes(1000))
        let outside = desk.source.appendingPathComponent("outside")
        try FileManager.default.createDirectory(at: outside, withIntermediateDirectories: true)
        let place = desk.target.appendingPathComponent("d").path
        try #require(symlink(outside.path, place) == 0)
        #expect(try await desk.transfer(["d"]).receiveError?.code == .exists)
        try #require(unlink(place) == 0)
        // Put there after the look at the folder, and before the file.
        let outcome = try await desk.transfer(["d"], existing: .overwrite) { event in
            guard case .agreed = event else { return }
            try? FileManager.default.removeItem(atPath: place)
            symlink(outside.path, place)
        }
        #expect(outcome.receiveError?.code == .exists)
        #expect(try FileManager.default.contentsOfDirectory(atPath: outside.path).isEmpty)
    }

    @Test func aFileThatAppearsMeanwhileIsNotReplaced() async throws {
        let desk = try Desk()
        let content = try desk.add("a", Desk.bytes(1000))
        let place = desk.target.appendingPathComponent("a")
        let outcome = try await desk.transfer(["a"]) { event in
            if case .began = event { try? Data("mine".utf8).write(to: place) }
        }
        #expect(outcome.receiveError?.code == .exists)
        #expect(desk.arrived("a") == Data("mine".utf8))
        #expect(desk.parts.count == 1, "what has arrived is kept")
        let again = try await desk.transfer(["a"], existing: .rename)
        #expect(try again.received.get().presentCount == 1000)
        #expect(desk.arrived("a (2)") == content)
    }

    @Test func twoReceiversDoNotWriteTheSamePart() async throws {
        let desk = try Desk("a", Desk.bytes(1000))
        let root = try OpenFolder(named: desk.target.path)
        let path = try Self.partPath(desk, "a")
        let held = try root.openPart(URL(filePath: path).lastPathComponent)
        #expect(try await desk.transfer(["a"]).receiveError?.code == .busy)
        withExtendedLifetime(held) {}
    }

    /// Receives from a sender that says `messages` after the greeting.
    private static func receive(_ desk: Desk, _ messages: [[UInt8]]) async throws -> TransferError? {
        let (mine, other) = PipeConnection.pair()
        let receiver = try FileReceiver(into: desk.target.path, code: nil, existing: .refuse)
        let outcome = Task {
            await Result {
                try await receiver.receive(over: other, consent: { _ in true }, { _ in })
            }
        }
        var link = TransferLink(mine)
        try await TransferHandshake(.sender, nil).perform(over: &link)
        for message in messages { try await mine.write(Payload(message)) }
        await mine.close()
        return await outcome.value.failure as? TransferError
    }

    /// The encoded list of one entry whose path is not checked.
    private static func list(_ path: String, kind: UInt8 = 0, size: UInt64 = 4) -> [UInt8] {
        var writer = ByteWriter()
        writer.add(UInt32(1))
        writer.add(size)
        writer.add(kind)
        writer.add(UInt16(0o644))
        writer.add(size)
        writer.add(Int64(0))
        writer.add(text: path)
        return TransferMessage.manifest(writer.bytes, isLast: true).encoded
    }

    @Test(arguments: ["../a", "/tmp/a", "a/../../b", "..", "", "a\\..\\b", "a\u{1B}[2J", "NUL", "d/a"])
    func aSenderThatSendsSuchANameIsRefused(_ path: String) async throws {
        let desk = try Desk()
        let error = try await Self.receive(desk, [Self.list(path)])
        #expect(error?.code == .unsafeName)
        #expect(desk.everything.isEmpty)
    }

    @Test func aSenderThatDoesNotKeepTheProtocolIsRefused() async throws {
        let data = TransferMessage.header(.data, length: 4) + [1, 2, 3, 4]
        let end = TransferMessage.endOfFile(Crypto.sha256([1, 2, 3, 4])).encoded
        func file(_ index: UInt32, _ offset: UInt64 = 0) -> [UInt8] {
            TransferMessage.file(index: index, offset: offset).encoded
        }
        let list = Self.list("a")
        let plays: [[[UInt8]]] = [
            [data], [list, data], [list, end], [list, file(1)], [list, file(.max)], [list, file(0, 1)],
            [list, file(0, 4)], [list, file(0, .max)], [list, file(0), data, data], [list, file(0), file(0)],
            [list, file(0), data, file(0)], [list, TransferMessage.accept.encoded],
            [list, TransferMessage.goodbye.encoded], [Self.list("a", kind: 1)], [Self.list("a", kind: 2)],
            [list, [99, 0, 0, 0, 0]], [list, [8, 255, 255, 255, 255]], [list, [3, 255, 255, 255, 255]],
        ]
        for (number, play) in plays.enumerated() {
            let desk = try Desk()
            let error = try await Self.receive(desk, play)
            #expect(error?.code == .protocolViolation, "play \(number): \(error?.message ?? "accepted")")
            #expect(desk.arrived("a") == nil)
        }
        let desk = try Desk()
        #expect(try await Self.receive(desk, [list, file(0), data, end]) == nil)
        #expect(desk.arrived("a") == Data([1, 2, 3, 4]))
        #expect(try await Self.receive(try Desk(), [list, file(0), end])?.code == .damaged)
    }

    @Test func linksAndDevicesAreNotSent() throws {
        let desk = try Desk("d/a", Data("x".utf8))
        try #require(symlink("/etc/passwd", desk.source.appendingPathComponent("d/link").path) == 0)
        try #require(mkfifo(desk.source.appendingPathComponent("d/pipe").path, 0o600) == 0)
        let tree = try desk.tree("d/")
        #expect(tree.manifest.entries.map(\.path.text) == ["d", "d/a"])
        #expect(tree.passedOver.count == 2)
        try desk.add("e/a\\b", Data())
        #expect(throws: TransferError.self) { try desk.tree("e") }
        #expect(throws: TransferError.self) { try desk.tree("none") }
        #expect(throws: TransferError.self) { try SourceTree(["/dev/null"]) }
        #expect(throws: TransferError.self) { try SourceTree(["/"]) }
        let twice = desk.source.appendingPathComponent("d/a").path
        #expect(throws: TransferError.self) { try SourceTree([twice, twice]) }
    }

    @Test func aFileThatIsReplacedByALinkBeforeItIsReadIsNotSent() async throws {
        let desk = try Desk("d/a", Data("x".utf8))
        let tree = try desk.tree("d")
        let path = desk.source.appendingPathComponent("d/a").path
        try #require(unlink(path) == 0 && symlink("/etc/passwd", path) == 0)
        #expect(throws: TransferError.self) { try tree.open(tree.manifest.entries[1]) }
    }
}
