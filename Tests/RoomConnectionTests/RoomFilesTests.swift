import Foundation
import RoomProtocol
import Testing
import TransportPluginAPI
import TransportTestKit

@testable import FileTransfer
@testable import RoomConnection

/// Transfers of files beside a conversation: how many there are at once, and how they are given up.
@Suite(.timeLimit(.minutes(1))) struct RoomFilesTests {
    /// A folder of one test, with a file of zeros to send.
    private final class Folder: Sendable {
        let url = FileManager.default.temporaryDirectory.appendingPathComponent("room-files-\(UUID().uuidString)")
        let tree: SourceTree
        var target: URL { url.appendingPathComponent("target") }

        init(_ count: Int) throws {
            try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
            let file = url.appendingPathComponent("file")
            try Data(count: count).write(to: file)
            tree = try SourceTree([file.path])
        }

        deinit { try? FileManager.default.removeItem(at: url) }

        var arrived: [String] { ((try? FileManager.default.contentsOfDirectory(atPath: target.path)) ?? []).sorted() }
    }

    /// A member of the room that sends and takes files.
    private struct Actor: Sendable {
        let member: Member
        let files: RoomFiles
        let failures: Journal<String>

        /// Sends to bob.
        func send(
            _ folder: Folder, _ report: @escaping @Sendable (TransferEvent) -> Void = { _ in }
        ) async throws -> TransferSummary {
            let bob = try #require(member.room.participants.first { $0.name == "bob" })
            return try await files.send(folder.tree, to: bob, report)
        }
    }

    private func actor(
        _ name: String, in world: World, host: HostRole = .guest, limit: Int = RoomFiles.receivingLimit,
        _ folder: Folder,
        consent: @escaping @Sendable (FileReceiver.Offer) async -> Bool = { _ in true },
        report: @escaping @Sendable (RoomFiles, TransferEvent) -> Void = { _, _ in },
        _ body: (Actor) async throws -> Void
    ) async throws {
        try await world.member(name, host: host) { member in
            let files = RoomFiles(member.room, receivingLimit: limit)
            let failures = Journal<String>()
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    await files.receive(into: folder.target.path, consent: consent) { _, event in
                        report(files, event)
                    } failed: { name, error in
                        failures.append("\(name): \((error as? TransferError)?.message ?? "\(error)")")
                    }
                }
                try await body(Actor(member: member, files: files, failures: failures))
                group.cancelAll()
            }
        }
    }

    @Test func transfersOverTheLimitAreRefused() async throws {
        #expect(RoomFiles.receivingLimit == 64)
        let folder = try Folder(10)
        let asked = Journal<String>()
        let opened = Journal<String>()
        try await World.run { world in
            try await actor(
                "bob", in: world, host: .host, limit: 2, folder,
                consent: { offer in
                    asked.append(offer.senderName)
                    try? await opened.wait("the answer") { $0.contains(offer.senderName) }
                    return true
                }
            ) { _ in
                try await actor("alice", in: world, folder) { alice in
                    try await actor("carol", in: world, folder) { carol in
                        try await actor("dave", in: world, folder) { dave in
                            for actor in [alice, carol, dave] { try await actor.member.waitUntilConnected(to: 3) }
                            async let first = alice.send(folder)
                            async let second = carol.send(folder)
                            try await asked.wait("both questions") { $0.count == 2 }
                            let error = await #expect(throws: TransferError.self) { try await dave.send(folder) }
                            #expect(error?.message.contains("too many transfers are under way") == true)
                            // One after the other: they are the same file, which one transfer at a time may write.
                            opened.append("alice")
                            _ = try await first
                            opened.append("carol")
                            _ = try await second
                            #expect(folder.arrived == ["file", "file (2)"])
                        }
                    }
                }
            }
        }
    }

    private static let givenUp = "the transfer was given up: what has arrived is kept"

    @Test func aSenderGivesATransferUp() async throws {
        let folder = try Folder(64_000_000)
        try await World.run { world in
            try await actor("bob", in: world, host: .host, folder) { bob in
                try await actor("alice", in: world, folder) { alice in
                    try await alice.member.waitUntilConnected()
                    #expect(!alice.files.cancel("bob") && !alice.files.cancel("nobody"))
                    let error = await #expect(throws: TransferError.self) {
                        try await alice.send(folder) { event in
                            guard case .progress = event else { return }
                            _ = alice.files.cancel("bob")
                        }
                    }
                    #expect(error?.message == Self.givenUp)
                    #expect(!alice.files.cancel("bob"), "it has ended")
                    try await bob.failures.wait("the end") { !$0.isEmpty }
                    #expect(bob.failures.entries == ["alice: alice has ended the transfer: \(Self.givenUp)"])
                    #expect(folder.arrived.count == 1 && folder.arrived.first?.hasSuffix(".part") == true)
                }
            }
        }
    }

    @Test func aReceiverGivesATransferUp() async throws {
        let folder = try Folder(64_000_000)
        try await World.run { world in
            try await actor(
                "bob", in: world, host: .host, folder,
                report: { files, event in
                    guard case .progress = event else { return }
                    _ = files.cancel("alice")
                }
            ) { bob in
                try await actor("alice", in: world, folder) { alice in
                    try await alice.member.waitUntilConnected()
                    let error = await #expect(throws: TransferError.self) { try await alice.send(folder) }
                    #expect(error?.message == "bob has ended the transfer: \(Self.givenUp)")
                    try await bob.failures.wait("the end") { !$0.isEmpty }
                    #expect(bob.failures.entries == ["alice: \(Self.givenUp)"])
                    #expect(folder.arrived.count == 1 && folder.arrived.first?.hasSuffix(".part") == true)
                }
            }
        }
    }
}
