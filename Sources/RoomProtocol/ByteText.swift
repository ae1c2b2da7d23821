/// A text that is identified by its bytes: two are equal when their UTF-8 is the same. Comparing and hashing take
/// linear time.
///
/// `String` compares by canonical equivalence: it sorts combining marks, in a time that grows with the square of their
/// number, and treats texts as equal that differ on the wire. Text from the other side is used as a key only in this
/// type.
package struct ByteText: Sendable, Hashable, CustomStringConvertible {
    package let text: String

    package init(_ text: String) { self.text = text }

    package var description: String { text }

    package static func == (left: Self, right: Self) -> Bool { left.text.hasSameBytes(as: right.text) }

    package func hash(into hasher: inout Hasher) { text.hashBytes(into: &hasher) }
}

extension String {
    /// Returns whether the UTF-8 of both is the same.
    package func hasSameBytes(as other: String) -> Bool {
        guard utf8.count == other.utf8.count else { return false }
        // Text of Swift's own is contiguous.
        let isSame = utf8.withContiguousStorageIfAvailable { left in
            other.utf8.withContiguousStorageIfAvailable {
                UnsafeRawBufferPointer(left).hasBytes(UnsafeRawBufferPointer($0))
            }
        }
        return isSame.flatMap(\.self) ?? utf8.elementsEqual(other.utf8)
    }

    package func hashBytes(into hasher: inout Hasher) {
        var text = self
        text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
        // Like `String`, so that two texts in sequence differ from one text.
        hasher.combine(0xFF as UInt8)
    }
}

extension [String: String] {
    /// Returns whether the bytes of all keys and values are the same.
    package func hasSameBytes(as other: [String: String]) -> Bool {
        count == other.count
            && allSatisfy { key, value in
                guard let index = other.index(forKey: key) else { return false }
                return other[index].key.hasSameBytes(as: key) && other[index].value.hasSameBytes(as: value)
            }
    }
}

extension UnsafeRawBufferPointer {
    fileprivate func hasBytes(_ other: Self) -> Bool {
        guard count == other.count else { return false }
        var index = 0
        while index + 8 <= count {
            guard
                loadUnaligned(fromByteOffset: index, as: UInt64.self)
                    == other.loadUnaligned(fromByteOffset: index, as: UInt64.self)
            else { return false }
            index += 8
        }
        while index < count {
            guard self[index] == other[index] else { return false }
            index += 1
        }
        return true
    }
}
