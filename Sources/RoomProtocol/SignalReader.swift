internal import TransportValues

/// Reads the text of a client's signal in one pass: most of what a room server receives.
///
/// It knows only texts as encoders write them: `type` first, no spaces, nothing unknown, nothing twice, ASCII, short
/// escapes. It returns nil for all other texts, and for wrong ones: `JSONReader` and `FieldReader` decide then. What it
/// does return is what they return.
struct SignalReader {
    private let bytes: UnsafeRawBufferPointer
    private var index = 0

    static func read(_ bytes: UnsafeRawBufferPointer) -> Envelope<ClientMessage>? {
        var reader = SignalReader(bytes: bytes)
        guard bytes.count <= Limits.clientMessageBytes, reader.take("{\"type\":\"signal\",") else { return nil }
        return reader.envelope()
    }

    private init(bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    private mutating func envelope() -> Envelope<ClientMessage>? {
        var (sequence, ack, negotiation): (UInt64?, UInt64?, UInt64?)
        var (peer, session, connection): (String?, String?, String?)
        var body: Signal.Body?
        repeat {
            let isRead =
                if take("\"seq\":") {
                    set(&sequence) { $0.integer() } && sequence != 0
                } else if take("\"ack\":") {
                    set(&ack) { $0.integer() }
                } else if take("\"peer\":") {
                    set(&peer) { $0.identifier() }
                } else if take("\"session\":") {
                    set(&session) { $0.identifier() }
                } else if take("\"connection\":") {
                    set(&connection) { $0.identifier() }
                } else if take("\"negotiation\":") {
                    set(&negotiation) { $0.integer() }
                } else if take("\"candidate\":{") {
                    set(&body) { $0.candidate() }
                } else if take("\"description\":{") {
                    set(&body) { $0.description() }
                } else if take("\"endOfCandidates\":{") {
                    set(&body) { $0.endOfCandidates() }
                } else {
                    false
                }
            guard isRead else { return nil }
        } while take(",")
        guard take("}"), index == bytes.count, let peer, let session, let connection, let negotiation, let body else {
            return nil
        }
        return Envelope(
            sequence: sequence, ack: ack,
            .signal(
                Signal(
                    peer: ParticipantID(peer), session: SessionID(session), connection: PeerConnectionID(connection),
                    negotiation: negotiation, body: body)))
    }

    // MARK: Bodies, after their opening brace

    private mutating func candidate() -> Signal.Body? {
        var (text, mediaID, usernameFragment): (String?, String?, String?)
        var mediaLineIndex: UInt64?
        repeat {
            let isRead =
                if take("\"candidate\":") {
                    set(&text) { $0.text(limit: Limits.candidate, .line) }
                } else if take("\"sdpMid\":") {
                    set(&mediaID) { $0.text(limit: Limits.mediaID, .line) }
                } else if take("\"sdpMLineIndex\":") {
                    set(&mediaLineIndex) { $0.integer() }
                } else if take("\"usernameFragment\":") {
                    set(&usernameFragment) { $0.text(limit: Limits.usernameFragment, .token) }
                } else {
                    false
                }
            guard isRead else { return nil }
        } while take(",")
        guard take("}"), let text, mediaLineIndex ?? 0 <= UInt64(Limits.mediaLineIndex) else { return nil }
        return .candidate(
            PeerCandidate(
                text: text, mediaID: mediaID, mediaLineIndex: mediaLineIndex.map { Int($0) },
                usernameFragment: usernameFragment))
    }

    private mutating func description() -> Signal.Body? {
        var kind: SessionDescription.Kind?
        var text: String?
        repeat {
            let isRead =
                if take("\"type\":\"offer\"") {
                    set(&kind) { _ in .offer }
                } else if take("\"type\":\"answer\"") {
                    set(&kind) { _ in .answer }
                } else if take("\"sdp\":") {
                    set(&text) { $0.text(limit: Limits.sdp, .text) }
                } else {
                    false
                }
            guard isRead else { return nil }
        } while take(",")
        guard take("}"), let kind, let text, !text.isEmpty else { return nil }
        return .description(SessionDescription(kind: kind, text: text))
    }

    private mutating func endOfCandidates() -> Signal.Body? {
        guard take("\"usernameFragment\":"), let text = text(limit: Limits.usernameFragment, .token), take("}") else {
            return nil
        }
        return .endOfCandidates(usernameFragment: text)
    }

    /// Reads a member's value. Returns false if it is not read, or came before.
    @inline(__always)
    private mutating func set<Value>(_ member: inout Value?, _ read: (inout Self) -> Value?) -> Bool {
        guard member == nil else { return false }
        member = read(&self)
        return member != nil
    }

    // MARK: Values

    /// Takes exactly these bytes.
    @inline(__always)
    private mutating func take(_ text: StaticString) -> Bool {
        let count = text.utf8CodeUnitCount
        guard count <= bytes.count - index else { return false }
        for offset in 0..<count where bytes[index + offset] != text.utf8Start[offset] { return false }
        index += count
        return true
    }

    private mutating func integer() -> UInt64? {
        let start = index
        var value: UInt64 = 0
        while index < bytes.count, case let digit = bytes[index] &- UInt8(ascii: "0"), digit < 10 {
            // All numbers of so many digits fit.
            guard index - start < 19 else { return nil }
            value = value * 10 + UInt64(digit)
            index += 1
        }
        let count = index - start
        guard count == 1 || count > 1 && bytes[start] != UInt8(ascii: "0") else { return nil }
        return value
    }

    private mutating func identifier() -> String? {
        let text = text(limit: Limits.identifier, .identifier)
        return text?.isEmpty == false ? text : nil
    }

    /// Reads a string of at most `limit` bytes, all of which are allowed.
    private mutating func text(limit: Int, _ characters: FieldReader.Characters) -> String? {
        guard take("\"") else { return nil }
        let start = index
        var escapes = 0
        while true {
            index = PlainText.end(bytes, from: index, isASCII: true)
            guard index < bytes.count else { return nil }
            if bytes[index] == UInt8(ascii: "\"") { break }
            guard bytes[index] == UInt8(ascii: "\\"), index + 1 < bytes.count,
                let byte = Self.unescaped(bytes[index + 1]), characters.allow(byte)
            else { return nil }
            escapes += 1
            index += 2
        }
        let raw = UnsafeRawBufferPointer(rebasing: bytes[start..<index])
        index += 1
        guard raw.count - escapes <= limit else { return nil }
        switch characters {
        // What is plain may be in them.
        case .text, .line: break
        case .token, .identifier: guard escapes == 0, raw.allSatisfy(characters.allow) else { return nil }
        }
        guard escapes > 0 else { return String(decoding: raw, as: UTF8.self) }
        return String(unsafeUninitializedCapacity: raw.count) { Self.unescape(raw, into: $0) }
    }

    /// Returns the number of bytes that were written.
    private static func unescape(_ raw: UnsafeRawBufferPointer, into target: UnsafeMutableBufferPointer<UInt8>) -> Int {
        var (index, count) = (0, 0)
        while index < raw.count {
            let byte = raw[index]
            if byte == UInt8(ascii: "\\"), index + 1 < raw.count {
                target[count] = unescaped(raw[index + 1]) ?? byte
                index += 2
            } else {
                target[count] = byte
                index += 1
            }
            count += 1
        }
        return count
    }

    /// The byte that an escape stands for; nil for those that are not short, or never allowed.
    private static func unescaped(_ letter: UInt8) -> UInt8? {
        switch letter {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): letter
        case UInt8(ascii: "n"): 0x0A
        case UInt8(ascii: "r"): 0x0D
        case UInt8(ascii: "t"): 0x09
        default: nil
        }
    }
}
