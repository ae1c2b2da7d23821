public import TransportValues
internal import WebSocketWire

extension SignalingEndpoint {
    /// The maximum length of a host name, and of a certificate's name, in bytes.
    public static let maximumHostLength = 255
    /// The maximum length of path and query in bytes.
    public static let maximumPathLength = 8192
    /// The maximum length of all subprotocols together in bytes.
    public static let maximumSubprotocolsLength = 1024
    /// The maximum length of all headers together in bytes, with four for the separators of each.
    public static let maximumHeadersLength = 16_384

    /// Checks that every value can be part of the request and has a sensible length. Every backend calls this before
    /// anything is sent.
    ///
    /// Throws `.invalidArgument` for a host or certificate name, path, header or subprotocol over its limit, or with
    /// characters that it must not have: names and paths have those that URLs allow (RFC 3986), a path begins with `/`,
    /// subprotocols and the names of headers are tokens (RFC 9110 §5.6.2), and the value of a header has no control
    /// character.
    public func validate() throws(TransportError) {
        try Self.validate(hostName: host)
        try Self.validate(hostName: certificateName)
        guard path.hasPrefix("/"), path.utf8.count <= Self.maximumPathLength else {
            throw Self.refusal("a path must begin with '/' and have at most 8,192 characters")
        }
        if let fault = Self.fault(inPath: path.utf8) { throw Self.refusal("the path \(fault)") }
        guard subprotocols.allSatisfy({ HTTPToken.isValid($0.utf8) }),
            subprotocols.joined().utf8.count <= Self.maximumSubprotocolsLength
        else { throw Self.refusal("subprotocols must be HTTP tokens, at most 1,024 bytes together") }
        var size = 0
        for (name, value) in headers {
            guard HTTPToken.isValid(name.utf8), value.utf8.allSatisfy({ $0 == 0x09 || $0 >= 0x20 && $0 != 0x7F }) else {
                throw Self.refusal(
                    "a header's name must be an HTTP token and its value must have no control characters")
            }
            size += name.utf8.count + value.utf8.count + 4
        }
        guard size <= Self.maximumHeadersLength else {
            throw Self.refusal("the headers have more than 16,384 bytes together")
        }
    }

    /// Throws `.invalidArgument` if a name cannot be the host of an endpoint or of a proxy.
    static func validate(hostName name: String) throws(TransportError) {
        // A numeric address may have a zone, which is the name of an interface.
        let isPlain =
            !name.contains(":") || name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "/") }
        guard !name.isEmpty, name.utf8.count <= maximumHostLength, isPlain else {
            throw refusal("a host name must have 1 to 255 visible ASCII characters")
        }
        if !name.contains(":"), let fault = fault(inHostName: name.utf8) { throw refusal("the host \(fault)") }
    }

    private static func refusal(_ reason: String) -> TransportError {
        TransportError(.invalidArgument, "\(reason); nothing was sent")
    }
}
