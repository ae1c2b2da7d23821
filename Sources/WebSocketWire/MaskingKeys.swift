/// Masking keys, drawn from the system in batches: a system call for each frame would cost more than the frame.
public struct MaskingKeys: Sendable {
    private var keys: [UInt32] = []

    /// Creates an empty supply.
    public init() {}

    /// The next key.
    /// - Parameter fill: fills memory with bytes that nobody can foresee (getrandom(2)). Called once for 64 keys.
    public mutating func next(fillingWith fill: (UnsafeMutableRawBufferPointer) -> Void) -> UInt32 {
        if let key = keys.popLast() { return key }
        keys = [UInt32](repeating: 0, count: 64)
        keys.withUnsafeMutableBytes(fill)
        return keys.removeLast()
    }
}
