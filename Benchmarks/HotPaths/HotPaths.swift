@preconcurrency import Benchmark
@_spi(Benchmarks) import PeerWebRTC
@_spi(Benchmarks) import RoomConnection
import RoomProtocol
import TransportPluginAPI
import WebSocketWire

/// A message as it is sent most often, and a large one.
private let sizes = [64, 16_384]

private let configuration = Benchmark.Configuration(
    metrics: [.wallClock, .cpuTotal, .throughput, .instructions], warmupIterations: 10, scalingFactor: .kilo,
    maxDuration: .seconds(1), maxIterations: 100_000)

let benchmarks: @Sendable () -> Void = {
    Benchmark.defaultConfiguration = configuration
    delivery()
    webSocket()
    queues()
    roomProtocol()
    sessionDescriptions()
}

private func delivery() {
    for size in sizes {
        Benchmark("delivery: number, frame and acknowledge \(size) B") { benchmark in
            let payload = [UInt8](repeating: 1, count: size)
            payload.withUnsafeBytes {
                blackHole(MeasuredQueues.resendBuffer($0, count: benchmark.scaledIterations.upperBound))
            }
        }
    }
    Benchmark("delivery: read a header") { benchmark in
        let frame: [UInt8] = [2, 0, 0, 0, 17, 0, 0, 0, 16] + [UInt8](repeating: 1, count: 64)
        for _ in benchmark.scaledIterations { frame.withUnsafeBytes { blackHole(DeliveryProtocol.decode($0)) } }
    }
}

private func webSocket() {
    for size in sizes {
        Benchmark("WebSocket client: write \(size) B") { benchmark in
            let payload = [UInt8](repeating: 1, count: size)
            let target = UnsafeMutableRawPointer.allocate(
                byteCount: size + FrameWriter.maximumHeader, alignment: 16)
            defer { target.deallocate() }
            payload.withUnsafeBytes { payload in
                for _ in benchmark.scaledIterations {
                    blackHole(FrameWriter.write(.binary, payload, key: 0x1234_5678, to: target))
                }
            }
        }
        Benchmark("WebSocket client: read \(size) B") { benchmark in
            readFrames(size, from: .server, benchmark) { message, parser in
                blackHole(SignalingMessage(message, in: &parser))
            }
        }
        Benchmark("WebSocket server: read \(size) B") { benchmark in
            readFrames(size, from: .client, benchmark) { message, _ in blackHole(message.array()) }
        }
    }
}

/// Reads messages of `size` bytes, as many at once as a socket gives.
@inline(__always)
private func readFrames(
    _ size: Int, from sender: FrameParser.Sender, _ benchmark: Benchmark,
    _ take: (FrameParser.Message, inout FrameParser) -> Void
) {
    let stream = frames(size, count: benchmark.scaledIterations.upperBound, isMasked: sender == .client)
    var parser = FrameParser(framesFrom: sender, maximumMessageSize: 1 << 20)
    var count = 0
    benchmark.startMeasurement()
    stream.withUnsafeBytes { stream in
        for start in stride(from: 0, to: stream.count, by: 65_536) {
            var input = UnsafeRawBufferPointer(rebasing: stream[start..<min(start + 65_536, stream.count)])
            while case .message(let message)? = try? parser.next(&input) {
                take(message, &parser)
                count += 1
            }
        }
    }
    benchmark.stopMeasurement()
    if count != benchmark.scaledIterations.upperBound { benchmark.error("\(count) messages were read") }
}

/// Binary messages of `size` bytes, one frame each.
private func frames(_ size: Int, count: Int, isMasked: Bool) -> [UInt8] {
    let mask: UInt8 = isMasked ? 0x80 : 0
    var frame: [UInt8] =
        size < 126
        ? [0x82, mask | UInt8(size)] : [0x82, mask | 126, UInt8(size >> 8), UInt8(truncatingIfNeeded: size)]
    if isMasked { frame += [0x12, 0x34, 0x56, 0x78] }
    frame += [UInt8](repeating: 1, count: size)
    return Array(repeatElement(frame, count: count).joined())
}

private func queues() {
    Benchmark("Mailbox: 64 B, 100 at a time") { benchmark in
        let payload = Payload([UInt8](repeating: 1, count: 64))
        blackHole(MeasuredQueues.mailbox(payload, count: benchmark.scaledIterations.upperBound))
    }
    Benchmark("MessageBuffer: in and out, 64 B") { benchmark in
        let buffer = MessageBuffer(limit: 1 << 20)
        let message = SignalingMessage.binary(Payload([UInt8](repeating: 1, count: 64)))
        for _ in benchmark.scaledIterations {
            blackHole(buffer.appendNow(message))
            blackHole(buffer.popFirst())
        }
    }
}

private func roomProtocol() {
    let signal = Signal(
        peer: ParticipantID("p-2"), session: SessionID("s-2"), connection: PeerConnectionID("c-9"), negotiation: 4,
        body: .candidate(
            .init(
                text: "candidate:1 1 UDP 2130706431 192.0.2.1 5000 typ host", mediaID: "0", mediaLineIndex: 0,
                usernameFragment: "abcd")))
    let envelope = Envelope<ClientMessage>(sequence: 17, ack: 16, .signal(signal))
    Benchmark("room protocol: write a candidate") { benchmark in
        for _ in benchmark.scaledIterations { blackHole(RoomProtocolCodec.encode(envelope)) }
    }
    Benchmark("room protocol: read a candidate") { benchmark in
        let bytes = RoomProtocolCodec.encode(envelope)
        if (try? RoomProtocolCodec.decodeClientMessage(bytes)) != envelope { benchmark.error("not what was written") }
        for _ in benchmark.scaledIterations { blackHole(try? RoomProtocolCodec.decodeClientMessage(bytes)) }
    }
}

private func sessionDescriptions() {
    let lines = [
        "v=0", "o=- 4611731400430051336 2 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0", "a=extmap-allow-mixed",
        "a=msid-semantic: WMS", "m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "c=IN IP4 0.0.0.0",
        "a=ice-ufrag:U+xK",
        "a=ice-pwd:mLq8Xxy7yKqjzIyFQzVVu/3v", "a=ice-options:trickle",
        "a=fingerprint:sha-256 " + repeatElement("4A", count: 32).joined(separator: ":"), "a=setup:actpass", "a=mid:0",
        "a=sctp-port:5000", "a=max-message-size:262144",
    ]
    let offer = lines.joined(separator: "\r\n") + "\r\n"
    Benchmark("SDP: read an offer") { benchmark in
        if !MeasuredDescriptions.parse(offer) { benchmark.error("the offer was refused") }
        for _ in benchmark.scaledIterations { blackHole(MeasuredDescriptions.parse(offer)) }
    }
    Benchmark("SDP: answer an offer") { benchmark in
        for _ in benchmark.scaledIterations { blackHole(MeasuredDescriptions.answer(offer)) }
    }
}
