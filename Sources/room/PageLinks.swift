internal import CommandLineIO
internal import Foundation
internal import RoomServer
internal import TransportPluginAPI

/// The links to a server's page: on this machine, and from others in its networks.
struct PageLinks {
    private(set) var here: [String] = []
    private(set) var elsewhere: [String] = []

    /// All links, those for this machine first.
    var all: [String] { here + elsewhere }

    init(to address: RoomServer.Address) {
        func link(_ host: String) -> String {
            let scheme = address.isSecure ? "https" : "http"
            return "\(scheme)://\(host.contains(":") ? "[\(host)]" : host):\(address.port)/"
        }
        guard ["0.0.0.0", "::"].contains(address.host) else {
            let isLoopback = address.host == "::1" || address.host.hasPrefix("127.")
            if isLoopback { here = [link(address.host)] } else { elsewhere = [link(address.host)] }
            return
        }
        here = [link("127.0.0.1")]
        let addresses = LocalAddress.all().filter { local in
            // Links need the zone of a link-local address, which browsers do not take; temporary addresses change.
            let isUsable =
                !local.isIPv6 || !local.address.hasPrefix("fe80:") && !local.isTemporary && !local.isTentative
            return isUsable && local.address != "::1" && !local.address.hasPrefix("127.")
                && (address.host == "::" || !local.isIPv6)
        }
        let sorted = addresses.filter { !$0.isIPv6 } + addresses.filter(\.isIPv6)
        elsewhere = sorted.map { link($0.address) }
    }

    /// Prints the links for a person, with a QR code of the first one that other devices can open.
    /// - Parameter fingerprint: That of a certificate which browsers do not know.
    func show(fingerprint: String?) {
        var lines: [String] = []
        if let first = here.first { lines.append("Open the page on this machine: \(first)") }
        if let first = elsewhere.first {
            lines.append("Open it from other devices: \(elsewhere.joined(separator: "  "))")
            lines += QRCode(first)?.terminalLines ?? []
        } else {
            lines.append("For other devices, start with --host 0.0.0.0")
        }
        if let fingerprint {
            lines.append("Browsers warn about the certificate. Its SHA-256 fingerprint is")
            lines.append(fingerprint)
        }
        FileHandle.standardError.write(Data((lines.joined(separator: "\n") + "\n").utf8))
    }
}
