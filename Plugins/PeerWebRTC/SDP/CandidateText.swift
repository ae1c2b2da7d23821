internal import TransportPluginAPI

/// The parts of a candidate line that this layer needs (RFC 8839 §5.1). The rest is for the ICE agent.
struct CandidateText: Equatable {
    static let maximumLength = 1024

    /// `candidate:…`, without `a=`.
    var line: String
    /// 1 for RTP and for data channels; candidates of other components are of no use here.
    var component: Int
    /// The generation, where the line names it (RFC 8838 §4.1: the extension `ufrag`).
    var usernameFragment: String?

    /// Takes `candidate:…` with or without `a=`. Throws `.protocolViolation`.
    init(parsing text: String) throws(TransportError) {
        guard text.utf8.count <= Self.maximumLength else { throw Self.malformed("it is too long") }
        guard text.utf8.allSatisfy({ (32...126).contains($0) }) else { throw Self.malformed("it is not plain text") }
        let line = text.hasPrefix("a=") ? text.dropFirst(2) : text[...]
        guard line.hasPrefix("candidate:") else { throw Self.malformed("it does not begin with 'candidate:'") }
        let words = line.dropFirst("candidate:".count).split(separator: " ")
        guard words.count >= 8 else { throw Self.malformed("fields are missing") }
        guard !words[0].isEmpty, words[0].utf8.count <= 32 else { throw Self.malformed("the foundation") }
        guard let component = Int(words[1]), (1...256).contains(component) else {
            throw Self.malformed("the component")
        }
        guard UInt32(words[3]) != nil else { throw Self.malformed("the priority") }
        guard words[4].utf8.count <= 255 else { throw Self.malformed("the address") }
        guard UInt16(words[5]) != nil else { throw Self.malformed("the port") }
        guard words[6] == "typ" else { throw Self.malformed("no type") }
        self.line = String(line)
        self.component = component
        var index = 8
        while index + 1 < words.count {
            if words[index] == "ufrag" { usernameFragment = String(words[index + 1]) }
            index += 2
        }
    }

    private static func malformed(_ reason: String) -> TransportError {
        TransportError(.protocolViolation, "the candidate cannot be used: \(reason)")
    }
}
