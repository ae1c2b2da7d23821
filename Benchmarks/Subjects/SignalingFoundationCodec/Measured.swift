internal import TransportPluginAPI

/// The benchmarks of the client's WebSocket codec.
package enum ClientFrames {
    /// Writes a masked frame of `payload` to `target`; returns its length.
    @inline(never)
    package static func write(_ payload: UnsafeRawBufferPointer, to target: UnsafeMutableRawPointer) -> Int {
        let header = FrameEncoder.writeHeader(.binary, length: payload.count, key: 0x1234_5678, to: target)
        FrameEncoder.mask(payload, to: target + header, key: 0x1234_5678, offset: 0)
        return header + payload.count
    }

    /// Reads a server's frames; returns how many messages there were.
    @inline(never)
    package static func read(_ frames: UnsafeRawBufferPointer) -> Int {
        var parser = FrameParser(maximumMessageSize: 1 << 20)
        var input = frames
        var count = 0
        while let event = try? parser.next(&input) { if case .message = event { count += 1 } }
        return count
    }
}
