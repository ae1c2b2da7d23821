import Foundation
import Hashing
import Testing
import TransportPluginAPI

@testable import FileTransfer

/// Whole transfers between two folders, in this process.
@Suite(.timeLimit(.minutes(2))) struct TransferTests {
    @Test func filesAndFoldersArriveWithDatesAndPermissions() async throws {
        let desk = try Desk()
        let large = try desk.add("large.bin", Desk.bytes(3_000_001))
        let small = try desk.add("folder/inner/ü.txt", Data("hello".utf8))
        try desk.add("folder/empty", Data())
        try FileManager.default.createDirectory(
            at: desk.source.appendingPathComponent("folder/nothing"), withIntermediateDirectories: true)
        let date = Date(timeIntervalSince1970: 1_000_000_000)
        try FileManager.default.setAttributes(
            [.modificationDate: date, .posixPermissions: 0o4750],
            ofItemAtPath: desk.source.appendingPathComponent("folder/inner/ü.txt").path)
        let outcome = try await desk.transfer(["large.bin", "folder"])
        let summary = try outcome.received.get()
        #expect(try outcome.sent.get() == summary)
        #expect(summary == TransferSummary(fileCount: 3, byteCount: 3_000_006, presentCount: 0))
        #expect(desk.arrived("large.bin") == large)
        #expect(desk.arrived("folder/inner/ü.txt") == small)
        #expect(desk.arrived("folder/empty") == Data())
        #expect(
            desk.everything == [
                "folder", "folder/empty", "folder/inner", "folder/inner/ü.txt", "folder/nothing", "large.bin",
            ])
        let facts = try FileManager.default.attributesOfItem(
            atPath: desk.target.appendingPathComponent("folder/inner/ü.txt").path)
        #expect(facts[.modificationDate] as? Date == date)
        #expect((facts[.posixPermissions] as? Int ?? 0) & ~0o750 == 0, "never setuid")
        #expect((facts[.posixPermissions] as? Int ?? 0) & 0o700 == 0o700)
    }

    @Test func aBrokenTransferGoesOnWhereItWas() async throws {
        let desk = try Desk()
        let content = try desk.add("file", Desk.bytes(20_000_000))
        try desk.add("second", Data("x".utf8))
        let pair = PipeConnection.pair()
        pair.0.cut(after: 12_000_000)
        let first = try await desk.transfer(["file", "second"], pair: pair)
        #expect(first.sendError?.code == .interrupted && first.receiveError?.code == .interrupted)
        #expect(desk.parts.count == 1 && desk.arrived("file") == nil)
        let second = try await desk.transfer(["file", "second"])
        let summary = try second.received.get()
        #expect(summary.presentCount > 10_000_000 && summary.presentCount <= 12_000_000)
        #expect(desk.arrived("file") == content && desk.parts.isEmpty)
        // Once more: everything is there, and nothing is written.
        let third = try await desk.transfer(["file", "second"])
        #expect(try third.received.get().presentCount == 20_000_001)
        #expect(desk.everything == ["file", "second"])
    }

    @Test func aTornEndCostsOnlyTheEnd() async throws {
        let desk = try Desk()
        let content = try desk.add("file", Desk.bytes(8_000_000))
        let tree = try desk.tree("file")
        let name = ArrivalPlan.partName(tree.manifest.entries[0])
        // As after a loss of power: the length is on the disk, the last bytes are not.
        let torn = content.prefix(5_800_000) + Data(count: 200_000)
        try torn.write(to: desk.target.appendingPathComponent(name))
        let outcome = try await desk.transfer(["file"])
        let present = try outcome.received.get().presentCount
        #expect(present >= 5_000_000 && present <= 5_800_000)
        #expect(desk.arrived("file") == content && desk.parts.isEmpty)
    }

    @Test func aPartOfAnotherContentIsNotBuiltUpon() async throws {
        let desk = try Desk()
        let content = try desk.add("file", Desk.bytes(1_000_000))
        let tree = try desk.tree("file")
        let part = desk.target.appendingPathComponent(ArrivalPlan.partName(tree.manifest.entries[0]))
        try Desk.bytes(2_000_000, seed: 9).write(to: part)
        let outcome = try await desk.transfer(["file"])
        #expect(try outcome.received.get().presentCount == 0)
        #expect(desk.arrived("file") == content && desk.parts.isEmpty)
    }

    @Test func nothingIsOverwrittenUnasked() async throws {
        let desk = try Desk()
        try desk.add("a", Data("new".utf8))
        try desk.add("b", Data("other".utf8))
        let old = Data("an older one".utf8)
        try old.write(to: desk.target.appendingPathComponent("b"))
        let outcome = try await desk.transfer(["a", "b"])
        #expect(outcome.receiveError?.code == .exists && outcome.sendError?.code == .exists)
        #expect(outcome.sendError?.isFromOtherSide == true)
        #expect(desk.everything == ["b"] && desk.arrived("b") == old, "and nothing else was begun")
    }

    @Test func sameSizeAndDateWithOtherContentsIsAnotherFile() async throws {
        let desk = try Desk("a", Data("new".utf8))
        let old = desk.target.appendingPathComponent("a")
        try Data("old".utf8).write(to: old)
        let date = Date(timeIntervalSince1970: 1_000_000_000)
        for file in [old, desk.source.appendingPathComponent("a")] {
            try FileManager.default.setAttributes([.modificationDate: date], ofItemAtPath: file.path)
        }
        #expect(try await desk.transfer(["a"]).receiveError?.code == .exists)
        #expect(desk.arrived("a") == Data("old".utf8))
        _ = try await desk.transfer(["a"], existing: .rename).received.get()
        #expect(desk.arrived("a") == Data("old".utf8) && desk.arrived("a (2)") == Data("new".utf8))
        _ = try await desk.transfer(["a"], existing: .overwrite).received.get()
        #expect(desk.arrived("a") == Data("new".utf8))
    }

    @Test func filesAreReplacedOrRenamedWhenAsked() async throws {
        let desk = try Desk("a.txt", Data("new one".utf8))
        let old = desk.target.appendingPathComponent("a.txt")
        try Data("old".utf8).write(to: old)
        _ = try await desk.transfer(["a.txt"], existing: .rename).received.get()
        #expect(desk.arrived("a.txt") == Data("old".utf8) && desk.arrived("a (2).txt") == Data("new one".utf8))
        // Started again, the one under the other name is the same.
        let again = try await desk.transfer(["a.txt"], existing: .rename)
        #expect(try again.received.get().presentCount == 7)
        _ = try await desk.transfer(["a.txt"], existing: .overwrite).received.get()
        #expect(desk.arrived("a.txt") == Data("new one".utf8))
        #expect(desk.everything == ["a (2).txt", "a.txt"])
    }

    @Test func whatTheReceiverDoesNotWantIsNotSent() async throws {
        let desk = try Desk("a", Desk.bytes(1000))
        let outcome = try await desk.transfer(["a"], consents: false)
        #expect(outcome.receiveError?.code == .declined)
        #expect(outcome.sendError?.code == .declined && outcome.sendError?.isFromOtherSide == true)
        #expect(desk.everything.isEmpty)
    }

    @Test func aTransferOverTheBoundsIsRefused() async throws {
        let desk = try Desk("a", Desk.bytes(1000))
        var limits = Manifest.Limits()
        limits.total = 999
        let outcome = try await desk.transfer(["a"], limits: limits)
        #expect(outcome.receiveError?.code == .tooLarge && outcome.sendError?.code == .tooLarge)
        #expect(desk.everything.isEmpty)
    }

    @Test func damageIsNoticedAndNotKept() async throws {
        let desk = try Desk("a", Desk.bytes(1_000_000))
        let pair = PipeConnection.pair { piece in
            guard piece.count > 100_000 else { return piece }
            return piece.withUnsafeBytes { bytes in
                var copy = Array(bytes)
                copy[50_000] ^= 1
                return Payload(copy)
            }
        }
        let outcome = try await desk.transfer(["a"], pair: pair)
        #expect(outcome.receiveError?.code == .damaged && outcome.sendError?.code == .damaged)
        #expect(desk.everything.isEmpty)
    }

    @Test func progressIsWhatTheReceiverHasWritten() async throws {
        let desk = try Desk("a", Desk.bytes(10_000_000))
        let outcome = try await desk.transfer(["a"])
        let counts = outcome.events.compactMap { event -> UInt64? in
            if case .progress(let progress) = event { progress.count } else { nil }
        }
        #expect(counts.last == 10_000_000 && counts == counts.sorted())
    }

    @Test func aFileThatChangesWhileItIsSentIsAnError() async throws {
        let desk = try Desk("a", Desk.bytes(8_000_000))
        let path = desk.source.appendingPathComponent("a")
        let outcome = try await desk.transfer(["a"]) { event in
            if case .began = event {
                try? FileManager.default.setAttributes([.modificationDate: Date.distantPast], ofItemAtPath: path.path)
            }
        }
        #expect(outcome.sendError?.code == .damaged && outcome.receiveError?.code == .damaged)
        #expect(desk.arrived("a") == nil)
    }
}

/// The proofs of the code.
@Suite(.timeLimit(.minutes(1))) struct IdentityTests {
    @Test func theSameCodeAndCertificatesAreAccepted() async throws {
        let desk = try Desk("a", Desk.bytes(10))
        let code = TransferCode()
        let pair = PipeConnection.pair()
        let outcome = try await desk.transfer(["a"], pair: pair, codes: (code, code))
        #expect(try outcome.received.get().fileCount == 1)
        #expect(pair.0.hasPinned.withLock { $0 } && pair.1.hasPinned.withLock { $0 })
        guard case .met(name: "alice", isProved: true)? = outcome.events.first else {
            Issue.record("not proved")
            return
        }
    }

    @Test func anotherCodeEndsItBeforeAnythingIsSaid() async throws {
        let desk = try Desk("a", Desk.bytes(10))
        let outcome = try await desk.transfer(["a"], codes: (TransferCode(), TransferCode()))
        #expect(outcome.receiveError?.code == .identity && outcome.sendError?.code == .identity)
        #expect(outcome.events.isEmpty && desk.everything.isEmpty)
    }

    @Test func somebodyInTheMiddleEndsIt() async throws {
        let desk = try Desk("a", Desk.bytes(10))
        let code = TransferCode()
        let outcome = try await desk.transfer(
            ["a"], pair: PipeConnection.pair(middle: "sha-256 EE"), codes: (code, code))
        #expect(outcome.receiveError?.code == .identity && outcome.sendError?.code == .identity)
        #expect(outcome.events.isEmpty && desk.everything.isEmpty)
    }

    @Test func theProofCannotBeGivenBack() async throws {
        // A receiver without the code that sends the sender's own messages back to it.
        let desk = try Desk("a", Desk.bytes(10))
        let (mine, other) = PipeConnection.pair()
        let sender = try FileSender(
            try desk.tree("a"), code: TransferCode())
        let outcome = Task { await Result { try await sender.meet(over: mine) } }
        var link = TransferLink(other)
        try await other.send(.hello(version: 1, asksForProof: true, nonce: Crypto.randomBytes(32)))
        _ = try await link.message()
        try await other.send(try await link.message())
        let error = try #require(await Result { try await link.message() }.failure as? TransferError)
        #expect(error.code == .identity && error.isFromOtherSide)
        let result = await outcome.value
        #expect(throws: TransferError.self) { try result.get() }
    }

    @Test func aTransportWithoutCertificatesCannotProve() async throws {
        let desk = try Desk("a", Desk.bytes(10))
        let code = TransferCode()
        let outcome = try await desk.transfer(
            ["a"], pair: PipeConnection.pair(hasCertificates: false), codes: (code, code))
        #expect(outcome.receiveError?.code == .notSupported)
        #expect(try await desk.transfer(["a"], codes: (code, nil)).sendError?.code == .identity)
        #expect(desk.everything.isEmpty)
    }

    @Test func bytesBeforeTheProofAreAnError() async throws {
        let desk = try Desk("a", Desk.bytes(10))
        for message in [TransferMessage.accept, .finished, .proof(Crypto.randomBytes(32)), .manifest([], isLast: true)]
        {
            let (mine, other) = PipeConnection.pair()
            let sender = try FileSender(
                try desk.tree("a"), code: TransferCode())
            let outcome = Task { await Result { try await sender.meet(over: mine) } }
            try await other.send(message)
            var link = TransferLink(other)
            let error = try #require(await Result { try await link.message() }.failure as? TransferError)
            #expect(error.code == .protocolViolation && error.isFromOtherSide)
            _ = await outcome.value
        }
    }
}

extension Result where Failure == any Error {
    init(_ body: () async throws -> Success) async {
        do { self = .success(try await body()) } catch { self = .failure(error) }
    }

    var failure: (any Error)? {
        if case .failure(let error) = self { error } else { nil }
    }
}
