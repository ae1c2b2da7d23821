import CommandLineIO
import Foundation
import Logging
import Testing

@Suite(.timeLimit(.minutes(1))) struct QueuedLogHandlerTests {
    /// A reader that pauses loses lines, but not those about what an operator has done.
    @Test(arguments: LogLine.Format.allCases) func aFullQueueDropsLinesButNotThoseOfTheKeptSource(
        _ format: LogLine.Format
    ) async throws {
        let pipe = Pipe()
        let descriptor = pipe.fileHandleForWriting.fileDescriptor
        fill(descriptor)
        let queue = OutputQueue(descriptor: descriptor, limit: 1000)
        let logger = Logger(label: "room") {
            QueuedLogHandler(label: $0, queue: queue, format: format, level: { .warning }, keptSource: "audit")
        }
        for number in 0..<100 {
            logger.warning("line \(number)", metadata: ["x": "\(String(repeating: "x", count: 200))"])
        }
        #expect(queue.isFull)
        logger.warning("admin", metadata: ["action": "kick"], source: "audit")
        logger.warning("the last one")
        let reading = pipe.fileHandleForReading
        async let text = withCheckedContinuation { continuation in
            Thread.detachNewThread { continuation.resume(returning: try? reading.readToEnd()) }
        }
        await queue.finish()
        try pipe.fileHandleForWriting.close()
        let lines = try #require(await text.map { String(decoding: $0, as: UTF8.self) }).split(separator: "\n")
        #expect(lines.contains { $0.contains("admin") && $0.contains("kick") && $0.contains("audit") })
        #expect(lines.contains { $0.contains("were dropped") })
        #expect(!lines.contains { $0.contains("the last one") } && lines.count < 100)
    }

    /// Writes empty lines into a pipe until it takes nothing more, so that whoever writes next waits for the reader.
    private func fill(_ descriptor: Int32) {
        let flags = fcntl(descriptor, F_GETFL)
        _ = fcntl(descriptor, F_SETFL, flags | O_NONBLOCK)
        let lines = [UInt8](repeating: UInt8(ascii: "\n"), count: 4096)
        while write(descriptor, lines, lines.count) > 0 {}
        while write(descriptor, lines, 1) > 0 {}
        _ = fcntl(descriptor, F_SETFL, flags)
    }
}
