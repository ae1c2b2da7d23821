import Foundation
import Testing
import TransportToolbox
import TransportValues

@Suite struct TransportLoopTests {
    @Test func aTaskThatPrefersTheLoopStaysOnItsThread() async throws {
        let loop = try TransportLoop(name: "test")
        let places = await Task(executorPreference: loop.taskExecutor) {
            var places = [loop.isCurrent]
            await Task.yield()
            places.append(loop.isCurrent)
            await elsewhere()
            places.append(loop.isCurrent)
            return places
        }.value
        #expect(places == [true, true, true])
        await loop.shutdown()
    }

    /// Nobody but the task holds the executor.
    @Test func aTaskKeepsItsExecutor() async throws {
        let loop = try TransportLoop(name: "test")
        let name = await Task(executorPreference: loop.taskExecutor) {
            for _ in 0..<100 { await Task.yield() }
            return threadName()
        }.value
        #expect(name == "test")
        await loop.shutdown()
    }

    /// Jobs queued by jobs run at once, and descriptors get their turn beside an endless chain of jobs.
    @Test(.timeLimit(.minutes(1))) func jobsThatBringOnJobsDoNotStarveDescriptors() async throws {
        let loop = try TransportLoop(name: "test")
        let isDone = Locked(false)
        let chain = Task(executorPreference: loop.taskExecutor) {
            while !isDone.withLock({ $0 }) { await Task.yield() }
        }
        var ends: [Int32] = [-1, -1]
        try #require(pipe(&ends) == 0)
        let (reader, writer) = (ends[0], ends[1])
        let watch = await loop.run {
            Watch(try? loop.watch(reader, for: .readable) { _ in isDone.withLock { $0 = true } })
        }
        close(writer)
        await chain.value
        await loop.run { watch.watch?.cancel() }
        close(reader)
        await loop.shutdown()
    }

    /// Code that queues a job while the loop ends must know whether the job will run.
    @Test(.timeLimit(.minutes(1))) func acceptedJobsRunAndOthersAreRefused() async throws {
        for _ in 0..<200 {
            let loop = try TransportLoop(name: "test")
            let ran = Locked(0)
            let taken = Locked(0)
            await withTaskGroup(of: Void.self) { group in
                for _ in 0..<2 {
                    group.addTask {
                        while loop.execute({ ran.withLock { $0 += 1 } }) {
                            taken.withLock { $0 += 1 }
                            // An endless queue would keep the loop from ending.
                            await Task.yield()
                        }
                    }
                }
                group.addTask { await loop.shutdown() }
            }
            #expect(ran.withLock { $0 } == taken.withLock { $0 })
            #expect(!loop.execute {})
        }
    }

    /// The system gives the number of a thread that has ended to a later one, which is not the loop's thread: it may
    /// wait for the loop, and must not touch what lives on it.
    @Test func aLaterThreadOfTheSameNumberIsNotTheLoops() async throws {
        let loop = try TransportLoop(name: "test")
        let number = await loop.run { pthread_self() }
        await loop.shutdown()
        let found = await withCheckedContinuation { continuation in
            Thread.detachNewThread { continuation.resume(returning: loop.isCurrentInThread(numbered: number)) }
        }
        if found == nil { print("SKIPPED: no later thread had the number of the loop's: another test has it") }
        #expect(found != true)
        await loop.shutdown()
    }

    /// Carries a watch from the loop and back to it.
    // SAFETY: touched on the loop only.
    private struct Watch: @unchecked Sendable {
        let watch: LoopWatch?
        init(_ watch: LoopWatch?) { self.watch = watch }
    }
}

@concurrent private func elsewhere() async {}

private func threadName() -> String {
    guard let name = try? String(contentsOfFile: "/proc/thread-self/comm", encoding: .utf8) else { return "" }
    return name.trimmingCharacters(in: .newlines)
}

extension TransportLoop {
    /// Makes threads, one after the other, until one has this number, and returns what `isCurrent` is in it.
    fileprivate func isCurrentInThread(numbered number: pthread_t) -> Bool? {
        // SAFETY: written by one thread, which is joined before it is read.
        final class Look: @unchecked Sendable {
            let loop: TransportLoop
            var isCurrent = false
            init(_ loop: TransportLoop) { self.loop = loop }
        }
        if pthread_self() == number { return isCurrent }
        var kept: [pthread_t] = []
        defer { for thread in kept { pthread_join(thread, nil) } }
        for _ in 0..<1000 {
            let look = Look(self)
            var thread = pthread_t()
            let status = pthread_create(
                &thread, nil,
                { raw in
                    let look = Unmanaged<Look>.fromOpaque(raw!).takeRetainedValue()
                    look.isCurrent = look.loop.isCurrent
                    return nil
                }, Unmanaged.passRetained(look).toOpaque())
            guard status == 0 else { return nil }
            guard thread == number else {
                // Its number is taken until it is joined.
                kept.append(thread)
                continue
            }
            pthread_join(thread, nil)
            return look.isCurrent
        }
        return nil
    }
}
