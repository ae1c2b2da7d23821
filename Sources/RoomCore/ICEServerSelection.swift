package import RoomProtocol
package import RoomValues
internal import TransportValues

/// Why ICE servers are not used.
package enum ICEServerFault: Error, Sendable, Hashable, CustomStringConvertible {
    /// One URL is left out.
    case unusable(why: String)
    /// The number of further ones that are left out and not reported one by one.
    case more(Int)
    /// Of all servers, none is of use to this peer transport.
    case nothingUsable(urls: String)
    /// Only relayed paths are allowed, and there is no relay that this peer transport can use.
    case noRelay(urls: String)

    /// As programs see it.
    package var code: ProtocolError.Code {
        switch self {
        case .unusable, .more: .iceServerUnusable
        case .nothingUsable: .noUsableICEServer
        case .noRelay: .noUsableRelay
        }
    }

    package var description: String {
        switch self {
        case .unusable(let why):
            "\(why); it is left out. Correct the list of the room server, of the configuration or of the provider"
        case .more(let count):
            "\(count) more ICE servers are left out. Correct the list that they come from, and give fewer of them"
        case .nothingUsable(let urls):
            "this peer backend can use none of the ICE servers (\(urls)): it speaks no TLS to them. "
                + "Name them as stun: and turn: too, or choose another backend"
        case .noRelay(let urls) where urls.isEmpty:
            "only relayed paths are allowed (icePolicy relay), and there is no TURN server: nobody can be reached. "
                + "Name one, at the room server or in the configuration"
        case .noRelay(let urls):
            "only relayed paths are allowed (icePolicy relay), and this peer backend can relay over none of the ICE "
                + "servers (\(urls)): nobody can be reached. Name a TURN server as turn: too (over UDP or TCP, without "
                + "TLS)"
        }
    }
}

extension RoomError {
    /// ICE servers are left out, or none is left.
    package static func iceServers(_ fault: ICEServerFault) -> RoomError {
        RoomError(.configuration, fault.description, protocolCode: fault.code)
    }
}

/// Selects the usable ones from lists of ICE servers, and reports once each that is not.
struct ICEServerSelection: Sendable {
    /// URLs of one list that are used; a peer transport asks far fewer.
    private static let limit = 64
    /// URLs that are told of one by one, in the life of a room.
    private static let reportLimit = 16

    private let configuration: ICEConfiguration
    private var reported: Set<String> = []
    private var unreported: [ICEServerFault] = []
    private var excess = 0
    private var hasReportedExcess = false
    /// The last reported fault of the whole list, as long as it holds.
    private var verdict: ICEServerFault?

    init(_ configuration: ICEConfiguration) { self.configuration = configuration }

    /// The servers with those of their URLs that can be used, each once.
    mutating func usable(of servers: [ICEServer]) -> [ICEServer] {
        var known: Set<ICEServer> = []
        var result: [ICEServer] = []
        for server in servers {
            var kept = server
            kept.urls = []
            for url in server.urls {
                let one = ICEServer(urls: [url], username: server.username, credential: server.credential)
                guard !known.contains(one) else { continue }
                do throws(TransportError) {
                    _ = try ICEServerURL(url, of: server)
                    guard known.count < Self.limit else {
                        excess += 1
                        continue
                    }
                    known.insert(one)
                    kept.urls.append(url)
                } catch {
                    exclude(url, error.message)
                }
            }
            if !kept.urls.isEmpty { result.append(kept) }
        }
        return result
    }

    private mutating func exclude(_ url: String, _ why: String) {
        guard !reported.contains(url) else { return }
        guard reported.count < Self.reportLimit else {
            excess += 1
            return
        }
        reported.insert(url)
        unreported.append(.unusable(why: why))
    }

    /// Returns the faults of single servers.
    mutating func faults() -> [ICEServerFault] {
        defer { unreported = [] }
        guard configuration.usesServers else { return [] }
        if excess > 0, !hasReportedExcess {
            hasReportedExcess = true
            unreported.append(.more(excess))
        }
        return unreported
    }

    /// Returns the fault of the whole list.
    mutating func judge(_ servers: [ICEServer]) -> ICEServerFault? {
        let before = verdict
        verdict = fault(of: servers)
        return verdict == before ? nil : verdict
    }

    private func fault(of servers: [ICEServer]) -> ICEServerFault? {
        guard configuration.usesServers else { return nil }
        let urls = servers.flatMap(\.urls)
        let names = urls.prefix(4).joined(separator: ", ") + (urls.count > 4 ? ", …" : "")
        let usable = urls.compactMap { try? ICEServerURL($0) }.filter { url in
            switch url.scheme {
            case .stun, .turn: true
            case .stuns, .turns: configuration.usesTLS
            }
        }
        switch configuration.policy {
        case .relay:
            let hasRelay = usable.contains { $0.scheme == .turn || $0.scheme == .turns }
            return hasRelay ? nil : .noRelay(urls: names)
        case .all: return urls.isEmpty || !usable.isEmpty ? nil : .nothingUsable(urls: names)
        }
    }
}
