internal import Glibc
public import TransportPluginAPI

/// A candidate as text: `candidate:1 1 UDP 2130706431 192.0.2.1 5000 typ host` (RFC 8839 §5.1).
///
/// libnice's own parser accepts invalid input (ports and priorities that overflow). So every remote line is parsed here
/// first, and libnice gets only lines that this type has written. Parsing never traps.
public struct CandidateLine: Sendable, Hashable, CustomStringConvertible {
    /// 1 to 32 ice-chars.
    public let foundation: String
    /// 1 to 256.
    public let component: Int
    /// In upper case: `UDP`, `TCP` or another token.
    public let transport: String
    /// 1 to 2^31 - 1 (RFC 8445 §5.1.2.1).
    public let priority: Int
    /// An IP address or a name.
    public let address: String
    /// 0 to 65,535; active TCP candidates carry 9 (RFC 6544 §4.5).
    public let port: UInt16
    /// `host`, `srflx`, `prflx`, `relay` or another word.
    public let kind: String
    /// The address that the candidate was made from (`raddr`), where the line has it.
    public let relatedAddress: String?
    /// The port that belongs to `relatedAddress` (`rport`).
    public let relatedPort: UInt16?
    /// `active`, `passive` or `so` (RFC 6544 §4.5).
    public let tcpType: String?

    /// The maximum length of a line in bytes.
    public static let maximumLength = 1024

    /// Reads a line with or without a leading `a=`. Throws `.protocolViolation`, which names the part that is wrong.
    public init(_ text: String) throws(TransportError) {
        guard text.utf8.count <= Self.maximumLength else { throw Self.malformed("it is longer than 1024 bytes") }
        var line = Substring(text)
        while let last = line.unicodeScalars.last, last == "\r" || last == "\n" { line.unicodeScalars.removeLast() }
        if line.hasPrefix("a=") { line = line.dropFirst(2) }
        guard line.hasPrefix("candidate:") else { throw Self.malformed("it does not begin with 'candidate:'") }
        // Visible ASCII only: nothing else may reach a C parser or a log.
        guard line.utf8.allSatisfy({ $0 == 0x20 || ($0 > 0x20 && $0 < 0x7F) }) else {
            throw Self.malformed("it has bytes outside of visible ASCII")
        }
        let words = line.dropFirst("candidate:".count).split(separator: " ", omittingEmptySubsequences: true)
        guard words.count >= 8 else { throw Self.malformed("it ends early") }

        foundation = String(words[0])
        guard foundation.utf8.count <= 32, foundation.utf8.allSatisfy(Self.isICECharacter) else {
            throw Self.malformed("its foundation is not 1 to 32 ice-chars")
        }
        component = try Self.number(words[1], in: 1...256, "component")
        transport = words[2].uppercased()
        guard transport.utf8.count <= 16 else { throw Self.malformed("its transport is not a token") }
        priority = try Self.number(words[3], in: 1...0x7FFF_FFFF, "priority")
        // A zone means nothing on another machine (RFC 4007 §6).
        address = String(words[4].prefix { $0 != "%" })
        guard (1...255).contains(address.utf8.count) else { throw Self.malformed("its address is empty or too long") }
        port = UInt16(truncatingIfNeeded: try Self.number(words[5], in: 0...65_535, "port"))
        guard words[6] == "typ" else { throw Self.malformed("it has no type") }
        kind = String(words[7])

        var relatedAddress: String?
        var relatedPort: UInt16?
        var tcpType: String?
        var rest = words[8...]
        while let name = rest.popFirst() {
            guard let value = rest.popFirst() else { throw Self.malformed("an attribute at its end has no value") }
            switch name {
            case "raddr": relatedAddress = String(value)
            case "rport": relatedPort = UInt16(truncatingIfNeeded: try Self.number(value, in: 0...65_535, "rport"))
            case "tcptype": tcpType = String(value)
            // RFC 8839 §5.1: unknown attributes are ignored.
            default: break
            }
        }
        self.relatedAddress = relatedAddress
        self.relatedPort = relatedPort
        self.tcpType = tcpType
    }

    /// Whether checks can be sent to it from here: component 1, UDP or TCP, a unicast IP address with a port, a known
    /// type. Names are not: `….local` (mDNS) cannot be resolved without a daemon, and checks must not cause look-ups
    /// elsewhere.
    public var isUsable: Bool {
        guard component == 1, port > 0 || tcpType == "active", let address = IPAddress(address), address.isUnicast
        else {
            return false
        }
        guard ["host", "srflx", "prflx", "relay"].contains(kind) else { return false }
        switch transport {
        case "UDP": return tcpType == nil
        case "TCP": return tcpType == "active" || tcpType == "passive" || tcpType == "so"
        default: return false
        }
    }

    /// The line, without `a=` and without attributes that this type does not know.
    public var description: String {
        var line = "candidate:\(foundation) \(component) \(transport) \(priority) \(address) \(port) typ \(kind)"
        if let relatedAddress, let relatedPort, IPAddress(relatedAddress) != nil {
            line += " raddr \(relatedAddress) rport \(relatedPort)"
        }
        if let tcpType { line += " tcptype \(tcpType)" }
        return line
    }

    private static func number(
        _ text: Substring, in range: ClosedRange<Int>, _ name: String
    ) throws(TransportError) -> Int {
        guard text.utf8.count <= 10, text.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }), let number = Int(text),
            range.contains(number)
        else {
            throw malformed("its \(name) is not a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    /// RFC 8839 §5.1: ice-char = ALPHA / DIGIT / "+" / "/"
    static func isICECharacter(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2B, 0x2F: true
        default: false
        }
    }

    private static func malformed(_ reason: String) -> TransportError {
        TransportError(.protocolViolation, "a remote candidate is malformed: \(reason)")
    }
}
