import CommandLineIO
import Glibc
import Testing
import TransportPluginAPI

@Suite(.timeLimit(.minutes(1))) struct OutputQueueTests {
    /// A pipe whose reading end is read only when the test does so.
    private final class Reader: Sendable {
        let writing: Int32
        private let reading: Int32
        private let isOpen = Locked(true)

        init() throws {
            signal(SIGPIPE, SIG_IGN)
            var ends: [Int32] = [-1, -1]
            try #require(pipe(&ends) == 0)
            reading = ends[0]
            writing = ends[1]
        }

        deinit {
            stop()
            close(writing)
        }

        func stop() {
            if isOpen.withLock({ isOpen in
                defer { isOpen = false }; return isOpen
            }) {
                close(reading)
            }
        }

        /// Blocks until `count` bytes have arrived.
        func read(_ count: Int) -> String {
            var bytes: [UInt8] = []
            var chunk = [UInt8](repeating: 0, count: 65_536)
            while bytes.count < count {
                let got = Glibc.read(reading, &chunk, min(chunk.count, count - bytes.count))
                guard got > 0 else { break }
                bytes += chunk[..<got]
            }
            return String(decoding: bytes, as: UTF8.self)
        }
    }

    @Test func textComesOutInOrder() async throws {
        let reader = try Reader()
        let queue = OutputQueue(descriptor: reader.writing)
        for number in 1...100 { queue.append("\(number)\n") }
        await queue.finish()
        let expected = (1...100).map { "\($0)\n" }.joined()
        #expect(reader.read(expected.utf8.count) == expected)
    }

    @Test func aReaderThatPausesFillsTheQueueAndOpensItAgain() async throws {
        let reader = try Reader()
        let (changes, feed) = AsyncStream.makeStream(of: Void.self)
        let queue = OutputQueue(descriptor: reader.writing, limit: 100_000, onPressureChange: { feed.yield() })
        var iterator = changes.makeAsyncIterator()
        let line = String(repeating: "x", count: 9_999) + "\n"
        // A pipe holds 64 KiB. Beyond that the queue is full, and still accepts the rest.
        for _ in 1...30 { queue.append(line) }
        await iterator.next()
        #expect(queue.isFull)
        #expect(reader.read(300_000).utf8.count == 300_000)
        await queue.waitUntilOpen()
        #expect(!queue.isFull)
        await iterator.next()
    }

    @Test func endOfAProcessDoesNotWaitForAPausedReader() async throws {
        let reader = try Reader()
        let queue = OutputQueue(descriptor: reader.writing, limit: 1000)
        queue.append(String(repeating: "x", count: 500_000))
        #expect(queue.isFull)
        queue.stopHoldingBack()
        await queue.waitUntilOpen()
        await queue.finish(within: .milliseconds(10))
        reader.stop()
    }

    @Test func aReaderThatGoesIsNoticedWithoutAWrite() async throws {
        let reader = try Reader()
        let (ends, feed) = AsyncStream.makeStream(of: Void.self)
        let queue = OutputQueue(descriptor: reader.writing, onReaderGone: { feed.yield() })
        reader.stop()
        var iterator = ends.makeAsyncIterator()
        await iterator.next()
        #expect(queue.isReaderGone)
        queue.append("for nobody")
        await queue.finish()
    }

    @Test func aReaderThatGoesEndsTheWaitOfAll() async throws {
        let reader = try Reader()
        let queue = OutputQueue(descriptor: reader.writing, limit: 1000)
        queue.append(String(repeating: "x", count: 500_000))
        async let writer: Void = queue.waitUntilOpen()
        async let end: Void = queue.finish()
        reader.stop()
        _ = await (writer, end)
        #expect(queue.isReaderGone)
    }

    @Test func aDescriptorThatDoesNotBlockIsWaitedFor() async throws {
        let reader = try Reader()
        try #require(fcntl(reader.writing, F_SETFL, O_NONBLOCK) == 0)
        let queue = OutputQueue(descriptor: reader.writing)
        queue.append(String(repeating: "x", count: 300_000))
        #expect(reader.read(300_000).utf8.count == 300_000)
        await queue.finish()
    }
}
