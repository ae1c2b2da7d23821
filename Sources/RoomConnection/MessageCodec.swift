public import TransportPluginAPI

/// Turns values into the bytes of a message and back. For formats other than JSON.
///
/// A codec is called on the task that publishes, iterates, asks or answers, often on several at once.
public protocol MessageCodec<Value>: Sendable {
    /// The type of the values.
    associatedtype Value: Sendable

    /// Whether the bytes are UTF-8 text, which other programs are told. By default false.
    var isText: Bool { get }
    /// Returns the bytes of a value. An error fails the call that was given the value.
    func encode(_ value: Value) throws -> Payload
    /// Returns the value of bytes that another participant has sent. They can be anything: an error means that they
    /// are no value of this type.
    func decode(_ bytes: Payload) throws -> Value
}

extension MessageCodec {
    public var isText: Bool { false }
}

/// The codec of topics without a type: the value is the bytes.
struct PayloadCodec: MessageCodec {
    func encode(_ value: Payload) -> Payload { value }
    func decode(_ bytes: Payload) -> Payload { bytes }
}
