import Foundation
import Testing
import TransportPluginAPI

@testable import FileTransfer

/// A desk with one file, `a`, and the connections that come to its sender or its receiver.
private final class Meeting: Sendable {
    typealias Running = Task<Result<TransferSummary, any Error>, Never>

    let desk: Desk
    let (connections, feed) = AsyncStream.makeStream(of: (any TransferConnection).self)
    private let (losses, lost) = AsyncStream.makeStream(of: TransferError.self)

    init(byteCount: Int) throws { desk = try Desk("a", Desk.bytes(byteCount)) }

    func sender(_ code: TransferCode? = nil) throws -> FileSender { try FileSender(try desk.tree("a"), code: code) }

    /// Sends the file over one connection, whose receiver has no code.
    func send(over connection: PipeConnection) async throws {
        _ = try await sender().meet(over: connection).send { _ in }
    }

    /// Receives over one connection.
    func receive(over connection: PipeConnection, _ code: TransferCode? = nil) -> Running {
        Task {
            await Result {
                try await FileReceiver(into: desk.target.path, code: code, existing: .refuse)
                    .receive(over: connection, consent: { _ in true }, { _ in })
            }
        }
    }

    /// Receives from the connections that come, until a transfer is whole.
    func receive(
        waitsBeforeConsent: Bool = true, consent: @escaping @Sendable () async -> Bool = { true },
        leave: @escaping @Sendable (any TransferConnection) -> Void = { $0.cut(TransferError(.interrupted, "")) }
    ) throws -> Running {
        let receiver = try FileReceiver(into: desk.target.path, code: nil, existing: .refuse)
        return Task {
            await Result {
                try await ReceiverDesk(
                    receiver, waitsBeforeConsent: waitsBeforeConsent, consent: { _ in await consent() }
                ) { [lost] event in
                    if case .lost(let error) = event { lost.yield(error) }
                }.receive(connections, leave: leave)
            }
        }
    }

    /// Sends the file to the connections that come.
    func send(
        _ code: TransferCode? = nil,
        mayContinue: @escaping @Sendable (any TransferConnection) -> Bool = { _ in true }
    ) throws -> Running {
        let sender = try sender(code)
        return Task {
            await Result {
                try await SenderDesk(sender, mayContinue: mayContinue) { [lost] event in
                    if case .lost(let error) = event { lost.yield(error) }
                }.serve(connections, atEnd: TransferError(.declined, "the end"))
            }
        }
    }

    /// A sender comes to the receiver. Returns the two ends of its connection: the sender's, then the receiver's.
    @discardableResult
    func senderComes(
        isUndecided: Bool = false,
        _ prepare: (_ sender: PipeConnection, _ receiver: PipeConnection) -> Void = { _, _ in }
    ) -> (PipeConnection, PipeConnection) {
        let pair = PipeConnection.pair(isUndecided: isUndecided)
        prepare(pair.0, pair.1)
        feed.yield(pair.1)
        return pair
    }

    /// A receiver comes to the sender. Returns the receiver's end of its connection.
    @discardableResult
    func receiverComes(_ prepare: (_ sender: PipeConnection) -> Void = { _ in }) -> PipeConnection {
        let pair = PipeConnection.pair()
        prepare(pair.0)
        feed.yield(pair.0)
        return pair.1
    }

    /// Whether the file has arrived with its content when a side has ended well.
    func isWhole(after running: Running) async throws -> Bool {
        try await running.value.get().fileCount == 1 && desk.isWhole("a")
    }

    /// Returns when the desk reports a loss.
    func nextLoss() async -> TransferError? {
        for await error in losses { return error }
        return nil
    }

    /// The number of losses that nobody has waited for.
    func lossCount() async -> Int {
        lost.finish()
        return await losses.reduce(0) { count, _ in count + 1 }
    }
}

/// A sender that serves whoever comes, and a receiver that waits for one.
@Suite(.timeLimit(.minutes(1))) struct SenderDeskTests {
    @Test func aReceiverThatIsStartedAgainIsServedAgain() async throws {
        let meeting = try Meeting(byteCount: 5_000_000)
        let code = TransferCode()
        let sending = try meeting.send(code)
        // The first says nothing, as one whose process has been stopped; the second breaks off.
        meeting.receiverComes()
        let broken = meeting.receiverComes { $0.cut(after: 3_000_000) }
        #expect(await meeting.receive(over: broken, code).value.failure != nil)
        let last = meeting.receiverComes()
        #expect(try await meeting.receive(over: last, code).value.get().presentCount > 0)
        #expect(try await meeting.isWhole(after: sending))
        #expect(await meeting.lossCount() == 1)
    }

    @Test func aFailedProofEndsTheSender() async throws {
        let meeting = try Meeting(byteCount: 10)
        let receiving = meeting.receive(over: meeting.receiverComes(), TransferCode())
        let sending = try meeting.send(TransferCode())
        #expect((await sending.value.failure as? TransferError)?.code == .identity)
        #expect(await receiving.value.failure != nil)
    }

    @Test func aReceiverGoesOnWithASenderThatIsStartedAgain() async throws {
        let meeting = try Meeting(byteCount: 1_000_000)
        let receiving = try meeting.receive()
        // The first is gone without a word.
        meeting.senderComes { $1.isReachable.withLock { $0 = false } }
        try await meeting.send(over: meeting.senderComes().0)
        #expect(try await meeting.isWhole(after: receiving))
    }

    @Test func aReceiverWaitsForASenderThatHasDisappeared() async throws {
        let meeting = try Meeting(byteCount: 5_000_000)
        let receiving = try meeting.receive()
        let (first, _) = meeting.senderComes {
            $1.isExpectedBack.withLock { $0 = true }
            $0.cut(after: 3_000_000)
        }
        let sender = try meeting.sender()
        await #expect(throws: TransferError.self) { try await sender.meet(over: first).send { _ in } }
        // Nobody is there now, and it has not ended.
        #expect(await meeting.nextLoss()?.code == .interrupted)
        _ = try await sender.meet(over: meeting.senderComes().0).send { _ in }
        #expect(try await receiving.value.get().presentCount > 0)
        #expect(meeting.desk.isWhole("a"))
    }

    @Test func aReceiverTakesANewSenderWhileItIsOpenWhetherTheOldOneComesBack() async throws {
        let meeting = try Meeting(byteCount: 1_000_000)
        let receiving = try meeting.receive()
        let (_, first) = meeting.senderComes(isUndecided: true) { sender, _ in sender.cut() }
        // It is not known yet whether the first comes back.
        await first.isAsked()
        try await meeting.send(over: meeting.senderComes().0)
        #expect(try await meeting.isWhole(after: receiving))
    }

    @Test func aNewSenderWaitsForTheEndOfOneThatIsConnected() async throws {
        let meeting = try Meeting(byteCount: 1_000_000)
        let receiving = try meeting.receive()
        // A third comes when the second is known: that is cut, and the first goes on.
        let senders = (0..<3).map { _ in meeting.senderComes().0 }
        #expect(try await Self.reads(senders[1]) == false)
        senders[0].cut()
        try await meeting.send(over: senders[2])
        #expect(try await meeting.isWhole(after: receiving))
    }

    /// Whether the other end writes something before it is cut.
    private static func reads(_ connection: PipeConnection) async throws -> Bool {
        do { return try await connection.read() != nil } catch is TransferError { return false }
    }

    @Test func aReceiverEndsWhenTheSenderThatWasExpectedLeaves() async throws {
        let meeting = try Meeting(byteCount: 1)
        let receiving = try meeting.receive()
        let (_, receiver) = meeting.senderComes {
            $1.isExpectedBack.withLock { $0 = true }
            $0.cut()
        }
        #expect(await meeting.nextLoss() != nil)
        receiver.leave()
        #expect((await receiving.value.failure as? TransferError)?.code == .interrupted)
    }

    @Test func aReceiverEndsWithASenderThatHasLeft() async throws {
        let meeting = try Meeting(byteCount: 1)
        meeting.senderComes { sender, _ in sender.cut() }
        let receiving = try meeting.receive()
        #expect((await receiving.value.failure as? TransferError)?.code == .interrupted)
    }

    @Test func aConnectionThatNobodyHasServedIsLeftToTheCaller() async throws {
        let meeting = try Meeting(byteCount: 1_000_000)
        let (first, second) = (meeting.senderComes(), meeting.senderComes())
        let left = Locked<[any TransferConnection]>([])
        let receiving = try meeting.receive(leave: { connection in left.withLock { $0.append(connection) } })
        try await meeting.send(over: first.0)
        #expect(try await receiving.value.get().fileCount == 1)
        var all = left.withLock { $0 }
        for await connection in meeting.connections { all.append(connection) }
        #expect(all.count == 1 && all[0] === second.1 && all[0].isConnected)
        #expect(meeting.desk.isWhole("a"))
    }

    @Test func aReceiverThatIsServedMayFinishWhenNobodyComesAnyMore() async throws {
        let meeting = try Meeting(byteCount: 1_000_000)
        let receiver = meeting.receiverComes()
        meeting.feed.finish()
        let sending = try meeting.send()
        #expect(try await meeting.receive(over: receiver).value.get().fileCount == 1)
        #expect(try await sending.value.get().fileCount == 1)
        let empty = try Meeting(byteCount: 1)
        empty.feed.finish()
        let waiting = try empty.send()
        #expect((await waiting.value.failure as? TransferError)?.code == .declined)
    }

    @Test func aLossThatNobodyComesBackFromEndsTheSender() async throws {
        let meeting = try Meeting(byteCount: 5_000_000)
        var sender: PipeConnection?
        let receiver = meeting.receiverComes {
            $0.cut(after: 3_000_000)
            sender = $0
        }
        let lost = try #require(sender)
        let sending = try meeting.send { $0 !== lost }
        #expect(await meeting.receive(over: receiver).value.failure != nil)
        #expect((await sending.value.failure as? TransferError)?.code == .interrupted)
    }

    @Test func nobodyIsAwaitedWhenTheEndIsKnown() async throws {
        let meeting = try Meeting(byteCount: 5_000_000)
        let receiver = meeting.receiverComes { $0.cut(after: 3_000_000) }
        meeting.feed.finish()
        let sending = try meeting.send()
        #expect(await meeting.receive(over: receiver).value.failure != nil)
        #expect((await sending.value.failure as? TransferError)?.code == .declined)
        #expect(await meeting.lossCount() == 0)
    }

    @Test func whoIsGoneBeforeAnybodyHasAgreedIsNotAwaitedAndNotAskedAbout() async throws {
        let meeting = try Meeting(byteCount: 1000)
        let (sender, receiver) = meeting.senderComes { $1.isExpectedBack.withLock { $0 = true } }
        let receiving = try meeting.receive(
            waitsBeforeConsent: false,
            consent: {
                receiver.cut()
                // Nobody answers.
                let (answers, answer) = AsyncStream.makeStream(of: Bool.self)
                for await isWanted in answers { return isWanted }
                answer.finish()
                return true
            })
        await #expect(throws: TransferError.self) { try await meeting.send(over: sender) }
        #expect((await receiving.value.failure as? TransferError)?.code == .interrupted)
        #expect(meeting.desk.everything.isEmpty)
    }
}
