import CommandLineIO
import Foundation
import Testing

@Suite struct LineReaderTests {
    /// Reads all lines of `bytes`, which come through a pipe.
    private func lines(_ bytes: [UInt8], limit: Int = 100) throws -> [LineReader.Line] {
        var ends: [Int32] = [-1, -1]
        try #require(pipe(&ends) == 0)
        let (reading, writing) = (ends[0], ends[1])
        defer { close(reading) }
        // A thread of its own: a task might never run while the tests that read occupy the pool.
        Thread.detachNewThread {
            var rest = bytes[...]
            while !rest.isEmpty {
                let count = rest.withUnsafeBytes { write(writing, $0.baseAddress, $0.count) }
                guard count > 0 else { break }
                rest = rest.dropFirst(count)
            }
            close(writing)
        }
        var reader = LineReader(descriptor: reading, limit: limit)
        var lines: [LineReader.Line] = []
        while let line = reader.next() { lines.append(line) }
        return lines
    }

    private func line(_ text: String) -> LineReader.Line { .line(Array(text.utf8)) }

    @Test func linesEndWithLFOrCRLFOrTheInput() throws {
        #expect(try lines(Array("one\r\ntwo\n\nlast".utf8)) == [line("one"), line("two"), line(""), line("last")])
        #expect(try lines(Array("one\n".utf8)) == [line("one")])
        #expect(try lines([]) == [])
    }

    @Test func bytesStayAsTheyAre() throws {
        let bytes: [UInt8] = [0, 0xFF, 0x80, 0x0D, 0x41]
        #expect(try lines(bytes + [10]) == [.line(bytes)])
    }

    @Test func aLineOverTheLimitIsPassedOverAndTheNextOneIsRead() throws {
        let text = String(repeating: "x", count: 300_000) + "\nshort\n" + String(repeating: "y", count: 101)
        #expect(try lines(Array(text.utf8)) == [.tooLong(300_000), line("short"), .tooLong(101)])
        let exact = String(repeating: "z", count: 100)
        #expect(try lines(Array((exact + "\r\n" + exact + "z\r\n").utf8)) == [line(exact), .tooLong(101)])
    }

    @Test func linesLongerThanAPipeArriveWhole() throws {
        let long = String(repeating: "long ", count: 100_000)
        #expect(try lines(Array("\(long)\n\(long)".utf8), limit: 1 << 20) == [line(long), line(long)])
    }
}
