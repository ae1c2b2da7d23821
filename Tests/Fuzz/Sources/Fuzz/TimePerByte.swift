import Glibc
import RoomProtocol

/// The decoders between the socket and the machines, each with the length of the longest input that it accepts.
private let decoders: [(name: StaticString, decode: @Sendable (UnsafeRawBufferPointer) -> Void, limit: Int)] = [
    ("client-message", clientMessage, Limits.clientMessageBytes), ("server-message", serverMessage, 512 << 10),
    ("session-description", sessionDescription, Limits.sdp), ("candidate", candidate, 1024),
    ("http-head", httpHead, 16 << 10), ("response-head", responseHead, 16 << 10), ("websocket", webSocket, 64 << 10),
    ("websocket-client", webSocketClient, 64 << 10), ("delivery", delivery, 64 << 10),
    ("channel-open", channelOpen, 64 << 10), ("channel-label", channelLabel, 64 << 10),
    ("exchange", exchange, 64 << 10),
]

/// A text with parts that are repeated, at an eighth of the longest input, a quarter, a half and the whole: eight times
/// the bytes must not take much more than eight times as long.
///
/// The first byte says which decoder (`a` is the first). The others are a beginning, a part that is repeated, a middle,
/// another part that is repeated as often, and an end, with a byte 0xFF between them.
func timePerByte(_ bytes: UnsafeRawBufferPointer) {
    guard let first = bytes.first else { return }
    let decoder = decoders[Int(first &- UInt8(ascii: "a")) % decoders.count]
    var parts = bytes.dropFirst().split(separator: 0xFF, maxSplits: 4, omittingEmptySubsequences: false).map(Array.init)
    if parts.count == 1 { parts.insert([], at: 0) }
    parts += Array(repeating: [], count: 5 - parts.count)
    let inputs = [8, 4, 2, 1].compactMap { parts.repeated(upTo: decoder.limit / $0) }
    guard inputs.count == 4 else { return }
    // An input that is decoded within this time is harmless, and too short to compare.
    let harmless = 0.01
    var times = [Double](repeating: .infinity, count: 4)
    // The shortest of several measurements: other work of this machine only makes them longer.
    for _ in 0..<6 {
        for index in [3, 2, 1, 0] {
            for _ in 0..<(index == 3 ? 1 : 2) {
                times[index] = min(times[index], time(of: decoder.decode, inputs[index]))
            }
            guard times[3] > harmless else { return }
        }
        let perByte = zip(times, inputs).map { $0 / Double($1.count) }
        // A single jump is no growth: repeated otherwise, the text may be another one, which takes the decoder longer.
        guard perByte[3] / perByte[0] > 3, perByte[3] / perByte[2] > 1.4, perByte[2] / perByte[1] > 1.4 else { return }
    }
    let measured = zip(inputs, times).map { "\($0.count) bytes in \($1) s" }.joined(separator: ", ")
    fatalError("\(decoder.name) takes more than linear time: \(measured)")
}

/// Seconds of this thread's processor time.
private func time(of decode: (UnsafeRawBufferPointer) -> Void, _ input: [UInt8]) -> Double {
    func now() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
    let start = now()
    input.withUnsafeBytes(decode)
    return now() - start
}

extension [[UInt8]] {
    /// Returns the text with its parts repeated, or nil when nothing is repeated, or not even once within the limit.
    fileprivate func repeated(upTo limit: Int) -> [UInt8]? {
        let unit = self[1].count + self[3].count
        let count = unit > 0 ? (limit - self[0].count - self[2].count - self[4].count) / unit : 0
        guard count > 0 else { return nil }
        func times(_ part: [UInt8]) -> [UInt8] { [UInt8](repeatElement(part, count: count).joined()) }
        return self[0] + times(self[1]) + self[2] + times(self[3]) + self[4]
    }
}
