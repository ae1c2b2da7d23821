package import TransportValues

extension RoomServerConfiguration.ICE {
    /// Returns the reason why a URL with one of these schemes cannot be sent to clients, or nil. Browsers refuse a
    /// whole list because of one bad entry.
    package static func fault(of text: String, _ schemes: [ICEServerURL.Scheme]) -> String? {
        do throws(TransportError) {
            let url = try ICEServerURL(text)
            guard schemes.contains(url.scheme) else {
                return "'\(text)' must begin with \(schemes.map { "\($0.rawValue):" }.joined(separator: " or "))"
            }
            // RFC 7064 §3.1
            return [.stun, .stuns].contains(url.scheme) && text.contains("?")
                ? "'\(text)' cannot be used: a STUN server's URL has no '?', and browsers refuse it" : nil
        } catch { return error.message }
    }
}
