internal import Glibc
public import TransportValues
public import WebSocketWire

// For backends that read and write frames themselves.

extension SignalingMessage {
    /// Creates a message from the one that the parser has just completed. It is copied once if it lies in the input,
    /// otherwise not at all.
    public init(_ message: FrameParser.Message, in parser: inout FrameParser) {
        let payload: Payload
        if let memory = parser.takeMemory() {
            payload = Payload(adopting: memory) { free(UnsafeMutableRawPointer(mutating: $0.baseAddress)) }
        } else {
            payload = Payload(count: message.count) { if let target = $0.baseAddress { message.copy(to: target) } }
        }
        self = message.isText ? .text(payload) : .binary(payload)
    }

    /// The opcode of the frame that carries the message.
    public var opcode: Opcode {
        switch self {
        case .text: .text
        case .binary: .binary
        }
    }
}

extension SignalingClose {
    /// Creates a close reason from a received close frame.
    public init(_ reason: CloseReason) { self.init(code: reason.code, reason: reason.reason) }

    /// The payload of the close frame: code and reason, which is cut to what such a frame holds; empty for 1005.
    public var payload: [UInt8] { CloseReason(code: code, reason: reason).payload }
}

extension MaskingKeys {
    /// The next key, from the system's generator.
    public mutating func next() -> UInt32 {
        next { memory in
            guard getentropy(memory.baseAddress, memory.count) != 0 else { return }
            // If getrandom(2) fails, the standard library has other sources.
            var system = SystemRandomNumberGenerator()
            for index in memory.indices { memory[index] = system.next() }
        }
    }
}
