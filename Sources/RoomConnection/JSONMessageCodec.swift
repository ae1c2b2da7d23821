public import TransportPluginAPI

#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

/// The codec of all typed topics and requests that name no other one: JSON (RFC 8259), with the default strategies of
/// Foundation's `JSONEncoder`.
public struct JSONMessageCodec<Value: Codable & Sendable>: MessageCodec {
    /// Creates a codec.
    public init() {}

    /// True: JSON is text.
    public var isText: Bool { true }

    public func encode(_ value: Value) throws -> Payload {
        let data = try JSONEncoder().encode(value)
        return data.withUnsafeBytes { Payload(copying: $0) }
    }

    public func decode(_ bytes: Payload) throws -> Value {
        let data = bytes.withUnsafeBytes { Data($0) }
        return try JSONDecoder().decode(Value.self, from: data)
    }
}
