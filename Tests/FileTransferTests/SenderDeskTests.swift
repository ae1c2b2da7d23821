import Foundation
import Testing
import TransportPluginAPI

@testable import FileTransfer

/// A sender that serves whoever comes.
@Suite(.timeLimit(.minutes(1))) struct SenderDeskTests {
    private static func receive(_ desk: Desk, _ connection: PipeConnection, _ code: TransferCode?) -> Task<
        Result<TransferSummary, any Error>, Never
    > {
        Task {
            await Result {
                try await FileReceiver(into: desk.target.path, code: code, existing: .refuse)
                    .receive(over: connection, consent: { _ in true }, { _ in })
            }
        }
    }

    @Test func aReceiverThatIsStartedAgainIsServedAgain() async throws {
        let desk = try Desk()
        let content = try desk.add("a", Desk.bytes(5_000_000))
        let code = TransferCode()
        let tree = try SourceTree([desk.source.appendingPathComponent("a").path])
        let (connections, feed) = AsyncStream.makeStream(of: (any TransferConnection).self)
        let lost = Locked(0)
        let sending = Task {
            await Result {
                try await SenderDesk(try FileSender(tree, code: code), hasCode: true) { event in
                    if case .lost = event { lost.withLock { $0 += 1 } }
                }.serve(connections)
            }
        }
        // The first says nothing, as one whose process has been stopped; the second breaks off.
        let silent = PipeConnection.pair()
        feed.yield(silent.0)
        let broken = PipeConnection.pair()
        broken.0.cut(after: 3_000_000)
        feed.yield(broken.0)
        #expect(await Self.receive(desk, broken.1, code).value.failure != nil)
        let last = PipeConnection.pair()
        feed.yield(last.0)
        #expect(try await Self.receive(desk, last.1, code).value.get().presentCount > 0)
        #expect(try await sending.value.get().fileCount == 1)
        #expect(desk.arrived("a") == content)
        #expect(lost.withLock { $0 } == 1)
    }

    @Test func aFailedProofEndsTheSender() async throws {
        let desk = try Desk("a", Desk.bytes(10))
        let tree = try SourceTree([desk.source.appendingPathComponent("a").path])
        let (connections, feed) = AsyncStream.makeStream(of: (any TransferConnection).self)
        let pair = PipeConnection.pair()
        feed.yield(pair.0)
        let receiving = Self.receive(desk, pair.1, TransferCode())
        let error = await #expect(throws: TransferError.self) {
            try await SenderDesk(try FileSender(tree, code: TransferCode()), hasCode: true) { _ in }.serve(connections)
        }
        #expect(error?.code == .identity)
        #expect(await receiving.value.failure != nil)
    }

    @Test func aReceiverGoesOnWithASenderThatIsStartedAgain() async throws {
        let desk = try Desk()
        let content = try desk.add("a", Desk.bytes(1_000_000))
        let tree = try SourceTree([desk.source.appendingPathComponent("a").path])
        let (connections, feed) = AsyncStream.makeStream(of: (any TransferConnection).self)
        let target = desk.target.path
        let receiving = Task {
            await Result {
                try await ReceiverDesk(
                    try FileReceiver(into: target, code: nil, existing: .refuse), consent: { _ in true }, { _ in }
                ).receive(connections)
            }
        }
        // The first is gone without a word.
        let silent = PipeConnection.pair()
        silent.1.isReachable.withLock { $0 = false }
        feed.yield(silent.1)
        let last = PipeConnection.pair()
        feed.yield(last.1)
        _ = try await FileSender(tree, code: nil).meet(over: last.0).send { _ in }
        #expect(try await receiving.value.get().fileCount == 1)
        #expect(desk.arrived("a") == content)
    }

    @Test func aReceiverWaitsForASenderThatHasDisappeared() async throws {
        let desk = try Desk()
        let content = try desk.add("a", Desk.bytes(5_000_000))
        let tree = try SourceTree([desk.source.appendingPathComponent("a").path])
        let (connections, feed) = AsyncStream.makeStream(of: (any TransferConnection).self)
        let (losses, lost) = AsyncStream.makeStream(of: TransferError.self)
        let target = desk.target.path
        let receiving = Task {
            await Result {
                try await ReceiverDesk(
                    try FileReceiver(into: target, code: nil, existing: .refuse), consent: { _ in true },
                    { event in if case .lost(let error) = event { lost.yield(error) } }
                ).receive(connections)
            }
        }
        let first = PipeConnection.pair()
        first.1.isExpectedBack.withLock { $0 = true }
        first.0.cut(after: 3_000_000)
        feed.yield(first.1)
        let sender = try FileSender(tree, code: nil)
        await #expect(throws: TransferError.self) { try await sender.meet(over: first.0).send { _ in } }
        // Nobody is there now, and it has not ended.
        for await error in losses {
            #expect(error.code == .interrupted)
            break
        }
        let second = PipeConnection.pair()
        feed.yield(second.1)
        _ = try await sender.meet(over: second.0).send { _ in }
        #expect(try await receiving.value.get().presentCount > 0)
        #expect(desk.arrived("a") == content)
    }

    /// Receives until a transfer is whole. Returns the losses that are reported, too.
    private static func receiving(
        _ desk: Desk, _ connections: AsyncStream<any TransferConnection>
    ) -> (Task<Result<TransferSummary, any Error>, Never>, AsyncStream<TransferError>) {
        let (losses, lost) = AsyncStream.makeStream(of: TransferError.self)
        let target = desk.target.path
        let task = Task {
            await Result {
                try await ReceiverDesk(
                    try FileReceiver(into: target, code: nil, existing: .refuse), consent: { _ in true },
                    { event in if case .lost(let error) = event { lost.yield(error) } }
                ).receive(connections)
            }
        }
        return (task, losses)
    }

    @Test func aReceiverTakesANewSenderWhileItIsOpenWhetherTheOldOneComesBack() async throws {
        let desk = try Desk()
        let content = try desk.add("a", Desk.bytes(1_000_000))
        let tree = try SourceTree([desk.source.appendingPathComponent("a").path])
        let (connections, feed) = AsyncStream.makeStream(of: (any TransferConnection).self)
        let (receiving, _) = Self.receiving(desk, connections)
        let first = PipeConnection.pair(isUndecided: true)
        first.0.cut()
        feed.yield(first.1)
        // It is not known yet whether the first comes back.
        await first.1.isAsked()
        let second = PipeConnection.pair()
        feed.yield(second.1)
        _ = try await FileSender(tree, code: nil).meet(over: second.0).send { _ in }
        #expect(try await receiving.value.get().fileCount == 1)
        #expect(desk.arrived("a") == content)
    }

    @Test func aNewSenderWaitsForTheEndOfOneThatIsConnected() async throws {
        let desk = try Desk()
        let content = try desk.add("a", Desk.bytes(1_000_000))
        let tree = try SourceTree([desk.source.appendingPathComponent("a").path])
        let (connections, feed) = AsyncStream.makeStream(of: (any TransferConnection).self)
        let (receiving, _) = Self.receiving(desk, connections)
        let first = PipeConnection.pair()
        feed.yield(first.1)
        let second = PipeConnection.pair()
        feed.yield(second.1)
        // A third comes when the second is known: that is cut, and the first goes on.
        let third = PipeConnection.pair()
        feed.yield(third.1)
        #expect(try await Self.reads(second.0) == false)
        first.0.cut()
        _ = try await FileSender(tree, code: nil).meet(over: third.0).send { _ in }
        #expect(try await receiving.value.get().fileCount == 1)
        #expect(desk.arrived("a") == content)
    }

    /// Whether the other end writes something before it is cut.
    private static func reads(_ connection: PipeConnection) async throws -> Bool {
        do { return try await connection.read() != nil } catch is TransferError { return false }
    }

    @Test func aReceiverEndsWhenTheSenderThatWasExpectedLeaves() async throws {
        let desk = try Desk()
        let (connections, feed) = AsyncStream.makeStream(of: (any TransferConnection).self)
        let (receiving, losses) = Self.receiving(desk, connections)
        let pair = PipeConnection.pair()
        pair.1.isExpectedBack.withLock { $0 = true }
        pair.0.cut()
        feed.yield(pair.1)
        for await _ in losses { break }
        pair.1.leave()
        #expect((await receiving.value.failure as? TransferError)?.code == .interrupted)
    }

    @Test func aReceiverEndsWithASenderThatHasLeft() async throws {
        let desk = try Desk()
        let (connections, feed) = AsyncStream.makeStream(of: (any TransferConnection).self)
        let pair = PipeConnection.pair()
        pair.0.cut()
        feed.yield(pair.1)
        let error = await #expect(throws: TransferError.self) {
            try await ReceiverDesk(
                try FileReceiver(into: desk.target.path, code: nil, existing: .refuse), consent: { _ in true },
                { _ in }
            ).receive(connections)
        }
        #expect(error?.code == .interrupted)
    }

    @Test func aConnectionThatNobodyHasServedIsLeftToTheCaller() async throws {
        let desk = try Desk()
        let content = try desk.add("a", Desk.bytes(1_000_000))
        let tree = try SourceTree([desk.source.appendingPathComponent("a").path])
        let (connections, feed) = AsyncStream.makeStream(of: (any TransferConnection).self)
        let pairs = [PipeConnection.pair(), PipeConnection.pair()]
        for pair in pairs { feed.yield(pair.1) }
        let target = desk.target.path
        let left = Locked<[any TransferConnection]>([])
        let receiving = Task {
            await Result {
                try await ReceiverDesk(
                    try FileReceiver(into: target, code: nil, existing: .refuse), consent: { _ in true }, { _ in }
                ).receive(connections) { connection in left.withLock { $0.append(connection) } }
            }
        }
        _ = try await FileSender(tree, code: nil).meet(over: pairs[0].0).send { _ in }
        #expect(try await receiving.value.get().fileCount == 1)
        var all = left.withLock { $0 }
        for await connection in connections { all.append(connection) }
        #expect(all.count == 1 && all[0] === pairs[1].1 && all[0].isConnected)
        #expect(desk.arrived("a") == content)
    }

    /// Sends one file to whoever comes.
    private static func sending(
        _ desk: Desk, _ connections: AsyncStream<any TransferConnection>,
        mayContinue: @escaping @Sendable (any TransferConnection) -> Bool = { _ in true }
    ) throws -> Task<Result<TransferSummary, any Error>, Never> {
        let tree = try SourceTree([desk.source.appendingPathComponent("a").path])
        return Task {
            await Result {
                try await SenderDesk(
                    try FileSender(tree, code: nil), hasCode: false, mayContinue: mayContinue, { _ in }
                ).serve(connections, atEnd: TransferError(.declined, "the end"))
            }
        }
    }

    @Test func aReceiverThatIsServedMayFinishWhenNobodyComesAnyMore() async throws {
        let desk = try Desk("a", Desk.bytes(1_000_000))
        let (connections, feed) = AsyncStream.makeStream(of: (any TransferConnection).self)
        let pair = PipeConnection.pair()
        feed.yield(pair.0)
        feed.finish()
        let sending = try Self.sending(desk, connections)
        #expect(try await Self.receive(desk, pair.1, nil).value.get().fileCount == 1)
        #expect(try await sending.value.get().fileCount == 1)
        let (none, end) = AsyncStream.makeStream(of: (any TransferConnection).self)
        end.finish()
        #expect((await (try Self.sending(desk, none)).value.failure as? TransferError)?.code == .declined)
    }

    @Test func aLossThatNobodyComesBackFromEndsTheSender() async throws {
        let desk = try Desk("a", Desk.bytes(5_000_000))
        let (connections, feed) = AsyncStream.makeStream(of: (any TransferConnection).self)
        let pair = PipeConnection.pair()
        pair.0.cut(after: 3_000_000)
        feed.yield(pair.0)
        let sending = try Self.sending(desk, connections, mayContinue: { $0 !== pair.0 })
        #expect(await Self.receive(desk, pair.1, nil).value.failure != nil)
        #expect((await sending.value.failure as? TransferError)?.code == .interrupted)
    }

    @Test func nobodyIsAwaitedWhenTheEndIsKnown() async throws {
        let desk = try Desk("a", Desk.bytes(5_000_000))
        let (connections, feed) = AsyncStream.makeStream(of: (any TransferConnection).self)
        let pair = PipeConnection.pair()
        feed.yield(pair.0)
        feed.finish()
        let tree = try SourceTree([desk.source.appendingPathComponent("a").path])
        let losses = Locked(0)
        let sending = Task {
            await Result {
                try await SenderDesk(
                    try FileSender(tree, code: nil), hasCode: false,
                    { event in if case .lost = event { losses.withLock { $0 += 1 } } }
                ).serve(connections, atEnd: TransferError(.declined, "the end"))
            }
        }
        pair.0.cut(after: 3_000_000)
        #expect(await Self.receive(desk, pair.1, nil).value.failure != nil)
        #expect((await sending.value.failure as? TransferError)?.code == .declined)
        #expect(losses.withLock { $0 } == 0)
    }

    @Test func whoIsGoneBeforeAnybodyHasAgreedIsNotAwaitedAndNotAskedAbout() async throws {
        let desk = try Desk("a", Desk.bytes(1000))
        let tree = try SourceTree([desk.source.appendingPathComponent("a").path])
        let (connections, feed) = AsyncStream.makeStream(of: (any TransferConnection).self)
        let pair = PipeConnection.pair()
        pair.1.isExpectedBack.withLock { $0 = true }
        feed.yield(pair.1)
        let receiver = try FileReceiver(into: desk.target.path, code: nil, existing: .refuse)
        let receiving = Task {
            await Result {
                try await ReceiverDesk(
                    receiver, waitsBeforeConsent: false,
                    consent: { _ in
                        pair.1.cut()
                        // Nobody answers.
                        let (answers, answer) = AsyncStream.makeStream(of: Bool.self)
                        for await isWanted in answers { return isWanted }
                        answer.finish()
                        return true
                    }, { _ in }
                ).receive(connections)
            }
        }
        await #expect(throws: TransferError.self) {
            try await FileSender(tree, code: nil).meet(over: pair.0).send { _ in }
        }
        #expect((await receiving.value.failure as? TransferError)?.code == .interrupted)
        #expect(desk.everything.isEmpty)
    }
}
