/// The JSON form of the messages: one object per WebSocket text message, distinguished by `type`. See
/// <doc:WireProtocol>.
///
/// Decoding never traps, whatever the bytes are. It throws a ``ProtocolError`` with one of these codes:
///
/// - `malformed`: no JSON, or a field that is missing or of the wrong type. Not fatal in a client's message whose
///   number could be read: it then costs that message only;
/// - `invalid_name`: a name with a character that no name may have;
/// - `limit_exceeded`: a field over its limit (``Limits``); the message names the field;
/// - `unknown_type`: a type, or a kind of signal, that this version does not know;
/// - `version_mismatch` (fatal): a `hello` or `joined` without a common version.
///
/// When the envelope could be read, the error has the message's number: a side that refuses a numbered message still
/// counts it as received, so that it is not sent again for ever.
public enum RoomProtocolCodec {
    /// Returns the text of a client's message. Limits are checked by the receiver.
    public static func encode(_ envelope: Envelope<ClientMessage>) -> [UInt8] {
        EncodedBody(envelope.message).finished(sequence: envelope.sequence, ack: envelope.ack)
    }

    /// Returns the text of a server's message. Limits are checked by the receiver.
    public static func encode(_ envelope: Envelope<ServerMessage>) -> [UInt8] {
        EncodedBody(envelope.message).finished(sequence: envelope.sequence, ack: envelope.ack)
    }

    /// Parses a client's message. Throws the errors of this type.
    public static func decodeClientMessage(
        _ bytes: UnsafeRawBufferPointer
    ) throws(ProtocolError) -> Envelope<ClientMessage> {
        if let signal = SignalReader.read(bytes) { return signal }
        return try decodeAnyClientMessage(bytes)
    }

    /// Parses a client's message without a short way for signals.
    package static func decodeAnyClientMessage(
        _ bytes: UnsafeRawBufferPointer
    ) throws(ProtocolError) -> Envelope<ClientMessage> {
        try decode(bytes, limit: Limits.clientMessageBytes, isFieldFatal: false, ClientMessage.init)
    }

    /// Parses a server's message. Throws the errors of this type.
    public static func decodeServerMessage(
        _ bytes: UnsafeRawBufferPointer
    ) throws(ProtocolError) -> Envelope<ServerMessage> {
        try decode(bytes, limit: Limits.serverMessageBytes, isFieldFatal: true, ServerMessage.init)
    }

    /// Parses a client's message. Throws the errors of this type.
    public static func decodeClientMessage(_ bytes: [UInt8]) throws(ProtocolError) -> Envelope<ClientMessage> {
        try bytes.span.bytes.withUnsafeBytes { bytes throws(ProtocolError) in try decodeClientMessage(bytes) }
    }

    /// Parses a server's message. Throws the errors of this type.
    public static func decodeServerMessage(_ bytes: [UInt8]) throws(ProtocolError) -> Envelope<ServerMessage> {
        try bytes.span.bytes.withUnsafeBytes { bytes throws(ProtocolError) in try decodeServerMessage(bytes) }
    }

    private static func decode<Message>(
        _ bytes: UnsafeRawBufferPointer, limit: Int, isFieldFatal: Bool,
        _ message: (_ type: String, _ fields: FieldReader) throws(ProtocolError) -> Message
    ) throws(ProtocolError) -> Envelope<Message> {
        guard bytes.count <= limit else {
            var error = ProtocolError.limitExceeded("The message is over its limit of \(limit) bytes.")
            error.isFatal = true
            throw error
        }
        let value: JSONValue
        let flaw: JSONReader.Flaw?
        do throws(JSONError) {
            (value, flaw) = try JSONReader.read(bytes, nameLimit: Limits.memberName)
        } catch {
            throw .malformed("The message is not valid JSON at byte \(error.offset): \(error.reason).")
        }
        guard case .object(let members) = value else { throw .malformed("The message is not a JSON object.") }
        let fields = FieldReader(members)
        let sequence = try fields.optionalInteger("seq")
        if sequence == 0 { throw .malformed("The field seq is 0, numbers begin at 1.") }
        do throws(ProtocolError) {
            switch flaw {
            case .duplicateName(let error)?:
                throw .malformed("The message has a name twice in one object, at byte \(error.offset).")
            case .longName?: throw .limitExceeded("A member's name is over its limit of \(Limits.memberName) bytes.")
            case nil: break
            }
            let type = try fields.string("type", limit: 64, .token, minimum: 1)
            return Envelope(sequence: sequence, ack: try fields.optionalInteger("ack"), try message(type, fields))
        } catch {
            var error = error
            error.sequence = sequence
            if error.code == .malformed { error.isFatal = isFieldFatal }
            throw error
        }
    }
}

/// The JSON of a message without its number and acknowledgement: encoded once, sent to many.
public struct EncodedBody: Sendable, Hashable {
    /// The object without its closing brace.
    private var bytes: [UInt8]

    /// Encodes the message.
    public init(_ message: ClientMessage) { self.init { message.write(to: &$0) } }

    /// Encodes the message.
    public init(_ message: ServerMessage) { self.init { message.write(to: &$0) } }

    private init(_ write: (inout JSONWriter) -> Void) {
        var writer = JSONWriter()
        writer.openObject(write)
        bytes = writer.bytes
    }

    /// The number of bytes, without number and acknowledgement.
    public var count: Int { bytes.count }

    /// Returns the complete text.
    public consuming func finished(sequence: SequenceNumber? = nil, ack: SequenceNumber? = nil) -> [UInt8] {
        append(",\"seq\":", sequence)
        append(",\"ack\":", ack)
        bytes.append(UInt8(ascii: "}"))
        return bytes
    }

    private mutating func append(_ name: StaticString, _ number: SequenceNumber?) {
        guard let number else { return }
        bytes.append(contentsOf: UnsafeBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount))
        bytes.append(decimal: number)
    }
}
