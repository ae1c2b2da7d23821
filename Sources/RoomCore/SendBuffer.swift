internal import DequeModule
package import RoomProtocol

/// Messages of one channel to one participant, in blocks of memory, from being accepted until they are done with.
///
/// Senders append from any thread, under the lock of the owner. Only the peer loop reads and releases, so a pointer
/// that it got under the lock stays valid after it: blocks never move, and nobody else frees them. Every message, or
/// part of a long one, has a number, counting from 1.
package struct SendBuffer {
    /// Space in front of each message for the delivery header; 0 for plain channels.
    package let headerLength: Int
    private let blockSize: Int
    package private(set) var byteCount = 0
    /// Whole messages, and ends of messages whose first parts are done with, of those that are counted: what an
    /// application counts.
    package private(set) var messageCount = 0
    package private(set) var lastSequence: UInt64
    private var entries = Deque<Entry>()
    private var blocks = Deque<Block>()
    private var firstBlock = 0
    private var spare: Block?

    private struct Entry {
        var block: Int
        var offset: Int32
        var length: Int32
        var kind: DeliveryProtocol.Kind
        var isCounted: Bool
    }

    private struct Block {
        var memory: UnsafeMutableRawBufferPointer
        var used = 0
        var living = 0
    }

    /// The first message gets the number after `lastSequence`. `blockSize`: bytes of memory that are allocated at once.
    package init(headerLength: Int, lastSequence: UInt64 = 0, blockSize: Int = 131_072) {
        self.headerLength = headerLength
        self.blockSize = blockSize
        self.lastSequence = lastSequence
    }

    /// The number of the oldest message that is kept.
    package var firstSequence: UInt64 { lastSequence - UInt64(entries.count) + 1 }
    /// Messages and parts of messages.
    package var count: Int { entries.count }

    /// Copies a message, or a part of one, in and gives it the next number. `isCounted`: the application counts it.
    package mutating func append(
        _ bytes: UnsafeRawBufferPointer, kind: DeliveryProtocol.Kind, isCounted: Bool = true
    ) {
        append(head: UnsafeRawBufferPointer(start: nil, count: 0), bytes, kind: kind, isCounted: isCounted)
    }

    /// Copies a message in as `append` without a head does. `head`: its first bytes.
    @inline(__always)
    package mutating func append(
        head: UnsafeRawBufferPointer, _ bytes: UnsafeRawBufferPointer, kind: DeliveryProtocol.Kind,
        isCounted: Bool = true
    ) {
        let bodyOffset = headerLength + head.count
        let length = bodyOffset + bytes.count
        if blocks.isEmpty || blocks[blocks.count - 1].memory.count - blocks[blocks.count - 1].used < length {
            addBlock(atLeast: length)
        }
        let last = blocks.count - 1
        let offset = blocks[last].used
        let target = UnsafeMutableRawBufferPointer(rebasing: blocks[last].memory[offset..<(offset + length)])
        lastSequence += 1
        if headerLength > 0 {
            target[0] = kind.rawValue
            target.storeBytes(of: UInt32(truncatingIfNeeded: lastSequence).bigEndian, toByteOffset: 1, as: UInt32.self)
        }
        if !head.isEmpty { UnsafeMutableRawBufferPointer(rebasing: target[headerLength...]).copyMemory(from: head) }
        UnsafeMutableRawBufferPointer(rebasing: target[bodyOffset...]).copyMemory(from: bytes)
        blocks[last].used += length
        blocks[last].living += 1
        byteCount += length
        let isCounted = isCounted && kind != .part
        if isCounted { messageCount += 1 }
        entries.append(
            Entry(
                block: firstBlock + last, offset: Int32(offset), length: Int32(length), kind: kind,
                isCounted: isCounted))
    }

    /// The message with the number `sequence`, header included.
    package func frame(_ sequence: UInt64) -> (bytes: UnsafeMutableRawBufferPointer, kind: DeliveryProtocol.Kind)? {
        guard sequence >= firstSequence, sequence <= lastSequence else { return nil }
        let entry = entries[Int(sequence - firstSequence)]
        let memory = blocks[entry.block - firstBlock].memory
        let range = Int(entry.offset)..<(Int(entry.offset) + Int(entry.length))
        return (UnsafeMutableRawBufferPointer(rebasing: memory[range]), entry.kind)
    }

    /// Frees everything up to and including `sequence`.
    package mutating func release(upTo sequence: UInt64) {
        while !entries.isEmpty, firstSequence <= sequence {
            let entry = entries.removeFirst()
            byteCount -= Int(entry.length)
            if entry.isCounted { messageCount -= 1 }
            blocks[entry.block - firstBlock].living -= 1
            while let block = blocks.first, block.living == 0, blocks.count > 1 || entries.isEmpty {
                blocks.removeFirst()
                firstBlock += 1
                recycle(block)
            }
        }
    }

    /// Frees everything. Called by the owner at the end, on the peer loop.
    package mutating func removeAll() {
        release(upTo: lastSequence)
        spare?.memory.deallocate()
        spare = nil
    }

    private mutating func addBlock(atLeast length: Int) {
        if length <= blockSize, let block = spare {
            spare = nil
            blocks.append(block)
        } else {
            let size = max(length, blockSize)
            blocks.append(Block(memory: .allocate(byteCount: size, alignment: 16)))
        }
    }

    private mutating func recycle(_ block: Block) {
        if spare == nil, block.memory.count == blockSize {
            spare = Block(memory: block.memory)
        } else {
            block.memory.deallocate()
        }
    }
}

/// Up to 16 consecutive frames of a send buffer. The memory stays where it is until the loop releases it.
package struct FrameBatch {
    package static let capacity = 16

    /// The number of the first frame.
    package private(set) var first: UInt64 = 0
    package private(set) var count = 0
    /// The frames begin with a delivery header.
    package let hasHeaders: Bool
    private var frames: [16 of UnsafeMutableRawBufferPointer] = .init(repeating: .init(start: nil, count: 0))
    private var kinds: [16 of DeliveryProtocol.Kind] = .init(repeating: .binary)

    /// The frames of `buffer` from `sequence` on; none where that is nil.
    init(_ buffer: inout SendBuffer, from sequence: UInt64?) {
        hasHeaders = buffer.headerLength > 0
        guard let sequence else { return }
        first = sequence
        while count < Self.capacity, let (bytes, kind) = buffer.frame(sequence + UInt64(count)) {
            frames[count] = bytes
            kinds[count] = kind
            count += 1
        }
    }

    // Reading is `mutating` because the compiler copies the whole batch otherwise, for each frame.

    /// A frame, header included.
    package subscript(index: Int) -> UnsafeMutableRawBufferPointer { mutating get { frames[index] } }

    /// Whether the channel is to carry a frame as text. Frames with a header are bytes.
    package mutating func isText(_ index: Int) -> Bool { !hasHeaders && kinds[index] == .text }
}
