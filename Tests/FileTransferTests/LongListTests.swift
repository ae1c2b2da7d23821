import Foundation
import Testing
import TransportPluginAPI

@testable import FileTransfer

/// Lists of very many files hold nothing up.
@Suite(.timeLimit(.minutes(2))) struct LongListTests {
    /// Counts the turns of a task that wants every turn of a loop, as messages would.
    private final class Turns: Sendable {
        private let count = Locked(0)
        private let marks = Locked<[Int]>([])

        var now: Int { count.withLock { $0 } }
        /// The count at the latest mark.
        var latestMark: Int { marks.withLock { $0.last ?? 0 } }

        var markCount: Int { marks.withLock { $0.count } }
        /// The count at a mark, by its number from 0.
        func mark(_ number: Int) -> Int? { marks.withLock { $0.count > number ? $0[number] : nil } }

        func mark() { marks.withLock { $0.append(now) } }

        func run() async {
            while !Task.isCancelled {
                count.withLock { $0 += 1 }
                await Task.yield()
            }
        }
    }

    /// Each turn on the loop is one in which a message could have been read.
    @Test func messagesPassWhileAListIsMadeReadAndCompared() async throws {
        let desk = try Desk()
        for number in 0..<40_000 { #expect(FileManager.default.createFile(atPath: path(number, desk), contents: nil)) }
        let loop = try TransportLoop(name: "room")
        let turns = Turns()
        // The latest mark before the receiver's question is the last part of the list.
        let (one, other) = PipeConnection.pair { bytes in
            turns.mark()
            return bytes
        }
        let (listing, encoding, reading) = try await withTaskExecutorPreference(loop.taskExecutor) {
            try await withThrowingTaskGroup(of: Int?.self) { group in
                group.addTask {
                    await turns.run()
                    return nil
                }
                var start = turns.now
                let tree = try await SourceTree.listing([desk.source.path])
                let listing = turns.now - start
                let receiver = try FileReceiver(into: desk.target.path, code: nil, existing: .refuse)
                let asked = Locked(0)
                group.addTask {
                    _ = try? await receiver.receive(over: other) { _ in
                        asked.withLock { $0 = turns.now - turns.latestMark }
                        return false
                    } _: { _ in
                    }
                    return asked.withLock { $0 }
                }
                let session = try await FileSender(tree, code: nil).meet(over: one)
                start = turns.now
                let number = turns.markCount
                _ = try? await session.send { _ in }
                let encoding = (turns.mark(number) ?? start) - start
                var reading = 0
                while let turns = try await group.next() {
                    if let turns { reading = turns }
                    group.cancelAll()
                }
                return (listing, encoding, reading)
            }
        }
        await loop.shutdown()
        #expect(listing > 100 && encoding > 5 && reading > 100, "\(listing), \(encoding), \(reading)")
    }

    private func path(_ number: Int, _ desk: Desk) -> String {
        desk.source.appendingPathComponent("a name of some length \(number)").path
    }

    @Test func cancellationEndsALongJob() async throws {
        let worker = try BlockingWorker()
        let (begins, begin) = AsyncStream.makeStream(of: Void.self)
        let job = Task {
            try await worker.runLong { checkCancellation in
                begin.finish()
                while true { try checkCancellation() }
            }
        }
        for await _ in begins {}
        job.cancel()
        await #expect(throws: CancellationError.self) { try await job.value }
    }

    @Test func cancellationEndsAListing() async throws {
        let desk = try Desk("file", Data())
        let task = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return try await SourceTree.listing([desk.source.path])
        }
        await #expect(throws: CancellationError.self) { _ = try await task.value }
    }
}
