import CGLib
import Glibc
import Testing
import TransportPluginAPI

@testable import GLibLoop

// One at a time: descriptors of the whole process are counted.
@Suite(.serialized) struct GLibContextTests {
    /// Runs `body` with a loop of its own and ends the loop.
    private func withLoop(_ body: (TransportLoop) async throws -> Void) async throws {
        let loop = try TransportLoop(name: "glib-test")
        do { try await body(loop) } catch {
            await loop.shutdown()
            throw error
        }
        await loop.shutdown()
    }

    @Test(.timeLimit(.minutes(1))) func eventsOfOneContextDoNotRunTheOthers() async throws {
        try await withLoop { loop in
            let contexts = await loop.run { (0..<20).map { _ in Unowned(try! GLibContext(on: loop)) } }
            func passes() async -> [Int] { await loop.run { contexts.map(\.value.passCount) } }
            // The first pass of each comes at the end of a turn of the loop, and these jobs may still belong to the
            // same turn.
            while await passes().contains(0) { await Task.yield() }
            let before = await passes()
            await withCheckedContinuation { continuation in
                attach(g_idle_source_new(), to: contexts[7].value.mainContext) {
                    continuation.resume(); return false
                }
            }
            let after = await passes()
            #expect(after.enumerated().allSatisfy { $0.offset == 7 || $0.element == before[$0.offset] })
            #expect(after[7] > before[7])
        }
    }

    @Test func aContextThatEndsInsideItsOwnCallbackLeavesTheOthersAlone() async throws {
        try await withLoop { loop in
            for _ in 0..<50 {
                await withContext(on: loop) { context, continuation in
                    let writer = addPipe(to: context) { _ in
                        context.end()
                        context.end()
                        continuation.resume()
                    }
                    loop.schedule(after: .milliseconds(1)) { _ = write(writer, "x", 1) }
                }
            }
        }
    }

    @Test func aTimeoutFiresInTime() async throws {
        try await withLoop { loop in
            let elapsed: Duration = await withContext(on: loop) { context, continuation in
                let start = Timestamp.now()
                let source = g_timeout_source_new(30)
                add(source, to: context) {
                    continuation.resume(returning: Timestamp.now() - start); return false
                }
            }
            #expect(elapsed >= .milliseconds(29))
        }
    }

    @Test func idleSourcesRunUntilTheySayStopAndTheLoopGoesOn() async throws {
        try await withLoop { loop in
            let log = Log()
            await withContext(on: loop) { context, continuation in
                add(g_idle_source_new(), to: context) {
                    log.count += 1
                    guard log.count == 200 else { return true }
                    continuation.resume()
                    return false
                }
                // A job of the loop in between: an idle source that always runs must not starve it.
                loop.schedule(at: .zero) { log.other = log.count }
            }
            let (count, other) = await loop.run { (log.count, log.other) }
            #expect(count == 200)
            #expect(other < 200)
        }
    }

    @Test func aSourceThatAnotherThreadAttachesWakesTheLoop() async throws {
        try await withLoop { loop in
            let context = await loop.run { Unowned(try! GLibContext(on: loop)) }
            await withCheckedContinuation { continuation in
                attach(g_idle_source_new(), to: context.value.mainContext) {
                    continuation.resume(); return false
                }
            }
        }
    }

    @Test func descriptorsAreWatchedAlsoWhenTheirNumberIsUsedAgain() async throws {
        try await withLoop { loop in
            for _ in 0..<20 {
                let number: Int32 = await withContext(on: loop) { context, continuation in
                    // The same numbers in every round: pipes are closed behind GLib's back.
                    let writer = addPipe(to: context) { continuation.resume(returning: $0) }
                    // Written a turn later, when the loop sleeps on it.
                    loop.schedule(after: .milliseconds(1)) { _ = write(writer, "x", 1) }
                }
                #expect(number > 0)
            }
        }
    }

    @Test func manySourcesAllFire() async throws {
        try await withLoop { loop in
            let log = Log()
            await withContext(on: loop) { (context, continuation: CheckedContinuation<Void, Never>) in
                for index in 0..<300 {
                    func fired() {
                        log.count += 1
                        if log.count == 600 { continuation.resume() }
                    }
                    let writer = addPipe(to: context) { _ in fired() }
                    add(g_timeout_source_new(guint(index % 7)), to: context) {
                        _ = write(writer, "x", 1)
                        fired()
                        return false
                    }
                }
            }
            #expect(await loop.run { log.count } == 600)
        }
    }

    @Test func turnsOfTheLoopDoNotRunGLib() async throws {
        try await withLoop { loop in
            let context = await loop.run { Unowned(try! GLibContext(on: loop)) }
            // The first pass comes before the loop sleeps, and so before a timer that is not yet due.
            await withCheckedContinuation { continuation in
                loop.execute { loop.schedule(after: .milliseconds(1)) { continuation.resume() } }
            }
            let before = await loop.run { context.value.passCount }
            #expect(before > 0)
            for _ in 0..<100 { await loop.run {} }
            let after = await loop.run { context.value.passCount }
            #expect(after == before)
        }
    }

    @Test func aPassAskedForAtTheEndOfATurnComesWithoutAnotherEvent() async throws {
        try await withLoop { loop in
            await withContext(on: loop) { context, continuation in
                loop.schedule(after: .milliseconds(2)) {
                    loop.attach(
                        LateWorker(loop) {
                            add(g_idle_source_new(), to: context) {
                                continuation.resume()
                                return false
                            }
                        })
                }
            }
        }
    }

    @Test func loopsWithContextsComeAndGoWithoutLeakingDescriptors() async throws {
        let before = openDescriptors()
        for _ in 0..<20 {
            try await withLoop { loop in
                await loop.run {
                    let context = try! GLibContext(on: loop)
                    add(g_timeout_source_new(100_000), to: context) { true }
                }
            }
        }
        // The thread of a loop lets go of its last two shortly after `shutdown()`.
        #expect(openDescriptors() < before + 20)
    }
}

/// Attaches work when asked before sleep, after GLib was.
private final class LateWorker: LoopSource {
    private let loop: TransportLoop
    private var work: (() -> Void)?
    init(_ loop: TransportLoop, _ work: @escaping () -> Void) { (self.loop, self.work) = (loop, work) }
    func loopWillSleep() -> Timestamp? {
        if let work {
            self.work = nil
            loop.atEndOfTurn(work)
        }
        return nil
    }
}

// SAFETY: touched only on the loop of the test.
private final class Log: @unchecked Sendable {
    var count = 0
    var other = 0
}

// SAFETY: only `mainContext`, a constant, is used off the loop.
private struct Unowned: @unchecked Sendable {
    let value: GLibContext
    init(_ value: GLibContext) { self.value = value }
}

func openDescriptors() -> Int {
    guard let directory = opendir("/proc/self/fd") else { return -1 }
    defer { closedir(directory) }
    var count = 0
    while readdir(directory) != nil { count += 1 }
    return count
}

private final class Callback {
    let body: () -> Bool
    init(_ body: @escaping () -> Bool) { self.body = body }
}

/// Calls `body` on the loop, with a new context of it, and waits until the continuation is resumed.
private func withContext<Value: Sendable>(
    on loop: TransportLoop, _ body: @escaping @Sendable (GLibContext, CheckedContinuation<Value, Never>) -> Void
) async -> Value {
    await withCheckedContinuation { continuation in
        loop.execute { body(try! GLibContext(on: loop), continuation) }
    }
}

private func add(
    _ source: UnsafeMutablePointer<GSource>?, to context: GLibContext, onDescriptor: Bool = false,
    _ body: @escaping () -> Bool
) {
    attach(source, to: context.mainContext, onDescriptor: onDescriptor, body)
    context.setNeedsPass()
}

/// Makes a pipe. When something has been written to the returned end, both ends are closed, and `body` is called with
/// the number of the other one.
private func addPipe(to context: GLibContext, _ body: @escaping (_ reader: Int32) -> Void) -> Int32 {
    var ends: [Int32] = [0, 0]
    pipe(&ends)
    let (reader, writer) = (ends[0], ends[1])
    add(g_unix_fd_source_new(reader, G_IO_IN), to: context, onDescriptor: true) {
        close(reader)
        close(writer)
        body(reader)
        return false
    }
    return writer
}

private func attach(
    _ source: UnsafeMutablePointer<GSource>?, to context: OpaquePointer, onDescriptor: Bool = false,
    _ body: @escaping () -> Bool
) {
    // Retained until GLib destroys the source.
    let raw = Unmanaged.passRetained(Callback(body)).toOpaque()
    let destroy: GDestroyNotify = { Unmanaged<Callback>.fromOpaque($0!).release() }
    let run: GSourceFunc = { Unmanaged<Callback>.fromOpaque($0!).takeUnretainedValue().body() ? 1 : 0 }
    let runForDescriptor: GUnixFDSourceFunc = { _, _, raw in
        Unmanaged<Callback>.fromOpaque(raw!).takeUnretainedValue().body() ? 1 : 0
    }
    if onDescriptor {
        g_source_set_callback(source, unsafeBitCast(runForDescriptor, to: GSourceFunc.self), raw, destroy)
    } else {
        g_source_set_callback(source, run, raw, destroy)
    }
    g_source_attach(source, context)
    g_source_unref(source)
}
