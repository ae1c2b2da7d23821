/// The head of an HTTP/1.1 response, read byte by byte (RFC 9112 §4 and §5): Swift takes CR LF for one character.
public struct HTTPAnswer: Sendable {
    /// Bytes of a head, its end included.
    public static let maximumSize = 16_384
    private static let maximumFields = 100

    /// 100 to 999.
    public let status: Int
    /// Names in lower case, values without the blanks around them.
    private let fields: [(name: String, value: String)]

    /// Nil: not a head of HTTP/1.1.
    /// - Parameter bytes: without the empty line at the end.
    public init?(_ bytes: [UInt8]) {
        var lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)[...]
        guard let first = lines.popFirst(), let status = Self.status(Self.withoutReturn(first)) else { return nil }
        var fields: [(String, String)] = []
        for line in lines {
            let line = Self.withoutReturn(line)
            guard !line.isEmpty else { continue }
            guard fields.count < Self.maximumFields, let field = Self.field(line) else { return nil }
            fields.append(field)
        }
        self.status = status
        self.fields = fields
    }

    /// Whether another answer follows this one (RFC 9110 §15.2). One that switches protocols is final.
    public var isInterim: Bool { status < 200 && status != 101 }

    /// Whether `bytes` may be the beginning of a head.
    fileprivate static func mayBegin(_ bytes: some Collection<UInt8>) -> Bool {
        zip(bytes, "HTTP/1.".utf8).allSatisfy(==)
    }

    /// The values of all fields of this name (in lower case), as they came.
    public func values(_ name: String) -> [String] { fields.filter { $0.name == name }.map(\.value) }

    /// The members of a list, over all fields of this name (RFC 9110 §5.6.1).
    public func members(_ name: String) -> [String] {
        values(name).flatMap { value in
            Array(value.utf8).split(separator: UInt8(ascii: ",")).map { Self.text(Self.trimmed($0)) }
        }
    }

    private static func status(_ line: ArraySlice<UInt8>) -> Int? {
        // HTTP/1.1 101 Switching Protocols
        let line = Array(line)
        guard line.count >= 12, mayBegin(line), line[7] == UInt8(ascii: "1") || line[7] == UInt8(ascii: "0"),
            line[8] == UInt8(ascii: " "), line.count == 12 || line[12] == UInt8(ascii: " ")
        else { return nil }
        var status = 0
        for digit in line[9..<12] {
            guard (0x30...0x39).contains(digit) else { return nil }
            status = status * 10 + Int(digit - 0x30)
        }
        return status >= 100 ? status : nil
    }

    private static func field(_ line: ArraySlice<UInt8>) -> (String, String)? {
        guard let colon = line.firstIndex(of: UInt8(ascii: ":")), HTTPToken.isValid(line[..<colon]) else { return nil }
        let value = trimmed(line[line.index(after: colon)...])
        guard value.allSatisfy({ $0 == 0x09 || $0 >= 0x20 && $0 != 0x7F }) else { return nil }
        return (text(line[..<colon]).lowercased(), text(value))
    }

    private static func withoutReturn(_ line: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        line.last == 0x0D ? line.dropLast() : line
    }

    private static func trimmed(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        let isBlank: (UInt8) -> Bool = { $0 == 0x20 || $0 == 0x09 }
        guard let first = bytes.firstIndex(where: { !isBlank($0) }), let last = bytes.lastIndex(where: { !isBlank($0) })
        else { return bytes[bytes.endIndex...] }
        return bytes[first...last]
    }

    /// ASCII: every other byte is a question mark (RFC 9110 §5.5 calls them opaque), so that no comparison has to normalise.
    private static func text(_ bytes: some Collection<UInt8>) -> String {
        String(decoding: bytes.map { $0 < 0x80 ? $0 : UInt8(ascii: "?") }, as: UTF8.self)
    }
}

extension HTTPAnswer {
    /// Gathers a head that comes in pieces.
    public struct Buffer: Sendable {
        private var bytes: [UInt8] = []

        /// How far it has come.
        public enum Progress: Sendable {
            /// The end has not come yet.
            case incomplete
            /// Neither the beginning of a response nor short enough for one.
            case invalid(String)
            /// The whole head.
            case complete(HTTPAnswer)
        }

        /// An empty one.
        public init() {}

        /// Takes what belongs to the head from the front of `input`; the rest is what follows it.
        public mutating func take(_ input: inout UnsafeRawBufferPointer) -> Progress {
            while !input.isEmpty {
                bytes.append(input[0])
                input = UnsafeRawBufferPointer(rebasing: input[1...])
                if bytes.count <= 7, !HTTPAnswer.mayBegin(bytes) { return .invalid("its answer is not HTTP/1.1") }
                guard bytes.count <= HTTPAnswer.maximumSize else {
                    return .invalid("its answer's head has more than \(HTTPAnswer.maximumSize) bytes")
                }
                guard bytes.last == 0x0A, bytes.hasSuffix("\r\n\r\n") || bytes.hasSuffix("\n\n") else { continue }
                return HTTPAnswer(bytes).map(Progress.complete) ?? .invalid("its answer's head is malformed")
            }
            return .incomplete
        }
    }
}

extension [UInt8] {
    fileprivate func hasSuffix(_ text: StaticString) -> Bool {
        count >= text.utf8CodeUnitCount
            && text.withUTF8Buffer { suffix in self[(count - suffix.count)...].elementsEqual(suffix) }
    }
}

/// The names of HTTP (RFC 9110 §5.6.2).
public enum HTTPToken {
    /// Whether the bytes are one.
    public static func isValid(_ bytes: some Collection<UInt8>) -> Bool { !bytes.isEmpty && bytes.allSatisfy(isMember) }

    private static func isMember(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
        case 0x21, 0x23...0x27, 0x2A, 0x2B, 0x2D, 0x2E, 0x5E...0x60, 0x7C, 0x7E: true
        default: false
        }
    }
}
