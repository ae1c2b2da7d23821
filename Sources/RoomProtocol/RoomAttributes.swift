/// The host's attributes of the whole room: strings by name, shown to everybody in it.
///
/// At most 16 entries, keys of 64 bytes, values of 1024, 4096 in all (``Limits``).
public struct RoomAttributes: Sendable, Hashable {
    /// Counts the changes of the room's attributes; 0: there were none. The higher one is the newer one, also across a
    /// server that has lost its state.
    public var version: UInt64
    /// The attributes.
    public var values: [String: String]

    /// Creates attributes with these values.
    public init(version: UInt64 = 0, values: [String: String] = [:]) {
        self.version = version
        self.values = values
    }

    /// The capability of clients that know `roomChanged`.
    public static let capability = "attributes.v1"

    // Attributes are equal when their bytes are.
    public static func == (left: Self, right: Self) -> Bool {
        left.version == right.version && left.values.hasSameBytes(as: right.values)
    }

    public func hash(into hasher: inout Hasher) { hasher.combine(version) }
}

extension RoomAttributes {
    init(_ fields: FieldReader) throws(ProtocolError) {
        // Never so high that counting on could overflow.
        self.init(
            version: try fields.optionalInteger("attributesVersion", limit: .max / 2) ?? 0,
            values: try fields.metadata("attributes"))
    }

    func write(to json: inout JSONWriter) {
        json.member("attributes", values)
        json.member("attributesVersion", version)
    }
}
