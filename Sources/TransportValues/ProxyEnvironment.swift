internal import Glibc

extension SignalingEndpoint {
    /// Returns the proxy that a process's environment names for this endpoint, by the rules of most command-line
    /// programs. Nil: the connection is direct. Pure: only the given environment is read.
    ///
    /// - A host of this machine (`localhost`, 127.0.0.0/8, ::1) is always direct, and so is one that `no_proxy` or
    ///   `NO_PROXY` lists.
    /// - For `wss`: `https_proxy`, `HTTPS_PROXY`, `all_proxy`, `ALL_PROXY`, the first that is not empty. For `ws`:
    ///   `http_proxy` (in lower case only, since web servers pass a header of their client as `HTTP_PROXY`),
    ///   `all_proxy`, `ALL_PROXY`.
    /// - `no_proxy` is a list separated by commas or blanks: `*` for every host, a name for itself and its subdomains
    ///   (with or without a leading dot or `*.`), a numeric address, or a network such as `10.0.0.0/8` (for numeric
    ///   hosts: no name is resolved). An entry with `:port` applies to that port only.
    ///
    /// Throws `.invalidArgument`, naming the variable, when the one that applies cannot be used (``Proxy/init(url:)``).
    public func proxy(inEnvironment environment: [String: String]) throws(TransportError) -> Proxy? {
        func first(_ names: [String]) -> (name: String, value: String)? {
            for name in names { if let value = environment[name], !value.isEmpty { return (name, value) } }
            return nil
        }
        let names = isSecure ? ["https_proxy", "HTTPS_PROXY"] : ["http_proxy"]
        guard let (name, value) = first(names + ["all_proxy", "ALL_PROXY"]) else { return nil }
        let direct = first(["no_proxy", "NO_PROXY"])?.value ?? ""
        guard !isLoopback, !direct.split(whereSeparator: { ", ".contains($0) }).contains(where: isNamed) else {
            return nil
        }
        do throws(TransportError) { return try Proxy(url: value) } catch {
            throw TransportError(.invalidArgument, "\(name) of the environment: \(error.message)")
        }
    }

    private var isLoopback: Bool {
        let host = plainHost.lowercased()
        if host == "localhost" || host.hasSuffix(".localhost") { return true }
        guard let address = Self.binary(host) else { return false }
        return address.count == 4 ? address[0] == 127 : address == Self.binary("::1")
    }

    /// Returns whether an entry of `no_proxy` matches this endpoint.
    private func isNamed(by entry: Substring) -> Bool {
        if entry == "*" { return true }
        var name = entry.lowercased()[...]
        let colons = name.count { $0 == ":" }
        // A port follows a name, an IPv4 address, or an IPv6 address in brackets.
        if name.hasPrefix("[") || colons == 1, let colon = name.lastIndex(of: ":"), name.last != "]" {
            guard UInt16(name[name.index(after: colon)...]) == port else { return false }
            name = name[..<colon]
        }
        if name.hasPrefix("["), name.hasSuffix("]") { name = name.dropFirst().dropLast() }
        let host = plainHost.lowercased()
        if let address = Self.binary(host) {
            let parts = name.split(separator: "/", omittingEmptySubsequences: false)
            guard let network = Self.binary(String(parts[0])), network.count == address.count else { return false }
            let bits = parts.count == 2 ? Int(parts[1]) ?? -1 : parts.count == 1 ? address.count * 8 : -1
            guard (0...address.count * 8).contains(bits) else { return false }
            return (0..<bits).allSatisfy { (network[$0 / 8] ^ address[$0 / 8]) & (0x80 >> UInt8($0 % 8)) == 0 }
        }
        if name.hasPrefix("*.") { name = name.dropFirst() }
        if name.hasPrefix(".") { name = name.dropFirst() }
        if name.hasSuffix(".") { name = name.dropLast() }
        return !name.isEmpty && (host == name || host.hasSuffix(".\(name)"))
    }

    /// Returns the bytes of a numeric address; the IPv4 address for one that is mapped into IPv6.
    private static func binary(_ text: String) -> [UInt8]? {
        var four = in_addr()
        if inet_pton(AF_INET, text, &four) == 1 { return withUnsafeBytes(of: &four) { Array($0) } }
        var six = in6_addr()
        guard inet_pton(AF_INET6, text, &six) == 1 else { return nil }
        let bytes = withUnsafeBytes(of: &six) { Array($0) }
        return bytes.starts(with: Array(repeating: 0, count: 10) + [0xFF, 0xFF]) ? Array(bytes[12...]) : bytes
    }
}
