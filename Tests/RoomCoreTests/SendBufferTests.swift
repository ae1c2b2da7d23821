import RoomCore
import RoomProtocol
import Testing

@Suite struct SendBufferTests {
    private func append(_ buffer: inout SendBuffer, _ byte: UInt8, count: Int) {
        [UInt8](repeating: byte, count: count).withUnsafeBytes { buffer.append($0, kind: .binary) }
    }

    @Test func framesKeepTheirBytesAndNumbersUntilTheyAreReleased() throws {
        var buffer = SendBuffer(headerLength: 9)
        defer { buffer.removeAll() }
        for number in 1...1000 { append(&buffer, UInt8(truncatingIfNeeded: number), count: 500) }
        #expect(buffer.byteCount == 1000 * 509)
        buffer.release(upTo: 400)
        #expect(buffer.firstSequence == 401)
        #expect(buffer.frame(400) == nil)
        for number in UInt64(401)...1000 {
            let frame = try #require(buffer.frame(number))
            #expect(frame.bytes.count == 509)
            #expect(frame.bytes.last == UInt8(truncatingIfNeeded: number))
            #expect(
                UInt32(bigEndian: frame.bytes.loadUnaligned(fromByteOffset: 1, as: UInt32.self)) == UInt32(number))
        }
        #expect(buffer.frame(1001) == nil)
    }

    @Test func aMessageLargerThanABlockHasABlockOfItsOwn() throws {
        var buffer = SendBuffer(headerLength: 0)
        defer { buffer.removeAll() }
        append(&buffer, 1, count: 10)
        append(&buffer, 2, count: 1_000_000)
        append(&buffer, 3, count: 10)
        #expect(try #require(buffer.frame(2)).bytes.count == 1_000_000)
        buffer.release(upTo: 3)
        #expect(buffer.byteCount == 0)
        append(&buffer, 4, count: 10)
        #expect(try #require(buffer.frame(4)).bytes.first == 4)
    }

    @Test func emptyMessagesCount() throws {
        var buffer = SendBuffer(headerLength: 0)
        defer { buffer.removeAll() }
        append(&buffer, 0, count: 0)
        #expect(try #require(buffer.frame(1)).bytes.isEmpty)
        buffer.release(upTo: 1)
        #expect(buffer.count == 0)
    }
}
